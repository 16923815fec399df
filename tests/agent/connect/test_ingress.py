"""What a gateway's entry makes of its registration."""

from __future__ import annotations

from dataclasses import replace

from agent.connect import ingress
from agent.connect.upstreams import defaults_of
from raftstore.mesh_queries import GatewayService
from raftstore.records import Service, ServiceId, ServiceName

DOOR = Service(id=ServiceId("door-1"), name=ServiceName("door"), kind=ingress.KIND)
WEB = Service(id=ServiceId("web"), name=ServiceName("web"))
ENTRY = {
    "Listeners": [
        {"Port": 1, "Services": [{"Name": "a"}, {"Name": "b"}]},
        {"Port": 2, "Services": [{"Name": "a"}, {"Name": "*"}]},
    ]
}


def test_a_gateway_stands_for_itself_and_reaches_what_its_listeners_name() -> None:
    service = ingress.named(DOOR)
    assert service is not None and service.proxy.destination_service_name == "door"
    entry = {"Listeners": ENTRY["Listeners"][:1]}
    told = {"ingress-gateway/door": entry}
    upstreams = ingress.extended(service, told, None).proxy.upstreams
    assert [(each.destination_name, each.local_bind_port) for each in upstreams] == [
        ("a", 0),
        ("b", 0),
    ]
    assert ingress.told(service, told, None) == {"ingress-gateway": entry}
    assert ingress.told(service, {}, None) == {} and ingress.resources(service) == (
        "ingress-gateway",
    )
    for central in (True, False):
        assert ("ingress-gateway", "door") in defaults_of(service, central=central)


def test_a_listener_for_all_services_names_those_that_there_are() -> None:
    service = ingress.named(DOOR)
    assert service is not None
    told = {"ingress-gateway/door": ENTRY}
    assert ingress.told(service, told, None) == {}  # they are not known yet
    base = GatewayService(gateway="door", service="c", kind=ingress.KIND, port=2)
    linked = (replace(base, from_wildcard=True), replace(base, service="a"))
    found = ingress.told(service, told, linked)["ingress-gateway"]["Listeners"]
    assert [[each["Name"] for each in one["Services"]] for one in found] == [["a", "b"], ["a", "c"]]
    upstreams = ingress.extended(service, told, linked).proxy.upstreams
    assert [one.destination_name for one in upstreams] == ["a", "b", "c"]


def test_what_the_entry_bounds_holds_for_the_way_to_a_service() -> None:
    service = ingress.named(DOOR)
    assert service is not None
    check = {"MaxFailures": 3}
    services = [{"Name": "a", "MaxConnections": 5}, {"Name": "b", "PassiveHealthCheck": check}]
    entry = {
        "Defaults": {"MaxConnections": 9, "MaxPendingRequests": 7, "MaxConcurrentRequests": 0},
        "Listeners": [{"Port": 1, "Services": services}],
    }
    a, b = ingress.extended(service, {"ingress-gateway/door": entry}, ()).proxy.upstreams
    assert a.config == {"limits": {"max_connections": 5, "max_pending_requests": 7}}
    assert b.config is not None and b.config["passive_health_check"] == check
    assert b.config["limits"]["max_connections"] == 9


def test_others_are_left_as_they_are() -> None:
    assert ingress.named(WEB) is WEB and ingress.named(None) is None
    assert ingress.told(WEB, {"ingress-gateway/web": ENTRY}, ()) == {}
    assert ingress.resources(WEB) == () and ingress.entry_of(WEB) == ()
