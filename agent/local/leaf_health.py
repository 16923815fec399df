"""What a leaf certificate that has expired means for the health of its proxy (mesh contract A.5).

New connections of the proxy fail from then on, so a critical check of the proxy takes it out of use
and says why. The service itself stays healthy: who reaches it without the mesh still may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.definitions import CheckDefinition
from agent.local.services import LocalCheck
from raftstore.records import CRITICAL, Check, CheckId, NodeName, Service, ServiceId

_PREFIX = "connect:"
TYPE = "connect-leaf"


@dataclass(frozen=True, slots=True)
class LeafStanding:
    """When a held leaf ends (Unix seconds), and why it has not been renewed ("" for no reason)."""

    ends_at: float
    error: str = ""


def leaf_check_id(proxy_id: ServiceId) -> CheckId:
    """The id of the check that tells of a proxy's leaf."""
    return CheckId(f"{_PREFIX}{proxy_id}")


def leaf_check(node: NodeName, proxy: Service, reason: str) -> LocalCheck:
    """The check that takes a proxy out of use."""
    record = Check(
        node=node,
        id=leaf_check_id(proxy.id),
        name="Connect Leaf Certificate",
        status=CRITICAL,
        output=reason,
        service_id=proxy.id,
        service_name=proxy.name,
        service_tags=proxy.tags,
        type=TYPE,
    )
    definition = CheckDefinition(id=record.id, name=record.name, service_id=record.service_id)
    return LocalCheck(record=record, definition=definition)


def wanted(
    services: Iterable[Service], leaves: Mapping[str, LeafStanding], now: float
) -> dict[ServiceId, str]:
    """The proxies whose leaf has ended, and in which words."""
    found = {}
    for service in services:
        name = service.proxy.destination_service_name
        leaf = leaves.get(name) if name else None
        if leaf is not None and leaf.ends_at <= now:
            why = leaf.error or "it is being renewed"
            found[service.id] = f'The leaf certificate of service "{name}" has expired: {why}'
    return found


def told(checks: Iterable[Check]) -> frozenset[ServiceId]:
    """The proxies of which such a check stands."""
    return frozenset(check.service_id for check in checks if check.type == TYPE)
