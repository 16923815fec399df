"""Which of the registrations on disk still count at a start (agent contract, section 3).

Decides by what the configuration files define now: a stored service or check whose id they define
is dropped, as is a check whose service is gone. The state of a TTL check is taken up while it has
not expired, that of others until they have run: a restart is no reason for a healthy service to
vanish for an interval.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from agent.config.schema import AgentConfig
from agent.local.expand import service_checks, service_id, sidecar_id
from agent.local.services import LocalCheck, LocalService
from agent.local.stored import Changes, KeptState, Loaded
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
        check, left_s = resumed(check, states.get(check.record.id), unix_now)
        if left_s > 0:
            left[check.record.id] = left_s
        checks.append(check)
    there = {check.record.id for check in loaded.checks}.union(config_checks)
    orphans = [key for key in states if key not in there]
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
            gone_checks=(*(c for c in dropped if c not in config_checks), *orphans),
            now_in_files=tuple(c for c in dropped if c in config_checks),
        ),
    )


def resumed(
    check: LocalCheck, state: KeptState | None, unix_now: float
) -> tuple[LocalCheck, float]:
    """The check as it was before the restart, as far as that still counts; and what a TTL has left.

    A status that a configuration file gives beats what was seen by a probe (agent contract 3).
    """
    if state is None:
        return check, 0.0
    left_s = state.expires_at - unix_now if check.definition.kind == "ttl" else 0.0
    if check.definition.kind == "ttl" and left_s <= 0:
        return check, 0.0
    if check.definition.kind != "ttl" and check.source == "local" and check.definition.status:
        return check, 0.0
    record = replace(check.record, status=state.status, output=state.output)
    return replace(check, record=record), left_s


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
