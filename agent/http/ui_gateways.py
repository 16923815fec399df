"""Gateways as user interfaces see them: the services behind one, where it serves them, and the
intentions about these (http-api contract 20)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

from agent.backend import Ask
from agent.config.schema import AgentConfig
from agent.errors import RequestError
from agent.http import render
from agent.http.call import FAILED_READ, Call
from agent.http.reply import Reply
from agent.http.ui_summary import Summary, shown, summaries
from raftstore.catalog_queries import CountServices
from raftstore.definition_queries import ListConfigEntries
from raftstore.mesh_queries import GatewayService, GatewayServices
from raftstore.queries import HealthEntry, HealthService, MatchIntentions
from raftstore.records import Intention, ServiceName
from raftstore.slices import in_slices

INGRESS = "ingress-gateway"
_KINDS = (INGRESS, "terminating-gateway")


@dataclass(frozen=True, slots=True)
class Links:
    """Which service stands behind which gateways, by names in lower case, and how many a gateway
    has."""

    gateways: dict[str, set[str]] = field(default_factory=dict)
    services: dict[str, set[str]] = field(default_factory=dict)

    def connects(self, summary: Summary, running: set[str]) -> bool:
        """Whether a gateway of which an instance runs serves this one."""
        linked = self.gateways.get(summary.name.lower(), set())
        return summary.instances > 0 and not linked.isdisjoint(running)


async def links(call: Call, options: Ask) -> Links:
    """Of all gateways that are configured."""
    found = Links()
    for kind in _KINDS:
        for entry in (await call.ask(ListConfigEntries(kind), options)).value:
            behind = await call.ask(GatewayServices(ServiceName(entry.name)), options)
            for each in behind.value:
                gateway, service = each.gateway.lower(), each.service.lower()
                found.gateways.setdefault(service, set()).add(gateway)
                found.services.setdefault(gateway, set()).add(service)
    return found


async def services(call: Call) -> Reply:
    """A line for every service behind a gateway."""
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing gateway name")
    call.failure_headers = FAILED_READ
    found = await call.ask(GatewayServices(ServiceName(call.rest)), options)
    now = Ask(consistency=options.consistency, max_stale_s=options.max_stale_s)
    lines = []
    for name in sorted({each.service for each in found.value}):
        entries = await call.ask(HealthService(service=ServiceName(name)), now)
        summary = await _summary(name, entries.value)
        mine = [each for each in found.value if each.service == name]
        lines.append(shown(summary, addresses=_addresses(call.context.config, mine)))
    return call.answer(lines, found, effective=False)


async def _summary(name: str, entries: Iterable[HealthEntry]) -> Summary:
    made = await in_slices(summaries(entries))
    return next((each for key, each in made.items() if key.lower() == name.lower()), Summary(name))


def _addresses(config: AgentConfig, linked: list[GatewayService]) -> list[str]:
    """Where an ingress gateway serves a service: its hosts, or its name in DNS."""
    found: dict[str, None] = {}
    for each in linked:
        if each.kind != INGRESS:
            continue
        hosts = [host for host in each.hosts if host != "*"]
        for host in hosts or _names(config, each.service):
            found[f"{host.rstrip('.')}:{each.port}"] = None
    return list(found)


def _names(config: AgentConfig, service: str) -> list[str]:
    domains = [domain for domain in (config.dns.domain, config.dns.alt_domain) if domain.strip(".")]
    return [f"{service}.ingress.{config.datacenter}.{domain}" for domain in domains]


async def intentions(call: Call) -> Reply:
    """The intentions about the services behind a gateway."""
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing gateway name")
    call.failure_headers = FAILED_READ
    found = await call.ask(GatewayServices(ServiceName(call.rest)), options)
    names = tuple(sorted({each.service for each in found.value}))
    chosen: dict[tuple[str, str], Intention] = {}
    if names:
        now = Ask(consistency=options.consistency, max_stale_s=options.max_stale_s)
        matched = await call.ask(MatchIntentions("destination", names), now)
        for intention in (each for held in matched.value.values() for each in held):
            chosen.setdefault((intention.source.name, intention.destination), intention)
    ordered = sorted(
        chosen.values(), key=lambda i: (-i.source.precedence, i.source.name, i.destination)
    )
    return call.answer([render.intention(each) for each in ordered], found, effective=False)


async def has_gateways(call: Call, options: Ask) -> bool:
    """Whether any gateway runs: without one no service is connected to any."""
    return await runs_any(call, options, _KINDS)


async def runs_any(call: Call, options: Ask, kinds: Iterable[str]) -> bool:
    """Whether there is an instance of such a kind."""
    try:
        counts = (await call.context.backend.ask(CountServices(), options)).value
    except RequestError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return True  # an agent that asks with the token may not know; what there is is filtered
    return any(counts.kinds.get(kind) for kind in kinds)
