"""Which services a transparent proxy is told of: by decision, and in its feed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connect import implicit
from raftstore.commands import Register, SetIntention
from raftstore.definitions import VirtualAddress
from raftstore.entries.central import UPSTREAMS_MAX
from raftstore.records import (
    Intention,
    IntentionSource,
    Node,
    Service,
    ServiceId,
    ServiceName,
    Upstream,
)
from raftstore.virtual_commands import EnableVirtualAddresses
from tests.agent.connect.test_feeds import Mesh, sidecar

HELD = {"api": "240.0.0.1", "db": "240.0.0.2", "web": "240.0.0.3"}


def intention(destination: str, action: str, *permissions: dict[str, str]) -> Intention:
    source = IntentionSource(name="web", action=action, permissions=permissions)  # type: ignore[arg-type]
    return Intention(destination=destination, source=source)  # type: ignore[arg-type]


def reach(*intentions: Intention, default_allow: bool = False) -> tuple[str, ...]:
    return implicit.reachable("web", intentions, HELD, default_allow=default_allow)


def test_what_an_intention_could_allow() -> None:
    assert reach() == ()
    assert reach(default_allow=True) == ("api", "db")
    assert reach(intention("api", "allow")) == ("api",)
    assert reach(intention("api", "", {"Action": "allow"})) == ("api",)
    assert reach(intention("api", "deny"), intention("*", "allow")) == ("db",)
    assert reach(intention("API", "deny"), default_allow=True) == ("db",)


def test_only_addresses_in_use_count() -> None:
    held = [
        VirtualAddress(service=""),
        VirtualAddress(service="a", address="240.0.0.1"),
        VirtualAddress(service="b", address="240.0.0.2", freed_at=3.0),
    ]
    assert implicit.addresses(held) == {"a": "240.0.0.1"}


@given(st.lists(st.sampled_from(["api", "db", "x", "y"])), st.integers(0, 300))
def test_named_upstreams_stay_and_there_are_never_too_many(named: list[str], count: int) -> None:
    before = sidecar(*(Upstream(destination_name=name) for name in named))
    made = implicit.extended(before, [f"s{n}" for n in range(count)] + ["api"])
    names = [one.destination_name for one in made.proxy.upstreams]
    assert names[: len(named)] == named
    assert len(names) <= max(UPSTREAMS_MAX, len(named))
    assert names.count("api") == max(1 if count < 250 else names.count("api"), named.count("api"))


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    await made.start()
    yield made
    await made.feeds.close()
    await made.leaves.close()


async def test_a_transparent_proxy_is_told_of_services_it_does_not_name(mesh: Mesh) -> None:
    await mesh.backend.change(EnableVirtualAddresses())
    await mesh.instance("n1", "api")
    await mesh.instance("n2", "db")
    plain = sidecar()
    mesh.local.put(replace(plain, proxy=replace(plain.proxy, mode="transparent")))
    await mesh.write(
        Kind="service-defaults", Name="db", Protocol="http",
        TransparentProxy={"DialedDirectly": True},
    )  # fmt: skip
    held = await mesh.told(
        lambda held: (
            {"endpoints/api.default.dc1", "endpoints/db.default.dc1"} <= set(held)
            and held["upstream/db"].dialed_directly
        )
    )
    assert held["upstream/api"].virtual_ip.startswith("240.0.0.")
    assert held["upstream/api"].virtual_ip != held["upstream/db"].virtual_ip
    assert held["chain/db"]["Protocol"] == "http"
    source = IntentionSource(name="web", action="deny")
    await mesh.backend.change(SetIntention(destination="api", source=source))
    held = await mesh.told(lambda held: "upstream/api" not in held)
    assert "upstream/db" in held
    mesh.local.put(plain)
    held = await mesh.told(lambda held: "upstream/db" not in held)
    assert "chain/db" not in held


async def test_what_a_gateway_stands_for_is_reached_like_any_other(mesh: Mesh) -> None:
    await mesh.backend.change(EnableVirtualAddresses(linked=True))
    await mesh.write(
        Kind="service-defaults", Name="bank",
        Destination={"Addresses": ["10.1.0.1", "bank.example"], "Port": 443},
    )  # fmt: skip
    await mesh.write(Kind="terminating-gateway", Name="gate", Services=[{"Name": "bank"}])
    gate = Service(
        id=ServiceId("gate"), name=ServiceName("gate"), kind="terminating-gateway", port=8443
    )
    node = Node(name="edge", address="10.0.0.7", datacenter="dc1")
    await mesh.backend.change(Register(node=node, service=gate))
    plain = sidecar()
    mesh.local.put(replace(plain, proxy=replace(plain.proxy, mode="transparent")))
    held = await mesh.told(
        lambda held: held.get("endpoints/bank.default.dc1") and held["upstream/bank"].destinations
    )
    told = held["upstream/bank"]
    assert told.virtual_ip == "240.0.0.1"
    assert (told.destinations, told.destination_port) == (("10.1.0.1", "bank.example"), 443)
    assert [one.address for one in held["endpoints/bank.default.dc1"]] == ["10.0.0.7"]
