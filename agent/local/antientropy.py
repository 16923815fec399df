"""What to tell the catalog so that it says about this node what is true here.

Decides the differences between local state and catalog (agent contract 4.2), in which writes they
are mended, and when the next full comparison is due (4.1). Local state wins; the entries that the
leader owns (the service ``consul``, the check ``serfHealth``) are never touched.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from agent.local.services import LocalCheck, LocalState
from raftstore.commands import Command, Deregister, Register
from raftstore.queries import NodeServicesAnswer
from raftstore.records import (
    CONSUL_SERVICE,
    SERF_HEALTH,
    Check,
    CheckId,
    Node,
    Service,
    ServiceId,
)

#: Services, or checks, that are compared in one step: less than a millisecond.
COMPARED_AT_ONCE = 128
#: Of what is to be written.
PLANNED_AT_ONCE = 256
#: Agent contract 4.1: period of full syncs, and the pause after a failed one, in seconds.
FULL_INTERVAL_S = 60.0
RETRY_INTERVAL_S = 15.0
SERVER_APPEARED_S = 3.0
#: Members up to which the intervals are not stretched.
SCALE_THRESHOLD = 128


@dataclass(frozen=True, slots=True)
class SyncNode:
    """Write the node's own record."""

    node: Node


@dataclass(frozen=True, slots=True)
class SyncService:
    """Write a service together with its checks that are out of step and use its token."""

    service: Service
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncCheck:
    """Write one check."""

    check: Check


@dataclass(frozen=True, slots=True)
class RemoveService:
    """Remove a service, and with it its checks, from the catalog."""

    service_id: ServiceId


@dataclass(frozen=True, slots=True)
class RemoveCheck:
    """Remove a check from the catalog."""

    check_id: CheckId


@dataclass(frozen=True, slots=True)
class AdoptTags:
    """No write: the service lets others set its tags, so local state takes the catalog's."""

    service_id: ServiceId
    tags: tuple[str, ...]


Action = SyncNode | SyncService | SyncCheck | RemoveService | RemoveCheck | AdoptTags


def plan(
    local: LocalState, node: Node, remote: NodeServicesAnswer, checks: Iterable[Check]
) -> Generator[None, None, tuple[Action, ...]]:
    """All that makes the catalog agree with this host, after seeing all it says about it.

    In short steps. What changes in ``local`` between them is the caller's to remember
    (``LocalState.begin_comparison``); what goes is left out.
    """
    remote_checks = {check.id: check for check in checks}
    remote_services = {service.id: service for service in remote.services}
    adopted: list[AdoptTags] = []
    stale_services: dict[ServiceId, None] = {}
    for number, service_id in enumerate(list(local.services)):
        service, known = local.services.get(service_id), remote_services.get(service_id)
        if service is None:
            continue
        if known is not None and _only_tags_differ(service.record, known):
            if known.tags != service.record.tags:
                adopted.append(AdoptTags(service_id, known.tags))
        elif known is None or _service_key(service.record) != _service_key(known):
            stale_services[service_id] = None
        if number % COMPARED_AT_ONCE == 0:
            yield
    stale_checks: dict[CheckId, None] = {}
    for number, check_id in enumerate(list(local.checks)):
        check = local.checks.get(check_id)
        if check is not None and _check_differs(
            check.record, remote_checks.get(check_id), held=local.is_held(check_id)
        ):
            stale_checks[check_id] = None
        if number % COMPARED_AT_ONCE == 0:
            yield
    gone_services = [
        service_id
        for service_id in remote_services
        if service_id not in local.services and service_id != CONSUL_SERVICE
    ]
    swept = frozenset(gone_services)
    gone_checks = [
        check_id
        for check_id, check in remote_checks.items()
        if check_id not in local.checks
        and check_id != SERF_HEALTH
        and check.service_id not in swept  # these go with their service
    ]
    return (
        *adopted,
        *(
            yield from _actions(
                local,
                node if _node_differs(node, remote.node) else None,
                [service_id for service_id in stale_services if service_id in local.services],
                [check_id for check_id in stale_checks if check_id in local.checks],
                gone_services,
                gone_checks,
            )
        ),
    )


def pending(local: LocalState, node: Node) -> Generator[None, None, tuple[Action, ...]]:
    """All that changed here and was not told yet, without looking at the catalog. In short steps;
    what changes between them is out of step still when its action has been carried out."""
    return (
        yield from _actions(
            local,
            None if local.node_in_sync else node,
            local.unsynced_services,
            local.unsynced_checks,
            local.gone_services,
            local.gone_checks,
        )
    )


def note(local: LocalState, actions: Iterable[Action]) -> None:
    """Let local state know what a comparison found, so that nothing is forgotten on an error."""
    services: list[ServiceId] = []
    checks: list[CheckId] = []
    gone_services: list[ServiceId] = []
    gone_checks: list[CheckId] = []
    node = False
    for action in actions:
        match action:
            case SyncNode():
                node = True
            case SyncService():
                services.append(action.service.id)
                checks += [check.id for check in action.checks]
            case SyncCheck():
                checks.append(action.check.id)
            case RemoveService():
                gone_services.append(action.service_id)
            case RemoveCheck():
                gone_checks.append(action.check_id)
            case AdoptTags():
                local.adopt_tags(action.service_id, action.tags)
    local.note_differences(
        node=node,
        services=services,
        checks=checks,
        gone_services=gone_services,
        gone_checks=gone_checks,
    )


def command(action: Action, node: Node, *, node_in_sync: bool) -> Command | None:
    """The write that carries an action out; None for those that need none."""
    match action:
        case SyncNode():
            return Register(node=action.node)
        case SyncService():
            return Register(
                node=node,
                service=action.service,
                checks=action.checks,
                skip_node_update=node_in_sync,
            )
        case SyncCheck():
            return Register(node=node, checks=(action.check,), skip_node_update=node_in_sync)
        case RemoveService():
            return Deregister(node=node.name, service_id=action.service_id)
        case RemoveCheck():
            return Deregister(node=node.name, check_id=action.check_id)
        case AdoptTags():
            return None


def mark_done(local: LocalState, action: Action, *, index: int = 0) -> None:
    """The catalog has taken the action over, at ``index`` of its log if that is known."""
    match action:
        case SyncNode():
            local.node_in_sync = True
        case SyncService():
            local.node_in_sync = True
            local.mark_service_synced(action.service, index)
            for check in action.checks:
                local.mark_check_synced(check, index)
        case SyncCheck():
            local.node_in_sync = True
            local.mark_check_synced(action.check, index)
        case RemoveService():
            local.mark_service_removed(action.service_id)
        case RemoveCheck():
            local.mark_check_removed(action.check_id)
        case AdoptTags():
            pass


def scale_factor(members: int) -> int:
    """By how much the intervals grow with the cluster: 1 up to 128 members, 2 at 256, ..."""
    if members <= SCALE_THRESHOLD:
        return 1
    return math.ceil(math.log2(members) - math.log2(SCALE_THRESHOLD)) + 1


class FullSyncClock:
    """When the next full comparison is due. Starts due at once."""

    __slots__ = ("_rng", "deadline")

    def __init__(self, rng: random.Random, now: float) -> None:
        self._rng = rng
        self.deadline = now

    def trigger(self, now: float) -> None:
        """Something happened (a join): compare at once."""
        self.deadline = min(self.deadline, now)

    def server_appeared(self, now: float, members: int) -> None:
        """The first server is there: compare soon, but not all agents in one instant."""
        wait = self._rng.random() * SERVER_APPEARED_S * scale_factor(members)
        self.deadline = min(self.deadline, now + wait)

    def succeeded(self, now: float, members: int) -> None:
        """A full sync went through."""
        spread = self._rng.random() * FULL_INTERVAL_S * scale_factor(members)
        self.deadline = now + FULL_INTERVAL_S + spread

    def failed(self, now: float, members: int) -> None:
        """A sync broke off; an earlier date that is still to come is kept."""
        spread = self._rng.random() * RETRY_INTERVAL_S * scale_factor(members)
        again = now + RETRY_INTERVAL_S + spread
        self.deadline = again if self.deadline <= now else min(self.deadline, again)


def _actions(
    local: LocalState,
    node: Node | None,
    services: Iterable[ServiceId],
    checks: Iterable[CheckId],
    gone_services: Iterable[ServiceId],
    gone_checks: Iterable[CheckId],
) -> Generator[None, None, tuple[Action, ...]]:
    """Additions before removals: a service that only changes its id stays reachable."""
    actions: list[Action] = [] if node is None else [SyncNode(node)]
    by_service: dict[ServiceId, list[LocalCheck]] = {}
    services, gone_services, gone_checks = tuple(services), tuple(gone_services), tuple(gone_checks)
    for number, check_id in enumerate(tuple(checks), start=1):
        check = local.checks.get(check_id)
        if check is not None:
            by_service.setdefault(check.record.service_id, []).append(check)
        if number % PLANNED_AT_ONCE == 0:
            yield
    alone: list[LocalCheck] = []
    for number, service_id in enumerate(services, start=1):
        if number % PLANNED_AT_ONCE == 0:
            yield
        service = local.services.get(service_id)
        mine = by_service.pop(service_id, [])
        if service is None:
            continue  # it went meanwhile, with its checks
        together = tuple(check.record for check in mine if check.token == service.token)
        actions.append(SyncService(service.record, together))
        alone += [check for check in mine if check.token != service.token]
    for rest in by_service.values():
        alone += rest
    # What went meanwhile must not be written.
    actions = [
        action
        for action in actions
        if not isinstance(action, SyncService) or action.service.id in local.services
    ]
    actions += [SyncCheck(check.record) for check in alone if check.record.id in local.checks]
    actions += [RemoveService(service_id) for service_id in gone_services]
    actions += [RemoveCheck(check_id) for check_id in gone_checks]
    return tuple(actions)


#: All of a service but its node, which the catalog fills in, and what has two spellings of "none".
_SERVICE = attrgetter(
    "id", "name", "kind", "tags", "address", "port", "socket_path", "weights",
    "enable_tag_override", "proxy", "connect_native", "ports", "locality",
)  # fmt: skip
#: All of a check but what the catalog fills in by itself, and its output.
_CHECK = attrgetter(
    "id", "name", "status", "notes", "service_id", "type", "interval", "timeout", "exposed_port",
    "definition",
)  # fmt: skip


def _service_key(service: Service) -> tuple[Any, ...]:
    return (*_SERVICE(service), service.meta or None, service.tagged_addresses or None)


def _only_tags_differ(local: Service, remote: Service) -> bool:
    if not local.enable_tag_override:
        return False
    return _service_key(replace(local, tags=remote.tags)) == _service_key(remote)


def _check_differs(local: Check, remote: Check | None, *, held: bool) -> bool:
    """``held``: the output may wait."""
    if remote is None or _CHECK(local) != _CHECK(remote):
        return True
    return not held and local.output != remote.output


def _node_differs(local: Node, remote: Node | None) -> bool:
    return (
        remote is None
        or remote.id != local.id
        or remote.address != local.address
        or dict(remote.tagged_addresses or {}) != dict(local.tagged_addresses or {})
        or dict(remote.meta or {}) != dict(local.meta or {})
    )
