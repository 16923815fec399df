"""Maintenance mode as checks: one of the node, one of each service (agent contract, section 5)."""

from __future__ import annotations

from agent.definitions import CheckDefinition
from agent.local.services import LocalCheck
from raftstore.records import CRITICAL, Check, CheckId, NodeName, Service, ServiceId

NODE_MAINTENANCE = CheckId("_node_maintenance")
TYPE = "maintenance"
_NO_REASON = (
    "Maintenance mode is enabled for this {}, but no reason was provided. "
    "This is a default message."
)


def service_maintenance(service_id: ServiceId) -> CheckId:
    """The id of the check that puts a service into maintenance."""
    return CheckId(f"_service_maintenance:{service_id}")


def maintenance_check(node: NodeName, service: Service | None, reason: str) -> LocalCheck:
    """The check that takes the node, or one service, out of use."""
    if service is None:
        record = Check(
            node=node,
            id=NODE_MAINTENANCE,
            name="Node Maintenance Mode",
            status=CRITICAL,
            notes=reason or _NO_REASON.format("node"),
            type=TYPE,
        )
    else:
        record = Check(
            node=node,
            id=service_maintenance(service.id),
            name="Service Maintenance Mode",
            status=CRITICAL,
            notes=reason or _NO_REASON.format("service"),
            service_id=service.id,
            service_name=service.name,
            service_tags=service.tags,
            type=TYPE,
        )
    definition = CheckDefinition(
        id=record.id, name=record.name, notes=record.notes, service_id=record.service_id
    )
    return LocalCheck(record=record, definition=definition)
