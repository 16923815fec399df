"""Prepared queries over DNS: order, the client's place, what is kept, and what fails how."""

from __future__ import annotations

from collections.abc import AsyncIterator

import dns.asyncquery
import dns.edns
import dns.message
import dns.rcode
import pytest

from agent.config.schema import AgentConfig
from agent.dns import DnsServer
from raftstore.definition_commands import UpdateCoordinates
from raftstore.definitions import Coordinate
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog


def at(name: str, distance_s: float) -> Coordinate:
    content = {"Vec": [distance_s] + [0.0] * 7, "Error": 0.1, "Adjustment": 0.0, "Height": 1e-5}
    return Coordinate(node=NodeName(name), content=content)


@pytest.fixture
async def catalog() -> Catalog:
    made = Catalog()
    for number in (1, 2, 3):
        node = Node(name=NodeName(f"n{number}"), address=f"10.0.0.{number}")
        service = Service(
            node=node.name, id=ServiceId("web"), name=ServiceName("web"), port=8000 + number
        )
        made.register(node, service)
    for name, address in (("here", "127.0.0.1"), ("there", "198.51.100.0")):
        made.register(Node(name=NodeName(name), address=address))
    places = {"n1": 0.1, "n2": 0.2, "n3": 0.3, "here": 0.0, "there": 0.31}
    made.apply(UpdateCoordinates(tuple(at(name, place) for name, place in places.items())))
    made.define_query({"Name": "plain", "Service": {"Service": "web"}})
    made.define_query({"Name": "near", "Service": {"Service": "web", "Near": "_ip"}})
    made.define_query({"Name": "mine", "Service": {"Service": "web", "Near": "_agent"}})
    return made


@pytest.fixture
async def server(catalog: Catalog) -> AsyncIterator[DnsServer]:
    running = DnsServer(AgentConfig(node_name="n3"), catalog)
    await running.listen((("127.0.0.1", 0),))
    yield running
    await running.stop()


async def ask(
    server: DnsServer, name: str, qtype: str = "SRV", subnet: str = ""
) -> dns.message.Message:
    host, port = server.addresses[0]
    options: list[dns.edns.Option] = []
    if subnet:
        address, _, length = subnet.partition("/")
        options = [dns.edns.ECSOption(address, int(length))]
    query = dns.message.make_query(name, qtype, use_edns=0, payload=4096, options=options)
    return await dns.asyncquery.udp(query, host, port=port, timeout=5, one_rr_per_rrset=True)


def ports(message: dns.message.Message) -> list[int]:
    return [rrset[0].port for rrset in message.answer]


def scope(message: dns.message.Message) -> int:
    (option,) = message.options
    assert isinstance(option, dns.edns.ECSOption)
    return option.scopelen


async def test_the_nearest_to_the_client_stand_first(server: DnsServer) -> None:
    for _ in range(3):
        assert ports(await ask(server, "near.query.consul.")) == [8001, 8002, 8003]
    far = await ask(server, "near.query.consul.", subnet="198.51.100.0/24")
    assert ports(far) == [8003, 8002, 8001]
    assert scope(far) == 24
    assert server.stats().resolver.ready_answers == 0, "no other client may get it"


async def test_the_agents_own_place_is_the_same_for_all(
    server: DnsServer, catalog: Catalog
) -> None:
    for _ in range(3):
        assert ports(await ask(server, "mine.query.consul.")) == [8003, 8002, 8001]
    assert server.stats().resolver.ready_hits == 2
    catalog.apply(UpdateCoordinates((at("n3", 0.0),)))
    assert ports(await ask(server, "mine.query.consul."))[1:] == [8001, 8002]


async def test_without_a_place_the_order_is_drawn(server: DnsServer) -> None:
    orders = {tuple(ports(await ask(server, "plain.query.consul."))) for _ in range(60)}
    assert len(orders) > 3


async def test_the_scope_is_the_subnet_only_where_an_answer_was_made_for_it(
    server: DnsServer,
) -> None:
    for name, qtype, length in (
        ("plain.query.consul.", "SRV", 24),
        ("plain.query.consul.", "AAAA", 24),
        ("never.query.consul.", "A", 0),
        ("web.service.consul.", "A", 0),
    ):
        message = await ask(server, name, qtype, subnet="192.0.2.0/24")
        assert scope(message) == length, (name, qtype)


async def test_a_query_that_is_changed_or_gone_is_not_remembered(
    server: DnsServer, catalog: Catalog
) -> None:
    assert (await ask(server, "late.query.consul.")).rcode() == dns.rcode.NXDOMAIN
    assert (await ask(server, "late.query.consul.")).rcode() == dns.rcode.NXDOMAIN
    catalog.define_query({"Name": "late", "Service": {"Service": "web"}, "DNS": {"TTL": "9s"}})
    found = await ask(server, "late.query.consul.")
    assert {rrset.ttl for rrset in found.answer} == {9}


async def test_a_template_by_its_id_is_a_failure_and_no_missing_name(
    server: DnsServer, catalog: Catalog
) -> None:
    query_id = catalog.define_query(
        {"Name": "t-", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "web"}}
    )
    assert len((await ask(server, "t-x.query.consul.")).answer) == 3
    assert (await ask(server, f"{query_id}.query.consul.")).rcode() == dns.rcode.SERVFAIL
