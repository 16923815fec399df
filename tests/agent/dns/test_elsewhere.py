"""Names in other datacenters: two states, one of them asked through the way between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from agent.backend import Ask
from agent.config.schema import AgentConfig
from agent.dns import DnsServer
from agent.errors import ForwardError
from agent.queries import NOWHERE, Datacenters, Elsewhere
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog


class West:
    """The only other datacenter."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.reachable = True
        self.asked: list[Any] = []

    async def ask(self, question: Elsewhere | Datacenters, options: Ask) -> Any:
        self.asked.append(question)
        if isinstance(question, Datacenters):
            return ["east", "west"]
        if question.datacenter != "west":
            return None if question.lenient else NOWHERE
        if not self.reachable:
            if question.lenient:
                return None
            raise ForwardError("nobody answers", definite=True)
        return (await self.catalog.ask(question.query, options)).value


def register(catalog: Catalog, name: str, address: str, service: str, port: int) -> None:
    node = Node(name=NodeName(name), address=address)
    catalog.register(
        node,
        Service(node=node.name, id=ServiceId(service), name=ServiceName(service), port=port),
    )


@pytest.fixture
def west() -> West:
    made = West()
    register(made.catalog, "far", "10.2.0.1", "web", 8002)
    register(made.catalog, "far", "10.2.0.1", "only-there", 8003)
    made.catalog.define_query({"Name": "theirs", "Service": {"Service": "web"}})
    return made


@pytest.fixture
def east() -> Catalog:
    made = Catalog()
    register(made, "near", "10.1.0.1", "web", 8001)
    for name, service, failover in (
        ("stays", "only-there", {}),
        ("listed", "only-there", {"Datacenters": ["north", "west"]}),
        ("nearest", "only-there", {"NearestN": 1}),
        ("targets", "only-there", {"Targets": [{"Peer": "p"}, {"Datacenter": "west"}]}),
        ("nobody", "nowhere", {"NearestN": 2}),
        ("here", "web", {"NearestN": 1}),
    ):
        made.define_query({"Name": name, "Service": {"Service": service, "Failover": failover}})
    return made


@pytest.fixture
async def server(east: Catalog, west: West) -> AsyncIterator[DnsServer]:
    config = AgentConfig(node_name="near", datacenter="east")
    running = DnsServer(config, east, elsewhere=west.ask)
    await running.listen((("127.0.0.1", 0),))
    yield running
    await running.stop()


async def ask(server: DnsServer, name: str, qtype: str = "A") -> dns.message.Message:
    host, port = server.addresses[0]
    query = dns.message.make_query(name, qtype, use_edns=0, payload=4096)
    return await dns.asyncquery.udp(query, host, port=port, timeout=20, one_rr_per_rrset=True)


def answers(message: dns.message.Message) -> list[str]:
    return [str(rrset[0]) for rrset in message.answer]


async def test_services_nodes_and_queries_of_another_datacenter(server: DnsServer) -> None:
    assert answers(await ask(server, "web.service.consul.")) == ["10.1.0.1"]
    assert answers(await ask(server, "web.service.west.consul.")) == ["10.2.0.1"]
    assert answers(await ask(server, "web.service.WEST.dc.consul.")) == ["10.2.0.1"]
    assert answers(await ask(server, "far.node.west.consul.")) == ["10.2.0.1"]
    assert answers(await ask(server, "theirs.query.west.consul.")) == ["10.2.0.1"]
    found = await ask(server, "web.service.west.consul.", "SRV")
    assert answers(found) == ["1 1 8002 far.node.west.consul."]
    assert [str(rrset.name) for rrset in found.additional[:1]] == ["far.node.west.consul."]


async def test_what_is_not_there_and_who_is_not_there(server: DnsServer, west: West) -> None:
    for name in ("none.service.west", "none.node.west", "none.query.west", "web.service.north"):
        assert (await ask(server, f"{name}.consul.")).rcode() == dns.rcode.NXDOMAIN
    west.reachable = False
    assert (await ask(server, "web.service.west.consul.")).rcode() == dns.rcode.SERVFAIL
    west.reachable = True
    assert answers(await ask(server, "web.service.west.consul.")) == ["10.2.0.1"]


async def test_answers_of_others_are_not_kept(server: DnsServer, west: West) -> None:
    await ask(server, "web.service.west.consul.")
    register(west.catalog, "far", "10.2.0.9", "web", 8002)
    assert answers(await ask(server, "web.service.west.consul.")) == ["10.2.0.9"]


async def test_a_query_looks_elsewhere_when_nothing_is_here(server: DnsServer, west: West) -> None:
    for name in ("listed", "nearest", "targets"):
        found = await ask(server, f"{name}.query.consul.", "SRV")
        assert answers(found) == ["1 1 8003 far.node.west.consul."], name
    assert not any(getattr(question, "datacenter", "") == "north" for question in west.asked)
    west.asked.clear()
    assert answers(await ask(server, "here.query.consul.")) == ["10.1.0.1"]
    assert (await ask(server, "stays.query.consul.")).rcode() == dns.rcode.NXDOMAIN
    assert west.asked == []
    assert (await ask(server, "nobody.query.consul.")).rcode() == dns.rcode.NXDOMAIN
    west.reachable = False
    assert (await ask(server, "listed.query.consul.")).rcode() == dns.rcode.NXDOMAIN


async def test_without_a_way_other_datacenters_do_not_exist(east: Catalog) -> None:
    alone = DnsServer(AgentConfig(node_name="near", datacenter="east"), east)
    await alone.listen((("127.0.0.1", 0),))
    try:
        for name in ("web.service.west.consul.", "listed.query.consul."):
            assert (await ask(alone, name)).rcode() == dns.rcode.NXDOMAIN
    finally:
        await alone.stop()
