"""Who talks to whom about one service, as far as registrations and intentions tell (contract 20).

Pure. A neighbour is known from a proxy's upstreams; where proxies take all traffic (transparent
mode) intentions name neighbours as well.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from agent.http.ui_summary import (
    CONNECT_PROXY,
    TRANSPARENT,
    Summaries,
    shown,
    summaries,
    upstreams_of,
)
from raftstore.queries import HealthEntry
from raftstore.records import Intention, Json

REGISTRATION = "proxy-registration"
SPECIFIC = "specific-intention"
WILDCARD = "wildcard-intention"
BY_DEFAULT = "default-allow"

_ALLOW = "allow"
_ANY = "*"
_AT_ONCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What intentions say about one pair."""

    default_allow: bool
    allowed: bool
    has_permissions: bool = False
    external_source: str = ""
    has_exact: bool = False

    def shown(self) -> Json:
        """As the interface reads it."""
        return {
            "DefaultAllow": self.default_allow,
            "Allowed": self.allowed,
            "HasPermissions": self.has_permissions,
            "ExternalSource": self.external_source,
            "HasExact": self.has_exact,
        }


def decide(
    intentions: Iterable[Intention], source: str, destination: str, *, default_allow: bool
) -> Decision:
    """The first intention that fits a pair; they come the winner first."""
    for intention in intentions:
        ours = intention.source
        exact = (
            ours.name.lower() == source.lower(),
            (intention.destination.lower() == destination.lower()),
        )
        if not all(
            fits or name == _ANY
            for fits, name in zip(exact, (ours.name, intention.destination), strict=True)
        ):
            continue
        return Decision(
            default_allow=default_allow,
            allowed=ours.action == _ALLOW,
            has_permissions=bool(ours.permissions),
            external_source=(ours.legacy_meta or {}).get("external-source", ""),
            has_exact=all(exact),
        )
    return Decision(default_allow=default_allow, allowed=default_allow)


@dataclass(slots=True)
class _Mesh:
    """What registrations say: who reaches for whom, and whose proxies take all traffic."""

    entries: dict[str, list[HealthEntry]]
    reaches: dict[str, set[str]]
    transparent: dict[str, bool]


def topology(
    entries: Iterable[HealthEntry],
    intentions: tuple[Intention, ...],
    service: str,
    *,
    protocol: str,
    default_allow: bool,
    filtered: bool = False,
) -> Generator[None, None, Json]:
    """The neighbours of a service, in pauses as summaries are made.

    ``filtered``: some of what could be neighbours may not be seen.
    """
    mesh = yield from _read(entries)
    name = service.lower()
    upstreams = dict.fromkeys(mesh.reaches.get(name, ()), REGISTRATION)
    downstreams = {
        other: REGISTRATION for other, reached in mesh.reaches.items() if name in reached
    }
    for number, other in enumerate(mesh.entries, start=1):
        if number % _AT_ONCE == 0:
            yield
        if other == name or not mesh.transparent.get(other) or not mesh.transparent.get(name):
            continue
        for found, pair in ((upstreams, (name, other)), (downstreams, (other, name))):
            decision = decide(intentions, *pair, default_allow=default_allow)
            if other not in found and (decision.allowed or decision.has_permissions):
                found[other] = _source(decision)
    proxied = mesh.transparent.get(name)
    return {
        "Protocol": protocol,
        "TransparentProxy": bool(proxied),
        "Upstreams": (
            yield from _neighbours(mesh, intentions, upstreams, name, True, default_allow)
        ),
        "Downstreams": (
            yield from _neighbours(mesh, intentions, downstreams, name, False, default_allow)
        ),
        "FilteredByACLs": filtered,
    }


def _source(decision: Decision) -> str:
    if decision.has_exact:
        return SPECIFIC
    return BY_DEFAULT if decision.default_allow else WILDCARD


def _read(entries: Iterable[HealthEntry]) -> Generator[None, None, _Mesh]:
    """Instances by the service that they stand for; a proxy stands for its destination."""
    mesh = _Mesh({}, {}, {})
    for number, entry in enumerate(entries, start=1):
        service = entry.service
        is_proxy = service.kind == CONNECT_PROXY
        name = (service.proxy.destination_service_name if is_proxy else service.name).lower()
        mesh.entries.setdefault(name, []).append(entry)
        if is_proxy:
            reached = mesh.reaches.setdefault(name, set())
            reached.update(each.lower() for each in upstreams_of(service))
            takes_all = service.proxy.mode == TRANSPARENT
            mesh.transparent[name] = mesh.transparent.get(name, True) and takes_all
        if number % _AT_ONCE == 0:
            yield
    return mesh


def _neighbours(
    mesh: _Mesh,
    intentions: tuple[Intention, ...],
    sources: dict[str, str],
    name: str,
    reached: bool,
    default_allow: bool,
) -> Generator[None, None, list[Json]]:
    found: list[Json] = []
    for other in sorted(sources):
        made: Summaries = yield from summaries(mesh.entries.get(other, ()))
        summary = next((each for key, each in made.items() if key.lower() == other), None)
        if summary is None:
            continue
        pair = (name, other) if reached else (other, name)
        decision = decide(intentions, *pair, default_allow=default_allow)
        found.append({**shown(summary), "Source": sources[other], "Intention": decision.shown()})
    return found
