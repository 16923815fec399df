"""What a user interface shows of services: one line for a name, whatever runs under it.

Pure. Long walks are generators that pause often enough for others to get in between; the value is
the result (contract 20).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

from raftstore.catalog_queries import NodeDump
from raftstore.queries import HealthEntry
from raftstore.records import CRITICAL, PASSING, WARNING, Check, Json, Service

CONNECT_PROXY = "connect-proxy"
TRANSPARENT = "transparent"
#: Instances between two pauses: less than a millisecond.
_AT_ONCE = 128


@dataclass(slots=True)
class Summary:
    """A service over all its instances. ``checks`` are told apart by node and id, so that a node's
    own count once for it, however many instances it has there; those of its proxies count too."""

    name: str
    kind: str = ""
    datacenter: str = ""
    tags: set[str] = field(default_factory=set)
    nodes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    instances: int = 0
    checks: dict[tuple[str, str], str] = field(default_factory=dict)
    has_proxy: bool = False
    all_transparent: bool = True

    @property
    def transparent(self) -> bool:
        """Whether every proxy of it takes all traffic without being asked."""
        return self.has_proxy and self.all_transparent

    def states(self) -> dict[str, int]:
        """How many checks are in which state."""
        found = list(self.checks.values())
        return {state: found.count(state) for state in (PASSING, WARNING, CRITICAL)}


Summaries = dict[str, Summary]


def entries_of(dumps: Iterable[NodeDump]) -> Iterator[HealthEntry]:
    """Every instance with the checks that decide about it."""
    for dump in dumps:
        own: list[Check] = []
        by_service: dict[str, list[Check]] = {}
        for check in dump.checks:
            place = by_service.setdefault(check.service_id, []) if check.service_id else own
            place.append(check)
        for service in dump.services:
            checks = (*own, *by_service.get(service.id, ()))
            yield HealthEntry(dump.node, service, checks)


def summaries(
    entries: Iterable[HealthEntry], keep: Callable[[HealthEntry], bool] | None = None
) -> Generator[None, None, Summaries]:
    """A summary for every name that an instance, or a proxy's destination, has."""
    found: Summaries = {}
    for number, entry in enumerate(entries, start=1):
        if keep is None or keep(entry):
            _add(found, entry)
        if number % _AT_ONCE == 0:
            yield
    return found


def _add(found: Summaries, entry: HealthEntry) -> None:
    service, node = entry.service, entry.node.name
    summary = _of(found, service.name)
    summary.kind, summary.datacenter = service.kind, entry.node.datacenter
    summary.nodes.append(node)
    summary.instances += 1
    summary.tags.update(service.tags)
    source = (service.meta or {}).get("external-source")
    if source and source not in summary.sources:
        summary.sources.append(source)
    states: dict[tuple[str, str], str] = {(node, c.id): c.status for c in entry.checks}
    summary.checks |= states
    if service.kind == CONNECT_PROXY:
        destination = _of(found, service.proxy.destination_service_name)
        destination.checks |= states
        destination.has_proxy = True
        if service.proxy.mode != TRANSPARENT:
            destination.all_transparent = False


def _of(found: Summaries, name: str) -> Summary:
    summary = found.get(name)
    if summary is None:
        summary = found[name] = Summary(name)
    return summary


def shown(summary: Summary, *, associated: int = 0, addresses: Iterable[str] = ()) -> Json:
    """A summary as the interface reads it. ``associated`` services stand behind a gateway;
    ``addresses`` are where a gateway serves."""
    states = summary.states()
    gateway: dict[str, Json] = {"AssociatedServiceCount": associated} if associated else {}
    if known := list(addresses):
        gateway["Addresses"] = known
    return {
        **({"Kind": summary.kind} if summary.kind else {}),
        "Name": summary.name,
        "Datacenter": summary.datacenter,
        "Tags": sorted(summary.tags),
        "Nodes": sorted(summary.nodes) or None,
        "ExternalSources": summary.sources or None,
        "InstanceCount": summary.instances,
        "ChecksPassing": states[PASSING],
        "ChecksWarning": states[WARNING],
        "ChecksCritical": states[CRITICAL],
        "GatewayConfig": gateway,
        "TransparentProxy": summary.transparent,
    }


def overview(dumps: Iterable[NodeDump]) -> Generator[None, None, Json]:
    """How many nodes, instances and checks are in which state."""
    nodes, services, checks = _Tally(), _Tallies(), _Tallies()
    for number, dump in enumerate(dumps, start=1):
        own = [check.status for check in dump.checks if not check.service_id]
        nodes.add(worst(own))
        for entry in entries_of((dump,)):
            services.of(entry.service.name).add(worst(check.status for check in entry.checks))
        for check in dump.checks:
            checks.of(check.name).add(check.status)
        if number % _AT_ONCE == 0:
            yield
    return {"Nodes": [nodes.shown()], "Services": services.shown(), "Checks": checks.shown()}


def worst(states: Iterable[str]) -> str:
    """The state that counts for the whole: without a check nothing is wrong."""
    found = set(states)
    if CRITICAL in found:
        return CRITICAL
    return WARNING if WARNING in found else PASSING


class _Tally:
    """A count by state."""

    __slots__ = ("_name", "_states")

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._states: dict[str, int] = {PASSING: 0, WARNING: 0, CRITICAL: 0}

    def add(self, state: str) -> None:
        self._states[state] = self._states.get(state, 0) + 1

    def shown(self) -> dict[str, Json]:
        head: dict[str, Json] = {"Name": self._name} if self._name else {}
        return {
            **head,
            "Total": sum(self._states.values()),
            "Passing": self._states[PASSING],
            "Warning": self._states[WARNING],
            "Critical": self._states[CRITICAL],
        }


class _Tallies:
    """Counts by name."""

    __slots__ = ("_by_name",)

    def __init__(self) -> None:
        self._by_name: dict[str, _Tally] = {}

    def of(self, name: str) -> _Tally:
        tally = self._by_name.get(name)
        if tally is None:
            tally = self._by_name[name] = _Tally(name)
        return tally

    def shown(self) -> list[Json]:
        return [self._by_name[name].shown() for name in sorted(self._by_name)]


def upstreams_of(proxy: Service) -> Iterator[str]:
    """The services that a proxy reaches for its own, as it was registered."""
    for upstream in proxy.proxy.upstreams:
        if upstream.destination_type in {"", "service"} and upstream.destination_name:
            yield upstream.destination_name
