"""A registration that somebody removed from the catalog on purpose is removed here as well.

The host's agent is right about its services, so what is missing in the catalog is written again.
But a deregistration through any other agent, or as part of a transaction, is a wish of the same
worth as one that comes here: it must not be undone a minute later. The journal of changes tells the
two apart. Decides by it; asking for it is sync.py's.

Only what a request removed, by itself, after the catalog had it, is such a wish: a node that is
removed with all it holds, an agent that left, a catalog that was restored or lost are not. What
configuration files define stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.local.services import LocalState
from raftstore.queries import Change
from raftstore.records import CheckId, NodeName, Service, ServiceId

#: Clocks of hosts may differ by so many seconds. A registration that was asked for before a
#: removal, but not longer before than this, may have come after it, and stays.
SKEW_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class Revoked:
    """What is to be removed here."""

    services: tuple[ServiceId, ...] = ()
    checks: tuple[CheckId, ...] = ()

    def __or__(self, other: Revoked) -> Revoked:
        return Revoked(
            tuple(dict.fromkeys((*self.services, *other.services))),
            tuple(dict.fromkeys((*self.checks, *other.checks))),
        )

    def __bool__(self) -> bool:
        return bool(self.services or self.checks)


def missing_services(local: LocalState, remote: Iterable[Service]) -> tuple[ServiceId, ...]:
    """Services of requests that the catalog has had, or may have had, and has no more."""
    known = {service.id for service in remote}
    return tuple(
        key
        for key, service in local.services.items()
        if key not in known and service.source == "remote" and not service.sidecar
        if key not in local.unsynced_services or service.kept_at
    )


def missing_checks(local: LocalState, remote: Iterable[CheckId]) -> tuple[CheckId, ...]:
    """Checks of requests that the catalog has had and has no more, of services that stay."""
    known = set(remote)
    return tuple(
        key
        for key, check in local.checks.items()
        if key not in known and check.source == "remote" and key not in local.unsynced_checks
        if check.record.service_id not in local.unsynced_services
    )


def asked_for_since(local: LocalState, key: ServiceId) -> bool:
    """Whether a registration came while the journal was being asked: none of it has been told yet,
    and it is not what was kept on disk. What the journal says is about the one before."""
    service = local.services.get(key)
    return service is not None and key in local.unsynced_services and not service.kept_at


def revoked_services(
    local: LocalState,
    missing: Iterable[ServiceId],
    changes: Iterable[Change],
    of_node: Iterable[Change],
    node: NodeName,
) -> tuple[ServiceId, ...]:
    """Those of ``missing`` that a request removed. ``changes`` are those of services, oldest first,
    ``of_node`` those of nodes."""
    last = _last(changes, node)
    with_node = {change.index for change in of_node if change.after is None}
    return tuple(
        key
        for key in missing
        if (change := last.get(key)) is not None
        if _by_request(change) and change.index not in with_node
        if change.index > local.told_index(key) and not _may_be_newer(local, key, change)
    )


def revoked_checks(
    local: LocalState,
    missing: Iterable[CheckId],
    changes: Iterable[Change],
    of_services: Iterable[Change],
    node: NodeName,
) -> tuple[CheckId, ...]:
    """Those of ``missing`` that a request removed by themselves, not with their service."""
    last = _last(changes, node)
    with_service = {change.index for change in of_services if change.after is None}
    return tuple(
        key
        for key in missing
        if (change := last.get(key)) is not None
        if _by_request(change) and change.index not in with_service
        if change.index > local.told_index(key)
    )


def _last(changes: Iterable[Change], node: NodeName) -> dict[str, Change]:
    """The last change of each row of this node, by service or check id."""
    found: dict[str, Change] = {}
    for change in changes:
        owner, _, key = change.key.partition("/")
        if owner.lower() == node.lower():
            found[key] = change
    return found


def _by_request(change: Change) -> bool:
    """What agents do by themselves has no address."""
    return change.after is None and change.actor is not None and bool(change.actor.address)


def _may_be_newer(local: LocalState, key: ServiceId, removal: Change) -> bool:
    """Where only clocks can tell: one that was told to the catalog since it was asked for is older
    than a removal with a higher index."""
    kept_at = local.services[key].kept_at
    return bool(kept_at) and removal.stamp < kept_at + SKEW_MAX_S
