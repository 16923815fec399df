"""`/v1/internal/ui/`: what user interfaces ask (http-api contract 20)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agent.acl.authorizer import READ
from agent.acl.caller import Need
from agent.backend import Ask
from agent.errors import RequestError
from agent.filters import compile_filter
from agent.http import filter_fields, render
from agent.http.call import FAILED_READ, Call
from agent.http.reply import Reply
from agent.http.topology import topology
from agent.http.ui_gateways import Links, has_gateways, links
from agent.http.ui_summary import entries_of, overview, shown, summaries
from raftstore.catalog_queries import DumpNode, DumpNodes, NodeDump
from raftstore.definition_queries import GetConfigEntry
from raftstore.queries import HealthEntry, ListIntentions, MatchIntentions
from raftstore.records import Json, NodeName
from raftstore.slices import in_slices

T = TypeVar("T")

_TYPICAL, _INGRESS = "", "ingress-gateway"


def dumped(value: NodeDump) -> dict[str, Json]:
    """A node with its services and checks."""
    node = value.node
    return {
        "ID": node.id,
        "Node": node.name,
        "Address": node.address,
        "TaggedAddresses": None if node.tagged_addresses is None else dict(node.tagged_addresses),
        "Meta": None if node.meta is None else dict(node.meta),
        "Services": [render.node_service(service) for service in value.services],
        "Checks": [render.check(check) for check in value.checks],
    }


async def nodes(call: Call) -> Reply:
    """All nodes with their services and checks."""
    options = call.options()
    call.failure_headers = FAILED_READ
    expression = call.params.get("filter")
    keep = compile_filter(expression, filter_fields.NODE_DUMP) if expression else None
    found = await call.ask(DumpNodes(), options)
    headers = call.read_headers(found, effective=False)
    return call.listing(found.value, dumped, filtered=keep, headers=headers)


async def node(call: Call) -> Reply:
    """One node with its services and checks."""
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing node name")
    call.failure_headers = FAILED_READ
    found = await call.ask(DumpNode(NodeName(call.rest)), options)
    if found.value is None:
        return Reply(status=404)
    return call.answer(dumped(found.value), found, effective=False)


async def services(call: Call) -> Reply:
    """A line for every service."""
    options = call.options()
    call.failure_headers = FAILED_READ
    keep = _entry_filter(call)
    found = await call.ask(DumpNodes(), options)
    made = await in_slices(summaries(entries_of(found.value), keep))
    lines = [made[name] for name in sorted(made)]
    headers = call.read_headers(found, effective=False)
    now = Ask(consistency=options.consistency, max_stale_s=options.max_stale_s)
    linked = Links()
    if await has_gateways(call, now):
        linked = await links(call, now)
    running = {name.lower() for name, each in made.items() if each.instances}
    return call.listing(
        lines,
        lambda each: {
            **shown(each, associated=len(linked.services.get(each.name.lower(), ()))),
            "ConnectedWithProxy": each.has_proxy,
            "ConnectedWithGateway": linked.connects(each, running),
        },
        headers=headers,
    )


def _entry_filter(call: Call) -> Callable[[HealthEntry], bool] | None:
    expression = call.params.get("filter")
    if not expression:
        return None
    keep = compile_filter(expression, filter_fields.HEALTH_ENTRY)
    return lambda entry: keep(render.health_entry(entry))


async def service_topology(call: Call) -> Reply:
    """Who talks to a service, and to whom it talks."""
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing service name")
    if "kind" not in call.params:
        raise RequestError(400, "Missing service kind")
    kind = call.params.get("kind")
    if kind not in {_TYPICAL, _INGRESS}:
        raise RequestError(400, f'Unsupported service kind "{kind}"')
    call.failure_headers = FAILED_READ
    call.require(Need("service", READ, call.rest))  # what it speaks tells that it is there
    found = await call.ask(DumpNodes(), options)
    now = Ask(consistency=options.consistency)
    intentions = await call.ask(ListIntentions(), now)
    steps = topology(
        entries_of(found.value),
        intentions.value,
        call.rest,
        protocol=await protocol_of(call, call.rest, now),
        default_allow=call.context.config.acl.intentions_allow,
        filtered=found.filtered or intentions.filtered,
    )
    return call.answer(await in_slices(steps), found, effective=False)


async def protocol_of(call: Call, service: str, options: Ask) -> str:
    """The protocol that config entries give a service: its own, that of all proxies, or tcp."""
    for query, path in (
        (GetConfigEntry("service-defaults", service), ("Protocol",)),
        (GetConfigEntry("proxy-defaults", "global"), ("Config", "protocol")),
    ):
        entry = (await call.context.backend.ask(query, options)).value
        value: Json = None if entry is None else entry.content
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            return value
    return "tcp"


async def metrics_proxy(_call: Call) -> Reply:
    """No source of metrics is asked on behalf of an interface."""
    raise RequestError(404, "Metrics proxy is not enabled")


async def catalog_overview(call: Call) -> Reply:
    """How many nodes, instances and checks are in which state."""
    options = call.options()
    call.failure_headers = FAILED_READ
    found = await call.ask(DumpNodes(), options)
    return call.answer(await in_slices(overview(found.value)), found, effective=False)


async def exported_services(call: Call) -> Reply:
    """Services that other partitions or peers may use: there are none of these."""
    options = call.options()
    call.failure_headers = FAILED_READ
    found = await call.ask(MatchIntentions("source", ()), options)
    return call.answer([], found, effective=False)
