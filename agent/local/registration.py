"""From a definition to what is registered: checked, completed, and with the state it had before.

Decides by the agent's policy (scripts, port range, limits) and by what is registered already; it
changes nothing itself, so a refusal leaves everything as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.definitions import CheckDefinition, ServiceDefinition
from agent.errors import RequestError
from agent.local.checks.schedule import INTERVAL_MIN_S
from agent.local.expand import (
    PortRange,
    check_record,
    expand_sidecar,
    service_checks,
    service_id,
    service_record,
    sidecar_id,
)
from agent.local.services import LocalCheck, LocalService, LocalState, Source
from agent.local.validate import (
    SIZES,
    Sizes,
    is_dns_label,
    refuse_scripts,
    refuse_unsupported,
    validate_check,
    validate_service,
)
from raftstore.records import CONSUL_SERVICE, CheckId, NodeName, Service, ServiceId

#: The shortest `deregister_critical_service_after` (agent contract 1.4), in seconds.
DEREGISTER_AFTER_MIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this agent allows."""

    node: NodeName
    server: bool
    ports: PortRange
    scripts_by_request: bool
    scripts_by_file: bool
    services_max: int
    checks_max: int
    #: Whether the host's service manager can be asked.
    os_services: bool = False
    sizes: Sizes = SIZES


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A service, its sidecar if it has one, their checks; and what the user should know."""

    services: tuple[LocalService, ...] = ()
    checks: tuple[LocalCheck, ...] = ()
    warnings: tuple[str, ...] = ()


def build_service(
    definition: ServiceDefinition, policy: Policy, state: LocalState, source: Source
) -> Registration:
    """All that registering ``definition`` brings. Raises RequestError."""
    validate_service(definition, policy.sizes)
    if policy.server and service_id(definition) == CONSUL_SERVICE:
        raise RequestError(400, 'Invalid service ID: "consul" is kept for the servers themselves')
    definitions = [definition]
    owner = service_id(definition)
    previous = state.services.get(sidecar_id(owner))
    sidecar = expand_sidecar(
        definition,
        # The parent is not registered yet, but its port is spoken for.
        taken=frozenset()
        if definition.sidecar is None
        else {
            definition.port,
            *(service.record.port for service in state.services.values()),
        },
        previous_port=previous.record.port if previous and previous.sidecar else 0,
        ports=policy.ports,
    )
    if sidecar is not None:
        validate_service(sidecar, policy.sizes)
        definitions.append(sidecar)
    services: list[LocalService] = []
    checks: list[LocalCheck] = []
    warnings: list[str] = []
    for one in definitions:
        record = service_record(one, policy.node)
        services.append(
            LocalService(
                record=record, token=one.token, source=source, sidecar=one is not definition
            )
        )
        if not is_dns_label(one.name):
            warnings.append(_dns_warning(one.name))
        for check in service_checks(one):
            local = _build_check(check, policy, state, source, service=record, standalone=False)
            checks.append(local)
            warnings += _check_warnings(check)
    new_services = sum(s.record.id not in state.services for s in services)
    _refuse_too_many(policy, state, new_services, checks)
    return Registration(services=tuple(services), checks=tuple(checks), warnings=tuple(warnings))


def build_check(
    definition: CheckDefinition, policy: Policy, state: LocalState, source: Source
) -> Registration:
    """What registering a check on its own brings. Raises RequestError."""
    validate_check(definition, policy.sizes)
    definition = replace(definition, id=definition.id or CheckId(definition.name))
    refuse_scripts(definition, enabled=_scripts(policy, source), remote=source == "remote")
    owner = definition.service_id
    service: Service | None = None
    if owner:
        local = state.services.get(ServiceId(owner))
        if local is None:
            raise RequestError(500, f'ServiceID "{owner}" does not exist')
        service = local.record
        definition = replace(definition, token=definition.token or local.token)
    check = _build_check(definition, policy, state, source, service=service, standalone=True)
    _refuse_too_many(policy, state, 0, [check])
    return Registration(checks=(check,), warnings=tuple(_check_warnings(definition)))


def _build_check(
    check: CheckDefinition,
    policy: Policy,
    state: LocalState,
    source: Source,
    *,
    service: Service | None,
    standalone: bool,
) -> LocalCheck:
    refuse_scripts(check, enabled=_scripts(policy, source), remote=source == "remote")
    refuse_unsupported(check, os_services=policy.os_services)
    record = check_record(check, node=policy.node, service=service, standalone=standalone)
    known = state.checks.get(record.id)
    if known is not None:
        # Registering again must not make a healthy service flap.
        record = replace(
            record,
            status=known.record.status,
            output=known.record.output,
            exposed_port=known.record.exposed_port,
        )
    after = check.deregister_critical_service_after_s
    if 0 < after < DEREGISTER_AFTER_MIN_S:
        check = replace(check, deregister_critical_service_after_s=DEREGISTER_AFTER_MIN_S)
    return LocalCheck(record=record, definition=check, token=check.token, source=source)


def _scripts(policy: Policy, source: Source) -> bool:
    return policy.scripts_by_request if source == "remote" else policy.scripts_by_file


def _refuse_too_many(
    policy: Policy, state: LocalState, new_services: int, checks: list[LocalCheck]
) -> None:
    if len(state.services) + new_services > policy.services_max:
        raise RequestError(500, f"this agent holds its maximum of {policy.services_max} services")
    new_checks = sum(check.record.id not in state.checks for check in checks)
    if len(state.checks) + new_checks > policy.checks_max:
        raise RequestError(500, f"this agent holds its maximum of {policy.checks_max} checks")


def _dns_warning(name: str) -> str:
    return (
        f'Service name "{name}" will not be discoverable via DNS: '
        "only letters, digits and dashes are, at most 63"
    )


def _check_warnings(check: CheckDefinition) -> list[str]:
    warnings = []
    if 0 < check.interval_s < INTERVAL_MIN_S:
        warnings.append(f'check "{check.id}": the interval is raised to {INTERVAL_MIN_S:.0f}s')
    if 0 < check.deregister_critical_service_after_s < DEREGISTER_AFTER_MIN_S:
        warnings.append(
            f'check "{check.id}": deregister_critical_service_after is raised to '
            f"{DEREGISTER_AFTER_MIN_S:.0f}s"
        )
    return warnings
