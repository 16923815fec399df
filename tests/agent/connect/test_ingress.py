"""What a gateway's entry makes of its registration."""

from __future__ import annotations

from agent.connect import ingress
from agent.connect.upstreams import defaults_of
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
    told = {"ingress-gateway/door": ENTRY}
    upstreams = ingress.extended(service, told).proxy.upstreams
    assert [(each.destination_name, each.local_bind_port) for each in upstreams] == [
        ("a", 0),
        ("b", 0),
    ]
    assert ingress.told(service, told) == {"ingress-gateway": ENTRY}
    assert ingress.told(service, {}) == {} and ingress.resources(service) == ("ingress-gateway",)
    for central in (True, False):
        assert ("ingress-gateway", "door") in defaults_of(service, central=central)


def test_others_are_left_as_they_are() -> None:
    assert ingress.named(WEB) is WEB and ingress.named(None) is None
    assert ingress.told(WEB, {"ingress-gateway/web": ENTRY}) == {}
    assert ingress.resources(WEB) == () and ingress.entry_of(WEB) == ()
