"""What terminating gateways' entries make of registrations, and of who dials the services."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.connect import terminating
from agent.connect.feed import Delta
from agent.errors import RequestError
from raftstore.commands import Register
from raftstore.definitions import ConfigEntry
from raftstore.mesh_queries import GatewayService
from raftstore.queries import HealthEntry
from raftstore.records import (
    Check,
    Node,
    Service,
    ServiceId,
    ServiceName,
    Upstream,
)
from tests.agent.connect.test_feeds import Mesh, mesh, sidecar

__all__ = ["mesh"]

GATE = Service(
    id=ServiceId("gate-1"), name=ServiceName("gate"), kind=terminating.KIND, port=8443,
    address="10.0.0.7",
)  # fmt: skip
LOCAL = {GATE.id: GATE, ServiceId("a;b"): Service(id=ServiceId("a;b"), name=ServiceName("ab"))}
LINKS = {"Services": [{"Name": "Bank", "CAFile": "/ca.pem", "SNI": "bank.example"}]}


def entry(name: str, *services: str) -> ConfigEntry:
    return ConfigEntry(
        kind=terminating.KIND, name=name, content={"Services": [{"Name": one} for one in services]}
    )


def instance(name: str, *, kind: str = "", status: str = "passing") -> HealthEntry:
    service = Service(
        id=ServiceId(name), name=ServiceName(name), port=443, address="bank.example", kind=kind
    )
    return HealthEntry(
        Node(name="outside", address="10.1.1.1", datacenter="dc1"),
        service,
        (Check(id="c", service_id=service.id, status=status),),
    )


def test_a_service_behind_a_gateway_is_a_proxy_of_its_own() -> None:
    gate = terminating.registration(LOCAL, "gate-1")
    assert gate is not None and gate.port == 8443 and not terminating.is_linked(gate)
    assert gate.proxy.destination_service_name == "gate"
    bank = terminating.registration(LOCAL, "gate-1;bank")
    assert bank is not None and bank.port == 0 and terminating.is_linked(bank)
    assert bank.proxy.destination_service_name == "bank" and bank.id == "gate-1;bank"
    assert terminating.resources(bank) == ("linked",)
    assert terminating.entry_of(bank) == ((terminating.KIND, "gate"),)
    assert terminating.entry_of(gate) == ()
    assert terminating.owner_of(LOCAL, "gate-1;bank") == "gate-1"


def test_nobody_else_has_such_proxies() -> None:
    plain = terminating.registration(LOCAL, "a;b")
    assert plain is not None and plain.name == "ab"  # an id may have such a sign
    assert terminating.registration(LOCAL, "a;b;c") is None
    assert terminating.registration(LOCAL, "gate-1;") is None
    assert terminating.registration({}, "gate-1") is None
    assert terminating.resources(plain) == () and terminating.told(plain, {}, None, None) == {}


def test_it_is_told_where_the_service_is_once_all_is_known() -> None:
    bank = terminating.registration(LOCAL, "gate-1;bank")
    assert bank is not None
    known: dict[str, Any] = {f"{terminating.KIND}/gate": LINKS, "service-defaults/bank": {}}
    assert terminating.told(bank, known, None, None) == {}
    places = (instance("bank"), instance("bank", kind="connect-proxy"),
              instance("bank", status="critical"))  # fmt: skip
    (found,) = terminating.told(bank, known, None, places).values()
    assert found["Addresses"] == [{"Address": "bank.example", "Port": 443, "Weight": 1}]
    assert (found["CAFile"], found["SNI"], found["HostRewrite"]) == (
        "/ca.pem", "bank.example", True,
    )  # fmt: skip
    known["service-defaults/bank"] = {"Destination": {"Addresses": ["a", "b"], "Port": 9}}
    (found,) = terminating.told(bank, known, None, places).values()
    assert [one["Address"] for one in found["Addresses"]] == ["a", "b"]
    known[f"{terminating.KIND}/gate"] = {"Services": [{"Name": "other"}]}
    (found,) = terminating.told(bank, known, None, places).values()
    assert found["Addresses"] == [] and found["CAFile"] == ""
    known[f"{terminating.KIND}/gate"] = {
        "Services": [{"Name": "*", "DisableAutoHostRewrite": True}]
    }
    (found,) = terminating.told(bank, known, None, places).values()
    assert found["HostRewrite"] is False and len(found["Addresses"]) == 2


def test_the_gateway_is_told_for_whom_it_stands() -> None:
    gate = terminating.registration(LOCAL, "gate-1")
    assert gate is not None and terminating.told(gate, {}, None, None, resolvers=()) == {}
    linked = tuple(
        GatewayService(gateway="gate", service=name, kind=terminating.KIND) for name in ("b", "a")
    )
    assert terminating.told(gate, {}, linked, None) == {}  # their subsets are not known yet
    subsets = ConfigEntry(
        kind=terminating.RESOLVERS, name="B", content={"Subsets": {"v2": {}, "v1": {}}}
    )
    other = ConfigEntry(kind=terminating.RESOLVERS, name="c", content={"Subsets": {"v1": {}}})
    assert terminating.told(gate, {}, linked, None, resolvers=(subsets, other)) == {
        terminating.KIND: {"Services": ["b", "a"], "Subsets": {"b": ["v1", "v2"]}}
    }
    assert terminating.lists(gate) == (terminating.RESOLVERS,)


def test_a_subset_is_a_proxy_of_its_own_with_its_instances() -> None:
    one = terminating.registration(LOCAL, "gate-1;bank;v1")
    assert one is not None and one.proxy.destination_service_name == "bank"
    assert terminating.owner_of(LOCAL, one.id) == "gate-1" and terminating.lists(one) == ()
    assert (terminating.RESOLVERS, "bank") in terminating.entry_of(one)
    known: dict[str, Any] = {f"{terminating.KIND}/gate": LINKS, "service-defaults/bank": {}}
    places = (instance("a"), instance("b"), instance("c", status="warning"))
    assert terminating.told(one, known, None, places) == {}  # the resolver is not known yet

    def matching(text: str, found: tuple[HealthEntry, ...]) -> tuple[HealthEntry, ...]:
        return tuple(each for each in found if not text or each.service.id in text)

    def ports(subsets: dict[str, Any]) -> list[Any]:
        known["service-resolver/bank"] = {"Subsets": subsets}
        (found,) = terminating.told(one, known, None, places, matching=matching).values()
        assert found["Subset"] == "v1"
        return [each["Weight"] for each in found["Addresses"]]

    assert ports({"v1": {"Filter": "a b"}}) == [1, 1]
    assert ports({"v1": {"OnlyPassing": True}, "v2": {"Filter": "a"}}) == [1, 1]
    assert ports({"v2": {}}) == []  # a subset that is gone has nobody
    known["service-defaults/bank"] = {"Destination": {"Addresses": ["x"], "Port": 1}}
    assert ports({"v1": {"Filter": "a"}}) == [1]  # the catalog's, also beside addresses


def test_whom_a_member_dials() -> None:
    gateways = (entry("gate", "bank"), entry("wide", "*"), entry("else", "mail"))
    assert terminating.dialled(gateways, ["BANK"]) == ("gate", "wide")
    target = {"Service": "bank"}
    here = {name: (instance(name, kind=terminating.KIND),) for name in ("gate", "wide")}

    def standing(**more: Any) -> list[str] | None:
        found = terminating.standing_for(target, gateways, here, in_mesh=False, **more)
        return None if found is None else [one.id for one in found]

    assert standing() == ["gate", "wide"]
    target = {"Service": "bank", "ServiceSubset": "v1"}
    assert standing() == ["gate", "wide"]  # they hear in the handshake which subset it is
    target = {"Service": "bank"}
    assert len(terminating.standing_for(target, gateways, here, in_mesh=True) or ()) == 1
    del here["wide"]
    assert standing() is None  # not known yet: not the same as nobody
    here["wide"] = (instance("wide"),)  # another service of that name
    assert standing() == ["gate"]


async def test_members_and_the_gateway_are_told_as_things_change(mesh: Mesh) -> None:
    mesh.local.put(sidecar(Upstream(destination_name="bank", local_bind_port=9000)))
    held = await mesh.told(lambda held: "endpoints/bank.default.dc1" in held)
    assert held["endpoints/bank.default.dc1"] == ()
    await mesh.write(Kind=terminating.KIND, Name="gate", Services=[{"Name": "bank"}])
    node = Node(name="edge", address="10.0.0.7", datacenter="dc1")
    await mesh.backend.change(Register(node=node, service=GATE))
    held = await mesh.told(lambda held: held.get("endpoints/bank.default.dc1"))
    (there,) = held["endpoints/bank.default.dc1"]
    assert (there.address, there.port) == ("10.0.0.7", 8443)

    mesh.local.put(GATE)
    found = await _told(mesh, "gate-1")
    assert found[terminating.KIND] == {"Services": ["bank"], "Subsets": {}}
    outside = Node(name="outside", address="10.1.1.1", datacenter="dc1")
    service = Service(id=ServiceId("bank"), name=ServiceName("bank"), port=443)
    await mesh.backend.change(Register(node=outside, service=service))
    found = await _told(mesh, "gate-1;bank")
    assert found["linked"]["Addresses"] == [{"Address": "10.1.1.1", "Port": 443, "Weight": 1}]
    assert found["leaf"].service == "bank"
    fits = f'Service.Meta.version == "{2}"'
    await mesh.write(Kind="service-resolver", Name="bank", Subsets={"v2": {"Filter": fits}})
    second = replace(service, id=ServiceId("bank2"), port=444, meta={"version": "2"})
    await mesh.backend.change(Register(node=outside, service=second))
    found = await _told(mesh, "gate-1;bank;v2")
    assert found["linked"]["Addresses"] == [{"Address": "10.1.1.1", "Port": 444, "Weight": 1}]
    assert (await _told(mesh, "gate-1"))[terminating.KIND]["Subsets"] == {"bank": ["v2"]}
    with pytest.raises(RequestError, match="unknown proxy"):
        await mesh.feeds.next("web-proxy;bank", "", 0.0)


async def _told(mesh: Mesh, proxy_id: str) -> dict[str, Any]:
    version, held = "", {}  # type: ignore[var-annotated]
    for _ in range(100):
        found: Delta = await mesh.feeds.next(proxy_id, version, 0.3)
        held |= dict(found.resources)
        version = found.version
        if found.complete:
            return held
    raise AssertionError(f"not told: {sorted(held)}")
