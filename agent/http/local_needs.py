"""What changes of this host's services and checks need (contract 7 to 9): named in the refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from agent.acl.authorizer import READ, WRITE
from agent.acl.caller import DENIED, Need
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.errors import RequestError
from agent.http.call import Call
from raftstore.records import Check, CheckId, Service, ServiceId

Defined = TypeVar("Defined", ServiceDefinition, CheckDefinition)


def service_write(name: str) -> Need:
    """To register, change or forget a service."""
    return Need("service", WRITE, name, text=f"{DENIED}: Missing service:write on {name}")


def node_write(call: Call) -> Need:
    """The same for what belongs to the node."""
    node = call.context.config.node_name
    return Need("node", WRITE, node, text=f"{DENIED}: Missing node:write on {node}")


def may_register(call: Call, definition: ServiceDefinition) -> None:
    """The service, its sidecar, and what is registered under its id already. Raises Denied."""
    call.require(service_write(definition.name))
    sidecar = definition.sidecar
    if sidecar is not None:
        call.require(service_write(sidecar.name or f"{definition.name}-sidecar-proxy"))
    there = call.context.local.services().get(ServiceId(definition.id or definition.name))
    if there is not None and there.name != definition.name:
        call.require(service_write(there.name))


def with_own_token(call: Call, definition: Defined) -> Defined:
    """The catalog is told with the token that is given, else with the one that is shown."""
    if not call.access.enabled or definition.token or not call.secret:
        return definition
    return replace(definition, token=call.secret)


def may_change_service(call: Call, service_id: str) -> None:
    """A service that is registered here. Raises RequestError for one that is not."""
    if not call.access.enabled:
        return
    there = call.context.local.services().get(ServiceId(service_id))
    if there is None:
        call.consulted = True
        raise RequestError(500, f'Unknown service "{service_id}"')
    call.require(service_write(there.name))


def may_change_check(call: Call, check_id: str) -> None:
    """A check that is registered here, by whom it belongs to."""
    if not call.access.enabled:
        return
    there = call.context.local.checks().get(CheckId(check_id))
    if there is None:
        call.consulted = True
        raise RequestError(500, f'Unknown check "{check_id}"')
    _require_owner(call, there)


def may_register_check(call: Call, service_id: str, check_id: str) -> None:
    """A check of the node, or of a service that is registered here."""
    if not call.access.enabled:
        return
    if service_id:
        owner = call.context.local.services().get(ServiceId(service_id))
        if owner is None:
            call.consulted = True
            raise RequestError(500, f'ServiceID "{service_id}" does not exist')
        call.require(service_write(owner.name))
    else:
        call.require(node_write(call))
    there = call.context.local.checks().get(CheckId(check_id))
    if there is not None:
        _require_owner(call, there)


def _require_owner(call: Call, check: Check) -> None:
    owner = call.context.local.services().get(check.service_id)
    name = check.service_name or (owner.name if owner is not None else "")
    call.require(service_write(name) if check.service_id else node_write(call))


def sees_service(call: Call, service: Service) -> bool:
    """Whether the caller may see a service of this host."""
    return call.may("service", READ, service.name)


def sees_check(call: Call, check: Check) -> bool:
    """The same for a check."""
    if not check.service_id:
        return call.may("node", READ, call.context.config.node_name)
    owner = call.context.local.services().get(check.service_id)
    name = check.service_name or (owner.name if owner is not None else "")
    return call.may("service", READ, name)


def service_read(name: str) -> Need:
    """To see one service."""
    return Need("service", READ, name)
