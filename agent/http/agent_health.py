"""`/v1/agent/health/service/`: this host's services summed up for load balancers (contract 8)."""

from __future__ import annotations

from collections.abc import Iterable

from agent.errors import RequestError
from agent.http import render
from agent.http.agent import parameter
from agent.http.call import Call
from agent.http.local_needs import service_read
from agent.http.reply import Reply, header
from raftstore.records import CRITICAL, PASSING, WARNING, Check, Json, Service, ServiceId

_MAINTENANCE = "maintenance"
_CODES = {PASSING: 200, WARNING: 429, CRITICAL: 503, _MAINTENANCE: 503}
#: Worse states later.
_ORDER = (PASSING, WARNING, CRITICAL, _MAINTENANCE)
_PLAIN = "text/plain"


def aggregate(checks: Iterable[Check]) -> str:
    """The worst state; maintenance beats everything."""
    worst = 0
    for check in checks:
        if check.id == "_node_maintenance" or check.id.startswith("_service_maintenance:"):
            return _MAINTENANCE
        state = check.status if check.status in _ORDER else CRITICAL
        worst = max(worst, _ORDER.index(state))
    return _ORDER[worst]


def _checks_of(call: Call, service_id: str) -> list[Check]:
    found = call.context.local.checks().values()
    return [check for check in found if check.service_id in {"", service_id}]


def _summary(call: Call, service: Service) -> tuple[str, Json]:
    checks = _checks_of(call, service.id)
    status = aggregate(checks)
    config = call.context.config
    return status, {
        "AggregatedStatus": status,
        "Service": render.agent_service(service, config.datacenter),
        "Checks": [render.client_check(check, config.node_name) for check in checks],
    }


def _wants_text(call: Call) -> bool:
    return call.params.get("format") == "text" or call.headers.get("Accept", "") == _PLAIN


def _reason(value: str) -> tuple[str, ...]:
    return (header("X-Consul-Reason", value),)


async def by_id(call: Call) -> Reply:
    """One instance."""
    service_id = parameter(call)
    if not service_id:
        raise RequestError(500, "Bad request: Missing serviceID")
    service = call.context.local.services().get(ServiceId(service_id))
    if service is None:
        reason = f"ServiceId {service_id} not found"
        shown: Json = {"AggregatedStatus": CRITICAL, "Service": None, "Checks": None}
        if _wants_text(call):
            shown = reason
        return call.json(shown, status=404, headers=_reason(reason))
    call.require(service_read(service.name))
    status, shown = _summary(call, service)
    if _wants_text(call):
        return Reply(status.encode(), _PLAIN, _CODES[status], _reason(status))
    return call.json(shown, status=_CODES[status], headers=_reason(status))


async def by_name(call: Call) -> Reply:
    """All instances of a name; the worst decides about the status code."""
    name = parameter(call)
    if not name:
        raise RequestError(500, "Bad request: Missing service Name")
    call.require(service_read(name))
    found = [
        _summary(call, service)
        for service in call.context.local.services().values()
        if service.name == name
    ]
    if not found:
        reason = f"ServiceName {name} Not Found"
        if _wants_text(call):
            return Reply(reason.encode(), _PLAIN, 404, _reason(reason))
        return call.json([], status=404, headers=_reason(reason))
    status = max((each for each, _ in found), key=_ORDER.index)
    if _wants_text(call):
        return Reply(status.encode(), _PLAIN, _CODES[status], _reason(status))
    shown = [summary for _, summary in found]
    return call.json(shown, status=_CODES[status], headers=_reason(status))
