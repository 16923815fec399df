"""Maintenance checks have the ids, names and reasons that clients look for."""

from __future__ import annotations

from agent.local.maintenance import maintenance_check
from raftstore.records import Service, ServiceId, ServiceName
from tests.agent.local.parts import HOST

WEB = Service(node=HOST, id=ServiceId("w1"), name=ServiceName("web"), tags=("z",))
DEFAULT = (
    "Maintenance mode is enabled for this {}, but no reason was provided. "
    "This is a default message."
)


def test_the_node_has_one_check() -> None:
    record = maintenance_check(HOST, None, "work").record
    assert (record.id, record.name) == ("_node_maintenance", "Node Maintenance Mode")
    assert (record.status, record.type, record.notes) == ("critical", "maintenance", "work")
    assert maintenance_check(HOST, None, "").record.notes == DEFAULT.format("node")


def test_each_service_has_its_own() -> None:
    record = maintenance_check(HOST, WEB, "").record
    assert (record.id, record.name) == ("_service_maintenance:w1", "Service Maintenance Mode")
    assert (record.service_id, record.service_name) == ("w1", "web")
    assert record.notes == DEFAULT.format("service")
    assert (record.service_tags, record.interval, record.timeout) == (("z",), "", "")
