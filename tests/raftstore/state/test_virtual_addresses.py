"""Virtual addresses: one each, never two for one, kept for a day after nobody needs them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.commands import Applied, Deregister, Register
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.definitions import ConfigEntry
from raftstore.dns_queries import GetVirtualAddress, ListVirtualAddresses, VirtualAddressAt
from raftstore.records import Node, NodeName, Proxy, Service, ServiceId, ServiceName
from raftstore.state import StateMachine
from raftstore.state.virtual_addresses import REST_S, nth_address
from raftstore.virtual_commands import EnableVirtualAddresses
from tests.strategies import scaled


class Cluster:
    """A state with a clock."""

    def __init__(self, *, on: bool = True, linked: bool = False) -> None:
        self.state = StateMachine()
        self.now = 1000.0
        if on:
            self.apply(EnableVirtualAddresses(linked=linked))

    def link(self, *names: str, gateway: str = "gate") -> None:
        content = {"Services": [{"Name": name} for name in names]}
        entry = ConfigEntry(kind="terminating-gateway", name=gateway, content=content)
        self.apply(SetConfigEntry(entry))

    def unlink(self, gateway: str = "gate") -> None:
        self.apply(DeleteConfigEntry("terminating-gateway", gateway))

    def apply(self, command: object) -> object:
        outcome = self.state.apply(self.state.index + 1, self.now, command)  # type: ignore[arg-type]
        assert isinstance(outcome, Applied), outcome
        self.state.check()
        return outcome.value

    def register(self, name: str, *, node: str = "n1", native: bool = True) -> None:
        service = Service(
            node=NodeName(node), id=ServiceId(name), name=ServiceName(name), connect_native=native
        )
        self.apply(Register(node=Node(name=NodeName(node), address="10.0.0.1"), service=service))

    def deregister(self, name: str, node: str = "n1") -> None:
        self.apply(Deregister(node=NodeName(node), service_id=ServiceId(name)))

    def address(self, name: str) -> str:
        held = self.state.answer(GetVirtualAddress(ServiceName(name))).value
        return "" if held is None or held.freed_at is not None else held.address


@pytest.mark.parametrize(
    ("number", "address"),
    [(1, "240.0.0.1"), (254, "240.0.0.254"), (255, "240.0.1.1"), (1_000_000, "240.15.97.2")],
)
def test_network_and_broadcast_addresses_are_left_out(number: int, address: str) -> None:
    assert nth_address(number) == address
    assert ipaddress.ip_address(address) in ipaddress.ip_network("240.0.0.0/4")


def test_services_of_the_mesh_get_one_and_others_none() -> None:
    cluster = Cluster()
    cluster.register("web")
    cluster.register("plain", native=False)
    proxy = Service(
        node=NodeName("n1"), id=ServiceId("api-proxy"), name=ServiceName("api-proxy"),
        kind="connect-proxy", proxy=Proxy(destination_service_name="Api"),
    )  # fmt: skip
    cluster.apply(Register(node=Node(name=NodeName("n1"), address="10.0.0.1"), service=proxy))
    assert cluster.address("web") == "240.0.0.1"
    assert cluster.address("API") == "240.0.0.2"
    assert cluster.address("plain") == cluster.address("api-proxy") == ""
    held = cluster.state.answer(VirtualAddressAt("240.0.0.2")).value
    assert held is not None
    assert held.service == "api"


def test_it_is_kept_as_long_as_anything_has_the_name() -> None:
    cluster = Cluster()
    cluster.register("web")
    cluster.register("web", node="n2", native=False)
    cluster.deregister("web")
    assert cluster.address("web") == "240.0.0.1"
    cluster.deregister("web", node="n2")
    assert cluster.address("web") == ""
    cluster.register("web")
    assert cluster.address("web") == "240.0.0.1", "it comes back to its own"


def test_nobody_else_gets_it_for_a_day() -> None:
    cluster = Cluster()
    cluster.register("web")
    cluster.deregister("web")
    cluster.now += REST_S - 1
    cluster.register("db")
    assert cluster.address("db") == "240.0.0.2"
    cluster.now += 1
    cluster.register("cache")
    assert cluster.address("cache") == "240.0.0.1"
    cluster.register("web")
    assert cluster.address("web") == "240.0.0.3"


def test_what_is_there_gets_one_when_it_is_switched_on() -> None:
    cluster = Cluster(on=False)
    cluster.register("web")
    assert cluster.address("web") == ""
    assert cluster.apply(EnableVirtualAddresses()) is True
    assert cluster.address("web") == "240.0.0.1"
    assert cluster.apply(EnableVirtualAddresses()) is False


def test_what_a_gateway_links_by_name_has_one_as_long_as_it_does() -> None:
    cluster = Cluster(linked=True)
    cluster.link("bank", "*")
    cluster.register("plain", native=False)
    assert cluster.address("bank") == "240.0.0.1" and cluster.address("plain") == ""
    cluster.link("bank", "mail", gateway="second")
    cluster.link("mail")
    assert (cluster.address("bank"), cluster.address("mail")) == ("240.0.0.1", "240.0.0.2")
    cluster.unlink("second")
    assert (cluster.address("bank"), cluster.address("mail")) == ("", "240.0.0.2")
    cluster.register("mail", native=False)
    cluster.unlink()
    assert cluster.address("mail") == "240.0.0.2"  # instances of it are there
    cluster.link("bank")
    assert cluster.address("bank") == "240.0.0.1", "it comes back to its own"
    copy = StateMachine()
    copy.restore(cluster.state.snapshot())
    copy.check()


def test_what_is_linked_gets_one_when_that_is_switched_on() -> None:
    cluster = Cluster()
    cluster.link("bank")
    assert cluster.address("bank") == ""  # as servers that know nothing of it have it
    assert cluster.apply(EnableVirtualAddresses(linked=True)) is True
    assert cluster.address("bank") == "240.0.0.1"
    assert cluster.apply(EnableVirtualAddresses(linked=True)) is False
    assert cluster.apply(EnableVirtualAddresses()) is False


@settings(max_examples=scaled(60), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(["n1", "n2"]),
            st.sampled_from(["native", "plain", "gone", "link", "unlink"]),
            st.sampled_from([0.0, 1.0, REST_S]),
        ),
        max_size=25,
    )
)
def test_servers_agree_and_no_two_share(steps: list[tuple[str, str, str, float]]) -> None:
    cluster = Cluster(linked=True)
    for name, node, what, pause in steps:
        cluster.now += pause
        if what == "gone":
            cluster.deregister(name, node)
        elif what == "link":
            cluster.link(name, gateway=node)
        elif what == "unlink":
            cluster.unlink(node)
        else:
            cluster.register(name, node=node, native=what == "native")
    copy = StateMachine()
    copy.restore(cluster.state.snapshot())
    copy.check()
    everything = ListVirtualAddresses()
    assert copy.answer(everything) == cluster.state.answer(everything)
