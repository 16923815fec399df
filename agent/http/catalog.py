"""`/v1/catalog/`: nodes and services as registered (http-api contract 5)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace

from agent.backend import Reply as Answered
from agent.errors import RequestError
from agent.filters import Predicate, compile_filter
from agent.http import filter_fields, parse_catalog, render, render_config
from agent.http.call import FAILED_READ, Call, Change, Read
from agent.http.central import merged, merged_services, wants_merge
from agent.http.coordinate import sorted_near
from agent.http.params import has_meta, node_meta
from agent.http.reply import LONG_ITEMS, Reply
from raftstore.catalog_queries import DumpNodes, NodeDump
from raftstore.mesh_queries import GatewayServices
from raftstore.queries import ListNodes, ListServices, NodeServices, ServiceNode, ServiceNodes
from raftstore.records import Json, NodeName, ServiceName
from raftstore.slices import in_slices


def _same_datacenter(call: Call, wanted: str) -> None:
    ours = call.context.config.datacenter
    if wanted and wanted.lower() != ours.lower():
        raise RequestError(500, "No path to datacenter")


def register(call: Call) -> Change:
    """Write a node, and with it a service and checks."""
    command, datacenter = parse_catalog.register(
        call.body, datacenter=call.context.config.datacenter
    )
    _same_datacenter(call, datacenter)
    if call.quiet:
        return call.quiet_change(command, lambda _: call.truth(True), true_for=None)
    return call.change_of(command, lambda _: call.truth(True))


async def deregister(call: Call) -> Reply:
    """Remove a node, a service or a check."""
    command, datacenter = parse_catalog.deregister(call.body)
    _same_datacenter(call, datacenter)
    await call.change(command)
    return call.json(True)


async def datacenters(call: Call) -> Reply:
    """The datacenters we know, the nearest first."""
    context = call.context
    known = [context.config.datacenter] if context.wan is None else context.wan.datacenters()
    return call.json(list(known), headers=call.cache_headers())


async def nodes(call: Call) -> Reply:
    """All nodes."""
    options = call.options()
    call.failure_headers = FAILED_READ
    expression = call.params.get("filter")
    keep = compile_filter(expression, filter_fields.NODE) if expression else None
    wanted = node_meta(call.params)
    found = await call.ask(ListNodes(), options)
    return call.listing(
        await sorted_near(call, options, found.value, lambda node: node.name),
        render.node,
        keep=(lambda node: has_meta(node.meta, wanted)) if wanted else None,
        filtered=keep,
        headers=call.read_headers(found),
    )


#: Names that are turned into text in one go: about two milliseconds.
_NAMES_AT_ONCE = 4096


def services(call: Call) -> Read | None:
    """All service names with their tags."""
    options = call.options()
    call.failure_headers = FAILED_READ
    if call.params.get("filter"):
        return None
    query = ListServices(node_meta(call.params))

    def shape(found: Answered[Mapping[str, tuple[str, ...]]]) -> Reply:
        if len(found.value) > _NAMES_AT_ONCE:
            return call.mapping(found.value, list, headers=call.listing_headers(found))
        body = call.ready_bytes(
            ("names", query),
            found,
            lambda: {name: list(tags) for name, tags in found.value.items()},
        )
        return call.bytes_answer(body, found)

    return call.read(query, options, shape)


async def services_filtered(call: Call) -> Reply:
    """Names and tags of the instances that meet a filter."""
    options = call.options()
    keep = compile_filter(call.params.get("filter"), filter_fields.SERVICE_NODE)
    wanted = node_meta(call.params)
    found = await call.ask(DumpNodes(), options)
    listed = await in_slices(_tags_of(found.value, keep, wanted))
    headers = call.read_headers(found) + call.cache_headers()
    return call.mapping(listed, sorted, headers=headers)


def _tags_of(
    dumps: Iterable[NodeDump], keep: Predicate, wanted: tuple[tuple[str, str], ...]
) -> Generator[None, None, dict[str, set[str]]]:
    found: dict[str, set[str]] = {}
    for dump in dumps:
        if not wanted or has_meta(dump.node.meta, wanted):
            for service in dump.services:
                if keep(render.service_node(ServiceNode(dump.node, service))):
                    found.setdefault(service.name, set()).update(service.tags)
        yield
    return dict(sorted(found.items()))


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


def _service(call: Call, *, connect: bool) -> Read:
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing service name")
    call.failure_headers = FAILED_READ
    params = call.params
    expression = params.get("filter")
    keep = compile_filter(expression, filter_fields.SERVICE_NODE) if expression else None
    wanted = node_meta(params)
    query = ServiceNodes(service=ServiceName(call.rest), tags=_tags(call), connect=connect)

    def shape(found: Answered[tuple[ServiceNode, ...]]) -> Reply:
        if params.get("peer"):
            return call.answer([], found)  # no cluster is peered; never ours in its place
        # What more than this read decides may be another every time.
        if len(found.value) > LONG_ITEMS or _is_more(call):
            return call.listing(
                found.value,
                render.service_node,
                keep=(lambda item: has_meta(item.node.meta, wanted)) if wanted else None,
                filtered=keep,
                headers=call.listing_headers(found),
            )

        def make() -> Json:
            shown = [
                render.service_node(item)
                for item in found.value
                if not wanted or has_meta(item.node.meta, wanted)
            ]
            return [item for item in shown if keep(item)] if keep else shown

        body = call.ready_bytes(("catalog", query, wanted, expression), found, make)
        return call.bytes_answer(body, found)

    return call.read(query, options, shape)


def _tags(call: Call) -> tuple[str, ...]:
    return tuple(tag for tag in call.params.all("tag") if tag)


async def node(call: Call) -> Reply:
    """One node with its services, keyed by id; null for an unknown node."""
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing node name")
    call.failure_headers = FAILED_READ
    keep = _service_filter(call)
    found = await call.ask(NodeServices(NodeName(call.rest)), options)
    if found.value.node is None:
        return call.answer(None, found)
    shown = {item.id: render.node_service(item) for item in found.value.services}
    if keep is not None:
        shown = {key: item for key, item in shown.items() if keep(item)}
    return call.answer({"Node": render.node(found.value.node), "Services": shown}, found)


async def node_services(call: Call) -> Reply:
    """One node with its services as a list."""
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing node name")
    call.failure_headers = FAILED_READ
    keep = _service_filter(call)
    found = await call.ask(NodeServices(NodeName(call.rest)), options)
    if found.value.node is None:
        return call.answer({"Node": None, "Services": None}, found)
    services = found.value.services
    if wants_merge(call):
        services = await merged_services(call, options, services)
    shown: Json = [render.node_service(item) for item in services] or None
    if keep is not None:
        shown = [item for item in shown or () if keep(item)]
    return call.answer({"Node": render.node(found.value.node), "Services": shown}, found)


def _service_filter(call: Call) -> Predicate | None:
    expression = call.params.get("filter")
    return compile_filter(expression, filter_fields.SERVICE) if expression else None


async def gateway_services(call: Call) -> Reply:
    """The services behind a gateway, null for none."""
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing gateway name")
    call.failure_headers = FAILED_READ
    found = await call.ask(GatewayServices(ServiceName(call.rest)), options)
    shown = [render_config.gateway_service(one) for one in found.value]
    return call.answer(shown or None, found)
