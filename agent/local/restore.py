"""Which of the registrations on disk still count at a start (agent contract, section 3).

Decides by what the configuration files define now: a stored service or check whose id they define
is dropped, as is a check whose service is gone. The state of a TTL check is taken up while it has
not expired.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from agent.config.schema import AgentConfig
from agent.local.expand import service_checks, service_id, sidecar_id
from agent.local.services import LocalCheck, LocalService
from agent.local.stored import Changes, Loaded, TtlState
from raftstore.records import CheckId, ServiceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What to register again, which files to remove, and how long TTL checks have left."""

    services: tuple[LocalService, ...]
    checks: tuple[LocalCheck, ...]
    ttl_left_s: dict[CheckId, float]
    purge: Changes


def restore(
    loaded: Loaded,
    *,
    config_services: Collection[ServiceId],
    config_checks: Collection[CheckId],
    unix_now: float,
) -> Restored:
    """Sort what was loaded. ``config_*`` are the ids that configuration files define."""
    services = tuple(s for s in loaded.services if s.record.id not in config_services)
    known = {service.record.id: service.record for service in services}
    states = {state.check_id: state for state in loaded.states}
    checks: list[LocalCheck] = []
    dropped: list[CheckId] = []
    left: dict[CheckId, float] = {}
    for check in loaded.checks:
        owner = check.record.service_id
        orphan = bool(owner) and owner not in known and owner not in config_services
        if check.record.id in config_checks or orphan:
            dropped.append(check.record.id)
            continue
        state = states.get(check.record.id)
        if state is not None and check.definition.kind == "ttl" and state.expires_at > unix_now:
            left[check.record.id] = state.expires_at - unix_now
            check = with_state(check, state)
        checks.append(check)
    return Restored(
        services=services,
        checks=tuple(checks),
        ttl_left_s=left,
        purge=Changes(
            gone_services=tuple(
                service.record.id
                for service in loaded.services
                if service.record.id in config_services
            ),
            gone_checks=tuple(dropped),
        ),
    )


def with_state(check: LocalCheck, state: TtlState) -> LocalCheck:
    """The check as its last update left it."""
    return replace(check, record=replace(check.record, status=state.status, output=state.output))


def config_service_ids(config: AgentConfig) -> frozenset[ServiceId]:
    """The ids that the files' services will have, sidecars included."""
    ids = set()
    for definition in config.services:
        ids.add(service_id(definition))
        if definition.sidecar is not None:
            ids.add(sidecar_id(service_id(definition)))
    return frozenset(ids)


def config_check_ids(config: AgentConfig) -> frozenset[CheckId]:
    """The ids that the files' checks will have, those of services included."""
    ids = {check.id or CheckId(check.name) for check in config.checks}
    for definition in config.services:
        ids |= {check.id for check in service_checks(definition)}
        if definition.sidecar is not None:
            # The default checks of a sidecar are two, or one without a port of its own.
            sidecar = replace(definition.sidecar, id=sidecar_id(service_id(definition)))
            ids |= {check.id for check in service_checks(sidecar)}
            ids |= {CheckId(f"service:{sidecar.id}{tail}") for tail in ("", ":1", ":2")}
    return frozenset(ids)
