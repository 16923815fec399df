"""Why a service is found or not: who registered each instance, when and through which agent, which
checks keep it back and since when, and what became of one that is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from agent.backend import Backend
from agent.dns.health import obstacle
from agent.errors import RequestError
from raftstore import rows
from raftstore.errors import DecodeError
from raftstore.queries import At, Change, HealthEntry, HealthService, History
from raftstore.records import (
    CRITICAL,
    PASSING,
    WARNING,
    Actor,
    Check,
    Json,
    Service,
    ServiceName,
)

#: Instances and, of what is gone, removals that are told; the rest is counted.
INSTANCES_MAX = 20
#: Pages of the history that are looked through for a service that is gone.
_PAGES_MAX = 8
#: Changes of one row that are looked at.
_CHANGES_MAX = 200

Explain = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]


def service_explainer(backend: Backend, *, only_passing: bool) -> Explain:
    """``only_passing`` is what the agent's DNS is set to."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        return await explain_service(
            backend, "/".join(arguments), only_passing=only_passing, node=query.get("node", "")
        )

    return explain


async def explain_service(
    backend: Backend, name: str, *, only_passing: bool = False, node: str = ""
) -> Json:
    """Every instance of a service, or those on one node. Raises RequestError (400)."""
    if not name:
        raise RequestError(400, "Missing service name")
    found = await backend.ask(HealthService(service=ServiceName(name)))
    entries = [each for each in found.value if not node or each.node.name.lower() == node.lower()]
    states = [_worst(entry.checks) for entry in entries]
    told: dict[str, Json] = {
        "Service": name,
        "Instances": len(entries),
        **{state.capitalize(): states.count(state) for state in (PASSING, WARNING, CRITICAL)},
    }
    if not entries:
        return told | {"Removed": await _removed(backend, name)}
    # Those that are kept back first: they are what people ask about.
    ordered = sorted(zip(entries, states, strict=True), key=lambda each: _RANK[each[1]])
    told["Each"] = [
        await _instance(backend, entry, state, only_passing)
        for entry, state in ordered[:INSTANCES_MAX]
    ]
    if len(ordered) > INSTANCES_MAX:
        told["NotShown"] = len(ordered) - INSTANCES_MAX
    return told


_RANK = {CRITICAL: 0, WARNING: 1, PASSING: 2}


def _worst(checks: Sequence[Check]) -> str:
    states = {check.status for check in checks}
    if states <= {PASSING}:
        return PASSING
    return WARNING if states <= {PASSING, WARNING} else CRITICAL


async def _instance(backend: Backend, entry: HealthEntry, state: str, only_passing: bool) -> Json:
    service = entry.service
    changes, floor = await _changes_of(
        backend, "services", f"{entry.node.name.lower()}/{service.id}"
    )
    stops_dns = obstacle(entry, only_passing=only_passing)
    return {
        "Node": entry.node.name,
        "ID": service.id,
        "Address": service.address or entry.node.address,
        "Port": service.port,
        "Status": state,
        "InPassing": state == PASSING,
        "InDNS": stops_dns is None,
        "KeptBackBy": [
            await _check(backend, check) for check in entry.checks if check.status != PASSING
        ],
        "Checks": len(entry.checks),
        "Registered": _when(next((c for c in changes if c.before is None), None), floor),
        "LastChanged": _when(changes[-1] if changes else None, floor),
    }


async def _check(backend: Backend, check: Check) -> Json:
    changes, floor = await _changes_of(backend, "checks", f"{check.node.lower()}/{check.id}")
    turned = [change for change in changes if _status(change.before) != _status(change.after)]
    return {
        "CheckID": check.id,
        "Of": "the instance" if check.service_id else "the node",
        "Name": check.name,
        "Status": check.status,
        "Output": check.output,
        "Notes": check.notes,
        "Since": _when(turned[-1] if turned else None, floor),
    }


def _status(data: bytes | None) -> str:
    try:
        record = rows.read("checks", data)
    except DecodeError:
        return ""
    return record.status if isinstance(record, Check) else ""


async def _changes_of(backend: Backend, table: str, key: str) -> tuple[list[Change], int]:
    """What was written about one row, as far back as is known, and where that begins."""
    found = await backend.ask(History(table=table, key=key, limit=_CHANGES_MAX))
    # The key is a prefix: n1/web is also that of n1/web2.
    return [change for change in found.value.changes if change.key == key], found.value.floor


async def _removed(backend: Backend, name: str) -> Json:
    """The last instances that were deregistered."""
    wanted, since = name.lower(), None
    removed: list[Json] = []
    for _ in range(_PAGES_MAX):
        found = (await backend.ask(History(since=since, table="services"))).value
        for change in found.changes:
            if change.after is not None or change.before is None:
                continue
            # Most rows are of other services: their bytes tell without being read.
            if wanted.encode() not in change.before.lower():
                continue
            record = rows.read("services", change.before)
            if isinstance(record, Service) and record.name.lower() == wanted:
                told = {"Node": record.node, "ID": record.id, "Port": record.port}
                removed.append(told | {"Removed": _when(change, found.floor)})
        if not found.more:
            break
        since = At(index=found.changes[-1].index)
    return removed[-INSTANCES_MAX:]


def _when(change: Change | None, floor: int) -> Json:
    if change is None:
        return f"before index {floor}, where the history that is kept begins"
    actor = change.actor or Actor()
    return {
        "Time": datetime.fromtimestamp(change.stamp, UTC).isoformat(timespec="milliseconds")[:-6]
        + "Z",
        "Index": change.index,
        "ThroughAgent": actor.node,
        "ByAccessor": actor.accessor,
        "FromAddress": actor.address,
    }
