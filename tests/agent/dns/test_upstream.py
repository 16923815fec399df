"""Recursors on real sockets: order, failures, forged replies, chains, outsiders, loops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from agent.config.bounds import Limits
from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import DnsServer
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog
from tests.e2e.cluster import fresh_address

Zone = dict[str, list[str]]


class Recursor(asyncio.DatagramProtocol):
    """Answers from a zone; ``mangle`` gives the packets that are sent instead of the reply."""

    def __init__(self, zone: Zone, mangle: Callable[[dns.message.Message], list[bytes]]) -> None:
        self.zone = zone
        self.mangle = mangle
        self.asked: list[str] = []
        self.ports: set[int] = set()
        self.ids: set[int] = set()
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text().lower()
        self.asked.append(name)
        self.ports.add(addr[1])
        self.ids.add(query.id)
        reply = dns.message.make_response(query, recursion_available=True)
        for line in self.zone.get(name, []):
            owner, ttl, rclass, rtype, value = line.split(" ", 4)
            reply.answer.append(dns.rrset.from_text(owner, int(ttl), rclass, rtype, value))
        for packet in self.mangle(reply):
            self.transport.sendto(packet, addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def recursor(
    zone: Zone | None = None, mangle: Callable[[dns.message.Message], list[bytes]] | None = None
) -> AsyncIterator[Recursor]:
    made = Recursor(zone or {}, mangle or (lambda reply: [reply.to_wire()]))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: made, local_addr=(fresh_address(), 0)
    )
    try:
        yield made
    finally:
        transport.close()


@asynccontextmanager
async def agent(
    *recursors: str, catalog: Catalog | None = None, limits: Limits | None = None, **dns: object
) -> AsyncIterator[DnsServer]:
    config = AgentConfig(
        node_name="n",
        dns=DnsConfig(recursors=recursors, **{"recursor_timeout_s": 0.3} | dns),  # type: ignore[arg-type]
        limits=limits or Limits(),
    )
    server = DnsServer(config, catalog or Catalog())
    await server.listen((("127.0.0.1", 0),))
    try:
        yield server
    finally:
        await server.stop()


async def ask(
    server: DnsServer, name: str, qtype: str = "A", **edns: object
) -> dns.message.Message:
    host, port = server.addresses[0]
    query = dns.message.make_query(name, qtype, **edns)  # type: ignore[arg-type]
    return await dns.asyncquery.udp(query, host, port=port, timeout=10, one_rr_per_rrset=True)


def texts(message: dns.message.Message) -> list[str]:
    return [rrset.to_text() for rrset in message.answer]


A = "www.out.example. 60 IN A 192.0.2.1"


async def test_the_next_is_asked_when_one_is_silent_refuses_or_talks_nonsense() -> None:
    def refuse(reply: dns.message.Message) -> list[bytes]:
        reply.set_rcode(dns.rcode.REFUSED)
        return [reply.to_wire()]

    async with (
        recursor(mangle=lambda reply: []) as silent,
        recursor(mangle=refuse) as refusing,
        recursor(mangle=lambda reply: [reply.to_wire()[:15]]) as broken,
        recursor({"www.out.example.": [A]}) as good,
        agent(*(r.address for r in (silent, refusing, broken, good))) as server,
    ):
        message = await ask(server, "www.out.example.")
        assert texts(message) == [A]
        assert not message.flags & dns.flags.AA
        assert [len(r.asked) for r in (silent, refusing, broken, good)] == [1, 1, 1, 1]
        stats = server.stats().resolver.upstream
        assert (stats.asked, stats.answered, stats.failed_tries, stats.waiting) == (1, 1, 3, 0)


async def test_a_random_order_uses_all_of_them() -> None:
    zone = {"www.out.example.": [A]}
    async with (
        recursor(zone) as first,
        recursor(zone) as second,
        agent(first.address, second.address, recursor_strategy="random") as server,
    ):
        for _ in range(64):
            await ask(server, "www.out.example.")
        assert min(len(first.asked), len(second.asked)) > 8
        for used in (first, second):
            assert len(used.ids) > 0.9 * len(used.asked)
            assert len(used.ports) > 0.9 * len(used.asked)


async def test_forged_replies_are_passed_over() -> None:
    def forge(reply: dns.message.Message) -> list[bytes]:
        good = reply.to_wire()
        reply.answer[:] = [dns.rrset.from_text("www.out.example.", 60, "IN", "A", "203.0.113.66")]
        evil = reply.to_wire()
        guessed = bytes((evil[0] ^ 1,)) + evil[1:]
        other = evil[:13] + b"vvv" + evil[16:]
        return [guessed, other, good]

    async with (
        recursor({"www.out.example.": [A]}, forge) as forger,
        agent(forger.address) as server,
    ):
        assert texts(await ask(server, "www.out.example.")) == [A]
        assert server.stats().resolver.upstream.ignored == 2


def at_host(host: str) -> Catalog:
    catalog = Catalog()
    node = Node(name=NodeName("n1"), address="10.0.0.1")
    service = Service(
        node=node.name, id=ServiceId("ext"), name=ServiceName("ext"), address=host, port=80
    )
    catalog.register(node, service)
    catalog.register(Node(name=NodeName("n2"), address=host))
    return catalog


LONG: Zone = {
    "www.out.example.": [
        "www.out.example. 300 IN CNAME mid.out.example.",
        'mid.out.example. 200 IN TXT "no"',
        *(f"mid.out.example. 100 IN A 192.0.2.{n}" for n in range(1, 9)),
    ]
}


async def test_a_service_at_a_host_name_comes_with_the_chain_behind_it() -> None:
    async with (
        recursor(LONG) as upstream,
        agent(
            upstream.address, catalog=at_host("www.out.example"), service_ttl_s={"*": 7.0},
            udp_answer_limit=8, node_ttl_s=9.0,
        ) as server,
    ):  # fmt: skip
        plain = await ask(server, "ext.service.consul.")
        assert texts(plain)[:2] == [
            "ext.service.consul. 7 IN CNAME www.out.example.",
            "www.out.example. 7 IN CNAME mid.out.example.",
        ]
        assert len(plain.answer) == 6, "five records behind the first"
        wide = await ask(server, "ext.service.consul.", use_edns=0, payload=4096)
        assert len(wide.answer) == 10
        assert {rrset.ttl for rrset in wide.answer} == {7}
        srv = await ask(server, "ext.service.consul.", "SRV", use_edns=0, payload=4096)
        assert len(srv.additional) == 9
        node = await ask(server, "n2.node.consul.", use_edns=0, payload=4096)
        assert len(node.answer) == 11
        assert node.answer[0].ttl == 9
        assert {rrset.ttl for rrset in node.answer[1:]} == {100, 200, 300}
        assert server.stats().resolver.ready_answers == 0, "nobody tells when they change"


async def test_a_chain_that_leads_nowhere_is_the_alias_alone() -> None:
    catalog = at_host("www.out.example")
    async with (
        recursor(mangle=lambda reply: []) as silent,
        agent(silent.address, catalog=catalog, recursor_timeout_s=0.05) as server,
    ):
        message = await ask(server, "ext.service.consul.")
        assert texts(message) == ["ext.service.consul. 0 IN CNAME www.out.example."]
        assert message.rcode() == dns.rcode.NOERROR


async def test_outsiders_are_refused_and_still_get_our_own_names() -> None:
    async with (
        recursor({"www.out.example.": [A]}) as upstream,
        agent(
            upstream.address, catalog=at_host("10.9.9.9"),
            recursion_allowed_cidrs=("192.0.2.0/24",),
        ) as server,
    ):  # fmt: skip
        refused = await ask(server, "www.out.example.")
        assert refused.rcode() == dns.rcode.REFUSED
        assert not refused.flags & dns.flags.RA
        assert upstream.asked == []
        assert len((await ask(server, "ext.service.consul.")).answer) == 1
        assert server.stats().resolver.upstream.outsiders == 1


async def test_questions_beyond_the_bound_fail_at_once() -> None:
    async with (
        recursor({"www.out.example.": [A]}) as upstream,
        agent(upstream.address, limits=Limits(dns_recursions_max=0)) as server,
    ):
        assert (await ask(server, "www.out.example.")).rcode() == dns.rcode.SERVFAIL
        assert server.stats().resolver.upstream.over_limit == 1


class Back(asyncio.DatagramProtocol):
    """A forwarder that sends all questions back to the agent."""

    def __init__(self) -> None:
        self.agent: tuple[str, int] = ("", 0)
        self.clients: dict[bytes, tuple[str, int]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr == self.agent:
            client = self.clients.get(data[:2])
            if client is not None:
                self.transport.sendto(data, client)  # type: ignore[attr-defined]
        else:
            self.clients[data[:2]] = addr
            self.transport.sendto(data, self.agent)  # type: ignore[attr-defined]


async def test_a_recursor_that_asks_us_is_found_out() -> None:
    back = Back()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: back, local_addr=(fresh_address(), 0)
    )
    host, port = transport.get_extra_info("sockname")
    async with agent(f"{host}:{port}") as server:
        back.agent = server.addresses[0]
        for _ in range(3):
            message = await ask(server, "www.out.example.")
            assert message.rcode() == dns.rcode.SERVFAIL
        stats = server.stats().resolver.upstream
        assert stats.loops == 1
        assert stats.asked < 200, "the circle has an end"
        before = stats.asked
        await ask(server, "www.out.example.")
        assert stats.asked == before + 1
    transport.close()


async def test_recursion_comes_and_goes_with_a_reload() -> None:
    async with recursor({"www.out.example.": [A]}) as upstream, agent() as server:
        assert (await ask(server, "www.out.example.")).rcode() == dns.rcode.REFUSED
        server.reload(AgentConfig(node_name="n", dns=DnsConfig(recursors=(upstream.address,))))
        assert texts(await ask(server, "www.out.example.")) == [A]
        server.reload(AgentConfig(node_name="n", dns=DnsConfig()))
        assert (await ask(server, "www.out.example.")).rcode() == dns.rcode.REFUSED
        assert server.stats().resolver.upstream.answered == 1


async def test_tcp_questions_go_over_tcp() -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        query = dns.message.from_wire(await reader.readexactly(length))
        asked.append(query.to_wire())
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text("www.out.example.", 60, "IN", "A", "192.0.2.1"))
        wire = reply.to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, family=socket.AF_INET)
    port = listener.sockets[0].getsockname()[1]
    async with agent(f"127.0.0.1:{port}") as server:
        host, own_port = server.addresses[0]
        query = dns.message.make_query("www.out.example.", "A")
        message = await dns.asyncquery.tcp(query, host, port=own_port, timeout=10)
        assert len(message.answer) == 1
        assert len(asked) == 1
    listener.close()
    await listener.wait_closed()
