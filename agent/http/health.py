"""`/v1/health/`: checks, and instances with the checks that decide about them (contract 6)."""

from __future__ import annotations

from dataclasses import replace

from agent.backend import Ask
from agent.backend import Reply as Answered
from agent.errors import RequestError
from agent.filters import Predicate, compile_filter
from agent.http import filter_fields, render
from agent.http.call import FAILED_READ, Call, Read, text
from agent.http.central import merged, wants_merge
from agent.http.coordinate import sorted_near
from agent.http.params import has_meta, node_meta, parse_bool
from agent.http.reply import LONG_ITEMS, Reply
from raftstore.mesh_queries import IngressHealth
from raftstore.queries import (
    ChecksInState,
    HealthEntry,
    HealthService,
    ListNodes,
    NodeChecks,
    Query,
    ServiceChecks,
)
from raftstore.records import PASSING, Check, Json, NodeName, ServiceName


def service(call: Call) -> Read | None:
    """The instances of one service."""
    return None if _is_more(call) else _service(call, connect=False)


def _is_more(call: Call) -> bool:
    """Whether the answer takes more than one read."""
    return bool(call.params.get("near")) or wants_merge(call)


async def service_near(call: Call) -> Reply:
    """The same, the nearest first."""
    return await _near(call, _service(call, connect=False))


async def connect(call: Call) -> Reply:
    """The mesh endpoints of one service."""
    return await _near(call, _service(call, connect=True))


async def _near(call: Call, read: Read) -> Reply:
    found = await call.ask(read.query, read.options)
    values = found.value
    if wants_merge(call):
        values = await merged(call, read.options, values)
    ordered = await sorted_near(call, read.options, values, lambda item: item.node.name)
    return read.shape(replace(found, value=ordered))


async def ingress(call: Call) -> Reply:
    """The instances of the ingress gateways that expose a service."""
    return await _near(call, _service(call, query=IngressHealth(ServiceName(call.rest))))


def _service(
    call: Call,
    *,
    connect: bool = False,
    query: Query[tuple[HealthEntry, ...]] | None = None,
) -> Read:
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing service name")
    params = call.params
    expression = params.get("filter")
    keep = compile_filter(expression, filter_fields.HEALTH_ENTRY) if expression else None
    wanted = node_meta(params)
    tags = tuple(tag for tag in params.all("tag") if tag)
    if query is None:
        query = HealthService(service=ServiceName(call.rest), tags=tags, connect=connect)

    def shape(found: Answered[tuple[HealthEntry, ...]]) -> Reply:
        if params.get("peer"):
            return call.answer([], found)  # no cluster is peered; never ours in its place
        wish = True if not params.get("passing") else parse_bool(params.get("passing"))
        if wish is None:
            return text("Invalid value for ?passing", status=400, headers=call.read_headers(found))
        passing = wish and "passing" in params

        def meant(item: HealthEntry) -> bool:
            return (not passing or _passes(item)) and (
                not wanted or has_meta(item.node.meta, wanted)
            )

        # What more than this read decides may be another every time.
        if len(found.value) > LONG_ITEMS or _is_more(call):
            return call.listing(
                found.value,
                render.health_entry,
                keep=meant,
                filtered=keep,
                headers=call.listing_headers(found),
            )

        def make() -> Json:
            shown = [render.health_entry(item) for item in found.value if meant(item)]
            return [item for item in shown if keep(item)] if keep else shown

        body = call.ready_bytes(("health", query, passing, wanted, expression), found, make)
        return call.bytes_answer(body, found)

    return call.read(query, options, shape)


def _passes(entry: HealthEntry) -> bool:
    return all(check.status == PASSING for check in entry.checks)


async def node(call: Call) -> Reply:
    """The checks on one node."""
    return await _checks(call, NodeChecks(NodeName(call.rest)), "Missing node name")


async def checks(call: Call) -> Reply:
    """The checks of a service's instances."""
    return await _checks(call, ServiceChecks(ServiceName(call.rest)), "Missing service name")


async def state(call: Call) -> Reply:
    """The checks in one state, or in any."""
    return await _checks(call, ChecksInState(call.rest), "Missing check state")


async def _checks(call: Call, query: Query[tuple[Check, ...]], missing: str) -> Reply:
    options = call.options()
    if not call.rest:
        raise RequestError(400, missing)
    call.failure_headers = FAILED_READ
    expression = call.params.get("filter")
    keep: Predicate | None = compile_filter(expression, filter_fields.CHECK) if expression else None
    wanted = node_meta(call.params)
    found = await call.ask(query, options)
    values = await sorted_near(call, options, found.value, lambda check: check.node)
    if wanted:
        # A check does not know its node's meta, so this needs the nodes as well.
        nodes = await call.context.backend.ask(ListNodes(), Ask(at=options.at))
        kept = {node.name for node in nodes.value if has_meta(node.meta, wanted)}
        values = tuple(check for check in values if check.node in kept)
    return call.listing(values, render.check, filtered=keep, headers=call.read_headers(found))
