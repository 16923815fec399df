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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.local.services import LocalCheck, LocalService, LocalState
from raftstore.queries import Change
from raftstore.records import Check, CheckId, NodeName, Service, ServiceId

#: Clocks of hosts may differ by so many seconds. A registration that was asked for before a
#: removal, but not longer before than this, may have come after it, and stays.
SKEW_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class Missing:
    """What the catalog has had, or may have had, and has no more: as it was registered here when
    that was seen."""

    services: Mapping[ServiceId, LocalService] = field(default_factory=dict)
    checks: Mapping[CheckId, LocalCheck] = field(default_factory=dict)

    def __or__(self, other: Missing) -> Missing:
        return Missing({**self.services, **other.services}, {**self.checks, **other.checks})

    def __bool__(self) -> bool:
        return bool(self.services or self.checks)


def missing(local: LocalState, services: Iterable[Service], checks: Iterable[Check]) -> Missing:
    """What was registered by requests and is not among what the catalog has."""
    known = {service.id for service in services}
    known_checks = {check.id for check in checks}
    return Missing(
        {
            key: service
            for key, service in local.services.items()
            if key not in known and service.source == "remote" and not service.sidecar
            if key not in local.unsynced_services or service.kept_at
        },
        {
            key: check
            for key, check in local.checks.items()
            if key not in known_checks and check.source == "remote"
            if key not in local.unsynced_checks or check.kept_at
            if not _new(local, check.record.service_id)
        },
    )


def still_unwanted(local: LocalState, revoked: Missing) -> Missing:
    """Without what was registered again since it was seen, be it unchanged: what the journal says
    is about the one before."""
    return Missing(
        {key: seen for key, seen in revoked.services.items() if local.services.get(key) is seen},
        {
            key: seen
            for key, seen in revoked.checks.items()
            # Results make another object of it, a registration another definition or date.
            if (check := local.checks.get(key)) is not None
            if check.definition is seen.definition and check.kept_at == seen.kept_at
        },
    )


def revoked_services(
    local: LocalState,
    missing: Mapping[ServiceId, LocalService],
    changes: Iterable[Change],
    of_node: Iterable[Change],
    node: NodeName,
) -> dict[ServiceId, LocalService]:
    """Those of ``missing`` that a request removed. ``changes`` are those of services, oldest first,
    ``of_node`` those of nodes."""
    last = _last(changes, node)
    with_node = {change.index for change in of_node if change.after is None}
    return {
        key: seen
        for key, seen in missing.items()
        if (change := last.get(key)) is not None
        if _by_request(change) and change.index not in with_node
        if change.index > local.told_index(key) and not _may_be_newer(seen, change)
    }


def revoked_checks(
    local: LocalState,
    missing: Mapping[CheckId, LocalCheck],
    changes: Iterable[Change],
    of_owners: Iterable[Change],
    node: NodeName,
) -> dict[CheckId, LocalCheck]:
    """Those of ``missing`` that a request removed by themselves, not with their service or node,
    whose changes ``of_owners`` are."""
    last = _last(changes, node)
    with_owner = {change.index for change in of_owners if change.after is None}
    return {
        key: seen
        for key, seen in missing.items()
        if (change := last.get(key)) is not None
        if _by_request(change) and change.index not in with_owner
        if change.index > local.told_index(key) and not _may_be_newer(seen, change)
    }


def _new(local: LocalState, service_id: ServiceId) -> bool:
    """Whether the catalog has never had the service as it is."""
    service = local.services.get(service_id)
    return service_id in local.unsynced_services and service is not None and not service.kept_at


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


def _may_be_newer(seen: LocalService | LocalCheck, removal: Change) -> bool:
    """Where only clocks can tell: one that was told to the catalog since it was asked for is older
    than a removal with a higher index."""
    return bool(seen.kept_at) and removal.stamp < seen.kept_at + SKEW_MAX_S
