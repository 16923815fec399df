"""Why a prepared query finds what it finds: which one a name leads to, what it says for that name,
and what keeps each instance out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agent import queries
from agent.backend import Backend
from agent.errors import RequestError
from raftstore.queries import HealthEntry, HealthService, Query
from raftstore.records import Json, ServiceName

#: Instances of either kind that are told; the rest is counted.
INSTANCES_MAX = 50

Explain = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]


def query_explainer(backend: Backend) -> Explain:
    """Explains a query by name or id; `connect=true` asks for mesh endpoints."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        connect = query.get("connect") == "true"
        return await explain_query(backend, "/".join(arguments), connect=connect)

    return explain


async def explain_query(backend: Backend, name: str, *, connect: bool = False) -> Json:
    """What a query means for a name. Raises RequestError (400, 404, 500)."""
    if not name:
        raise RequestError(400, "Missing query name")

    async def ask(query: Query[Any]) -> Any:
        return (await backend.ask(query)).value

    try:
        record, query = await queries.run_asking(queries.resolution(name), ask)
    except queries.QueryNotFound as error:
        raise RequestError(404, str(error)) from None
    except queries.QueryRefused as error:
        raise RequestError(500, str(error)) from None
    service = query.service
    wanted = HealthService(service=ServiceName(service.service), connect=connect or service.connect)
    entries: tuple[HealthEntry, ...] = (await backend.ask(wanted)).value
    wish = queries.Wish(service)
    judged = [(entry, wish.obstacle(entry)) for entry in entries]
    given = [entry for entry, why in judged if not why]
    kept = [(entry, why) for entry, why in judged if why]
    return {
        "Asked": name,
        "Query": {"ID": record.id, "Name": record.name, "Session": record.session},
        "FoundBy": _found_by(name, record.id, record.name),
        "Says": {**queries.to_content(query), "Token": "<hidden>" if query.token else ""},
        "Endpoints": "mesh" if wanted.connect else "instances",
        "Given": len(given),
        "KeptBack": len(kept),
        "EachGiven": [_instance(entry) for entry in given[:INSTANCES_MAX]],
        "EachKeptBack": [
            {**_instance(entry), "Because": why} for entry, why in kept[:INSTANCES_MAX]
        ],
        "Order": f'nearest to "{service.near}" first' if service.near else "drawn each time",
        "Failover": _failover(service.failover, found=bool(given)),
    }


def _found_by(asked: str, query_id: str, name: str) -> str:
    if asked.lower() == query_id:
        return "its id"
    return "its name" if asked.lower() == name.lower() else "what the name begins with"


def _failover(failover: queries.Failover, *, found: bool) -> str:
    if not queries.looks_elsewhere(failover):
        return "none is named"
    if found:
        return "not needed: there are instances here"
    if failover.targets:
        return "the targets in their order"
    named = ", ".join(failover.datacenters or ())
    nearest = f"the {failover.nearest_n} nearest" if failover.nearest_n > 0 else ""
    return " then ".join(part for part in (nearest, named) if part)


def _instance(entry: HealthEntry) -> dict[str, Json]:
    return {"Node": entry.node.name, "ID": entry.service.id, "Port": entry.service.port}
