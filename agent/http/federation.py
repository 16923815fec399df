"""`/v1/internal/federation-state…`: how other datacenters reach this one (contract 20).

There is one datacenter, so its state is not stored but told from the catalog: the mesh gateways are
those that are registered, and the rest is that of the authority with which the datacenter began.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from agent.backend import Ask
from agent.backend import Reply as Answered
from agent.errors import RequestError
from agent.http import render
from agent.http.call import FAILED_READ, Call
from agent.http.reply import Reply
from agent.http.ui_gateways import runs_any
from agent.http.ui_summary import entries_of
from raftstore.catalog_queries import DumpNodes, NodeDump
from raftstore.queries import CARootsAnswer, GetCARoots, HealthEntry
from raftstore.records import Json
from raftstore.slices import in_slices

_MESH_GATEWAY = "mesh-gateway"
_NEVER = "0001-01-01T00:00:00Z"


async def list_all(call: Call) -> Reply:
    """The states of all datacenters: ours."""
    found, gateways = await _asked(call)
    return call.answer([_state(call, found.value, gateways)], found, effective=False)


async def get(call: Call) -> Reply:
    """The state of one datacenter."""
    if not call.rest:
        raise RequestError(400, "Missing datacenter name")
    found, gateways = await _asked(call)
    if call.rest.lower() != call.context.config.datacenter.lower():
        return Reply(status=404)
    meta: dict[str, Json] = {
        "Index": found.index,
        "LastContact": round(found.last_contact_s * 1e9),
        "KnownLeader": found.known_leader,
        "ConsistencyLevel": found.consistency.value,
        "NotModified": False,
        "Backend": 0,
    }
    shown = {"State": _state(call, found.value, gateways), **meta}
    return call.answer(shown, found, effective=False)


async def mesh_gateways(call: Call) -> Reply:
    """The mesh gateways by datacenter."""
    found, gateways = await _asked(call)
    name = call.context.config.datacenter
    shown: Json = {name: [render.health_entry(each) for each in gateways]} if gateways else {}
    return call.answer(shown, found, effective=False)


async def _asked(call: Call) -> tuple[Answered[CARootsAnswer], tuple[HealthEntry, ...]]:
    options = call.options()
    call.failure_headers = FAILED_READ
    found = await call.ask(GetCARoots(), options)
    now = Ask(consistency=options.consistency)
    if not await runs_any(call, now, (_MESH_GATEWAY,)):
        return found, ()
    dumps = await call.ask(DumpNodes(), now)
    return found, await in_slices(_gateways(dumps.value))


def _gateways(dumps: Iterable[NodeDump]) -> Generator[None, None, tuple[HealthEntry, ...]]:
    found: list[HealthEntry] = []
    for dump in dumps:
        if any(service.kind == _MESH_GATEWAY for service in dump.services):
            found += [each for each in entries_of((dump,)) if each.service.kind == _MESH_GATEWAY]
        yield
    return tuple(found)


def _state(call: Call, roots: CARootsAnswer, gateways: tuple[HealthEntry, ...]) -> Json:
    first = min(roots.roots, key=lambda root: root.create_index, default=None)
    index = 1 if first is None else first.create_index
    shown: dict[str, Json] = {"Datacenter": call.context.config.datacenter}
    if gateways:
        shown["MeshGateways"] = [render.health_entry(each) for each in gateways]
    shown["UpdatedAt"] = _NEVER if first is None else first.not_before
    shown["PrimaryModifyIndex"] = index
    shown["CreateIndex"] = index
    shown["ModifyIndex"] = index
    return shown
