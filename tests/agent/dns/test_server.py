"""The DNS face on real sockets: both transports, ready answers, bounds, failing backends."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Callable

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from agent.backend.cache import AnswerCache
from agent.config.bounds import Limits
from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import DnsServer
from agent.dns.answers import ADDRESS_RECORD_BYTES
from agent.dns.outline import UDP_ROUNDS
from raftstore.queries import HealthService
from raftstore.records import (
    CRITICAL,
    PASSING,
    WARNING,
    Check,
    CheckId,
    Node,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
)
from raftstore.virtual_commands import EnableVirtualAddresses
from tests.agent.dns.catalog import Catalog

NOW = 1_700_000_000


def instance(catalog: Catalog, number: int, status: str = PASSING, name: str = "web") -> None:
    node = Node(name=NodeName(f"node-{number}"), address=f"10.0.0.{number}")
    service = Service(
        node=node.name, id=ServiceId(name), name=ServiceName(name), port=8000 + number
    )
    check = Check(
        node=node.name, id=CheckId(f"c-{name}"), status=status, service_id=ServiceId(name)
    )
    catalog.register(node, service, (check,))


async def serve(
    catalog: Catalog, *, limits: Limits | None = None, dns_config: DnsConfig | None = None
) -> DnsServer:
    config = AgentConfig(node_name="n", dns=dns_config or DnsConfig(), limits=limits or Limits())
    server = DnsServer(config, catalog, rng=random.Random(1), clock=lambda: float(NOW))
    await server.listen((("127.0.0.1", 0),))
    return server


@pytest.fixture
async def catalog() -> Catalog:
    made = Catalog()
    for number in (1, 2, 3):
        instance(made, number)
    return made


@pytest.fixture
async def server(catalog: Catalog) -> AsyncIterator[DnsServer]:
    running = await serve(catalog)
    yield running
    await running.stop()


async def ask(
    server: DnsServer, name: str, qtype: str = "A", *, tcp: bool = False
) -> dns.message.Message:
    host, port = server.addresses[0]
    query = dns.message.make_query(name, qtype)
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, host, timeout=5, port=port, one_rr_per_rrset=True)


def addresses(message: dns.message.Message) -> set[str]:
    return {rdata.to_text() for rrset in message.answer for rdata in rrset}


@pytest.mark.parametrize("tcp", [False, True])
async def test_healthy_instances_are_answered_on_both_transports(
    server: DnsServer, catalog: Catalog, tcp: bool
) -> None:
    instance(catalog, 2, WARNING)
    instance(catalog, 3, CRITICAL)
    message = await ask(server, "web.service.consul.", tcp=tcp)
    assert addresses(message) == {"10.0.0.1", "10.0.0.2"}
    message = await ask(server, "web.service.consul.", "SRV", tcp=tcp)
    assert addresses(message) == {
        "1 1 8001 node-1.node.dc1.consul.",
        "1 1 8002 node-2.node.dc1.consul.",
    }
    assert {rrset.name.to_text() for rrset in message.additional} == {
        "node-1.node.dc1.consul.",
        "node-2.node.dc1.consul.",
    }


async def test_a_change_is_visible_to_the_next_question(
    server: DnsServer, catalog: Catalog
) -> None:
    for _ in range(20):
        await ask(server, "web.service.consul.")
    assert server.stats().resolver.ready_hits >= 19
    instance(catalog, 1, CRITICAL)
    assert addresses(await ask(server, "web.service.consul.")) == {"10.0.0.2", "10.0.0.3"}
    catalog.deregister("node-2")
    assert addresses(await ask(server, "web.service.consul.")) == {"10.0.0.3"}
    catalog.deregister("node-3")
    message = await ask(server, "web.service.consul.")
    assert message.rcode() == dns.rcode.NXDOMAIN
    instance(catalog, 1)
    assert addresses(await ask(server, "web.service.consul.")) == {"10.0.0.1"}


async def test_ready_answers_follow_what_the_catalog_says(
    server: DnsServer, catalog: Catalog
) -> None:
    """Random changes and questions: an answer never tells of an earlier catalog."""
    rng = random.Random(3)
    for _ in range(60):
        if rng.random() < 0.4:
            instance(catalog, rng.randint(1, 3), rng.choice([PASSING, CRITICAL]))
        alive = {
            entry.node.address
            for entry in catalog.state.answer(HealthService(service=ServiceName("web"))).value
            if all(check.status == PASSING for check in entry.checks)
        }
        assert addresses(await ask(server, "web.service.consul.")) == alive


async def test_watches_are_given_up_at_the_end(catalog: Catalog) -> None:
    server = await serve(catalog)
    await ask(server, "web.service.consul.")
    assert len(catalog.watches) == 1
    await server.stop()
    assert len(catalog.watches) == 0


async def test_a_flood_of_made_up_names_stays_within_the_bound(catalog: Catalog) -> None:
    server = await serve(catalog, limits=Limits(dns_ready_answers_max=16))
    await ask(server, "web.service.consul.")
    for number in range(50):
        message = await ask(server, f"no-{number}.service.consul.")
        assert message.rcode() == dns.rcode.NXDOMAIN
    assert server.stats().resolver.ready_answers <= 16 + 2
    hits = server.stats().resolver.ready_hits
    await ask(server, "web.service.consul.")
    assert server.stats().resolver.ready_hits == hits + 1
    assert len(catalog.watches) <= 16 + 2
    await server.stop()


async def test_an_agent_without_data_asks_a_server_each_time() -> None:
    catalog = Catalog(remote=True)
    instance(catalog, 1)
    server = await serve(catalog)
    for tcp in (False, True, False):
        assert addresses(await ask(server, "web.service.consul.", tcp=tcp)) == {"10.0.0.1"}
    assert len(catalog.asked) == 3
    assert server.stats().resolver.ready_hits == 0
    await server.stop()


async def test_a_backend_that_fails_is_a_server_failure() -> None:
    catalog = Catalog(remote=True)
    catalog.down = True
    server = await serve(catalog)
    for tcp in (False, True):
        message = await ask(server, "web.service.consul.", tcp=tcp)
        assert message.rcode() == dns.rcode.SERVFAIL
    assert server.stats().resolver.failures == 2
    await server.stop()


async def test_answers_must_not_be_stale_when_the_configuration_says_so(
    catalog: Catalog,
) -> None:
    server = await serve(catalog, dns_config=DnsConfig(allow_stale=False))
    await ask(server, "web.service.consul.")
    await ask(server, "web.service.consul.")
    assert len(catalog.asked) == 2
    await server.stop()


async def test_the_soa_serial_is_the_time(server: DnsServer) -> None:
    message = await ask(server, "consul.", "SOA")
    assert f" {NOW} " in message.answer[0].to_text()
    message = await ask(server, "none.service.consul.")
    assert f" {NOW} " in message.authority[0].to_text()


async def test_several_questions_share_a_tcp_connection(server: DnsServer) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    packets = [dns.message.make_query(f"node-{n}.node.consul.", "A").to_wire() for n in (1, 2, 3)]
    stream = b"".join(struct.pack("!H", len(packet)) + packet for packet in packets)
    for byte in stream[:40]:  # dribbled, cut anywhere
        writer.write(bytes((byte,)))
        await writer.drain()
    writer.write(stream[40:])
    for packet in packets:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        reply = dns.message.from_wire(await reader.readexactly(length))
        assert reply.id == int.from_bytes(packet[:2], "big")
        assert len(reply.answer) == 1
    writer.close()


async def test_an_idle_or_dripping_tcp_connection_is_closed(catalog: Catalog) -> None:
    server = await serve(catalog, limits=Limits(dns_tcp_idle_s=0.1))
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(b"\0\x40abc")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    writer.close()
    while server.stats().tcp_connections:
        await asyncio.sleep(0)
    assert server.stats().tcp_truncated == 1
    await server.stop()


async def test_tcp_connections_beyond_the_bound_are_refused(catalog: Catalog) -> None:
    server = await serve(catalog, limits=Limits(dns_tcp_connections_max=1))
    _, first = await asyncio.open_connection(*server.addresses[0])
    first.write(b"\0")
    await first.drain()
    while server.stats().tcp_connections < 1:
        await asyncio.sleep(0)
    reader, second = await asyncio.open_connection(*server.addresses[0])
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    assert server.stats().tcp_refused == 1
    first.close()
    second.close()
    await server.stop()


async def test_packets_without_a_reply_are_counted(server: DnsServer) -> None:
    host, port = server.addresses[0]
    question = dns.message.make_query("node-1.node.consul.", "A")
    reply = question.to_wire()[:2] + b"\x80" + question.to_wire()[3:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for data in (b"x", b"\xff" * 40, reply):
            sender.sendto(data, (host, port))
    await dns.asyncquery.udp(question, host, port=port, timeout=5)  # all before it were read
    assert server.stats().resolver.dropped == 3


async def test_a_bad_packet_on_tcp_leaves_the_connection_open(server: DnsServer) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    bad = b"\0\1\1\0\0\2" + b"\0" * 6
    good = dns.message.make_query("node-1.node.consul.", "A").to_wire()
    writer.write(struct.pack("!H", len(bad)) + bad + struct.pack("!H", len(good)) + good)
    await reader.readexactly(2)
    assert (await reader.readexactly(12))[3] & 0xF == dns.rcode.FORMERR
    (length,) = struct.unpack("!H", await reader.readexactly(2))
    assert dns.message.from_wire(await reader.readexactly(length)).answer
    writer.close()


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_dig_understands_the_answers(server: DnsServer, transport: str) -> None:
    host, port = server.addresses[0]
    process = await asyncio.create_subprocess_exec(
        "dig", f"@{host}", "-p", str(port), transport, "+short", "web.service.consul", "SRV",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert {line.split()[2] for line in out.decode().splitlines()} == {"8001", "8002", "8003"}


async def test_a_range_of_ours_has_no_names_but_ours(catalog: Catalog) -> None:
    server = await serve(catalog, dns_config=DnsConfig(owned_ranges=("10.0.0.0/16",)))
    found = await ask(server, "1.0.0.10.in-addr.arpa.", "PTR")
    assert addresses(found) == {"node-1.node.dc1.consul."}
    for name, rcode in (
        ("9.9.0.10.in-addr.arpa.", dns.rcode.NXDOMAIN),
        ("0.10.in-addr.arpa.", dns.rcode.NOERROR),
    ):
        message = await ask(server, name, "PTR")
        assert message.rcode() == rcode
        assert message.flags & dns.flags.AA
        (soa,) = message.authority
        assert soa.name.to_text() == "0.10.in-addr.arpa."
        assert soa[0].mname.to_text() == "ns.consul."
    outside = await ask(server, "9.9.1.10.in-addr.arpa.", "PTR")
    assert outside.rcode() == dns.rcode.SERVFAIL
    await server.stop()


async def test_a_reverse_name_follows_who_lives_there(catalog: Catalog) -> None:
    server = await serve(catalog)
    node = Node(name=NodeName("zz"), address="10.7.7.7")
    service = Service(
        node=node.name, id=ServiceId("db"), name=ServiceName("Db"), address="10.5.5.5", port=1
    )
    for _ in range(2):
        message = await ask(server, "5.5.5.10.in-addr.arpa.", "PTR")
        assert message.rcode() == dns.rcode.SERVFAIL
    catalog.register(node, service)
    message = await ask(server, "5.5.5.10.in-addr.arpa.", "PTR")
    assert addresses(message) == {"Db.service.dc1.consul."}
    catalog.register(Node(name=NodeName("nn"), address="10.5.5.5"))
    message = await ask(server, "5.5.5.10.in-addr.arpa.", "PTR")
    assert addresses(message) == {"nn.node.dc1.consul."}
    await server.stop()


async def test_an_agent_without_data_answers_from_memory_while_servers_are_away() -> None:
    catalog = Catalog(remote=True)
    instance(catalog, 1)
    server = await serve(catalog)
    assert addresses(await ask(server, "web.service.consul.")) == {"10.0.0.1"}
    catalog.down = True
    assert addresses(await ask(server, "web.service.consul.")) == {"10.0.0.1"}
    assert (await ask(server, "db.service.consul.")).rcode() == dns.rcode.SERVFAIL
    assert server.stats().resolver.remembered == 1
    catalog.down = False
    instance(catalog, 2)
    async with asyncio.timeout(20):
        while addresses(await ask(server, "web.service.consul.")) != {"10.0.0.1", "10.0.0.2"}:
            await asyncio.sleep(0.05)
    await server.stop()


async def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    catalog = Catalog(remote=True)
    instance(catalog, 1)
    server = await serve(catalog)
    await ask(server, "web.service.consul.")
    catalog.hanging = True
    assert addresses(await ask(server, "web.service.consul.")) == {"10.0.0.1"}
    await server.stop()


@pytest.mark.parametrize(
    ("dns_config", "rcode"),
    [
        (DnsConfig(allow_stale=False), dns.rcode.SERVFAIL),
        (DnsConfig(max_stale_s=0.0), dns.rcode.SERVFAIL),
        (DnsConfig(max_stale_s=60.0), dns.rcode.NOERROR),
    ],
)
async def test_memory_is_no_older_than_may_be(dns_config: DnsConfig, rcode: int) -> None:
    catalog = Catalog(remote=True)
    instance(catalog, 1)
    server = await serve(catalog, dns_config=dns_config)
    await ask(server, "web.service.consul.")
    catalog.down = True
    assert (await ask(server, "web.service.consul.")).rcode() == rcode
    await server.stop()


async def test_a_cached_answer_saves_the_question_while_it_is_young() -> None:
    catalog = Catalog(remote=True)
    instance(catalog, 1)
    config = DnsConfig(use_cache=True, cache_max_age_s=30.0)
    server = await serve(catalog, dns_config=config)
    for _ in range(3):
        assert addresses(await ask(server, "web.service.consul.")) == {"10.0.0.1"}
    assert len(catalog.asked) == 1
    await server.stop()


async def test_too_many_alike_replies_come_back_over_tcp(catalog: Catalog) -> None:
    config = DnsConfig(
        response_rate_limit=2, response_rate_slip=1, response_rate_exempt_cidrs=("192.0.2.0/24",)
    )
    server = await serve(catalog, dns_config=config)
    replies = [await ask(server, "web.service.consul.") for _ in range(4)]
    assert [len(reply.answer) for reply in replies] == [3, 3, 0, 0]
    assert [bool(reply.flags & dns.flags.TC) for reply in replies] == [False, False, True, True]
    assert len((await ask(server, "web.service.consul.", tcp=True)).answer) == 3
    assert server.stats().rate_limited == 2
    await server.stop()


async def test_a_service_of_the_mesh_has_one_address_both_ways(catalog: Catalog) -> None:
    catalog.apply(EnableVirtualAddresses())
    node = Node(name=NodeName("node-1"), address="10.0.0.1")
    native = Service(
        node=node.name, id=ServiceId("m"), name=ServiceName("Mesh"), connect_native=True
    )
    catalog.register(node, native)
    server = await serve(catalog, dns_config=DnsConfig(node_ttl_s=9.0))
    for name in ("mesh.virtual.consul.", "x.Mesh.virtual.dc1.consul."):
        message = await ask(server, name)
        assert addresses(message) == {"240.0.0.1"}
        assert message.answer[0].ttl == 9
    for qtype in ("AAAA", "SRV"):
        message = await ask(server, "mesh.virtual.consul.", qtype)
        assert message.rcode() == dns.rcode.NOERROR
        assert message.authority and not message.answer
    assert (await ask(server, "web.virtual.consul.")).rcode() == dns.rcode.NXDOMAIN
    message = await ask(server, "1.0.0.240.in-addr.arpa.", "PTR")
    assert addresses(message) == {"mesh.virtual.dc1.consul."}
    catalog.deregister("node-1", "m")
    assert (await ask(server, "mesh.virtual.consul.")).rcode() == dns.rcode.NXDOMAIN
    message = await ask(server, "1.0.0.240.in-addr.arpa.", "PTR")
    assert message.rcode() == dns.rcode.SERVFAIL
    await server.stop()


async def test_instances_that_were_found_are_kept_up_to_date(catalog: Catalog) -> None:
    catalog.remote = True
    cache = AnswerCache(
        catalog, answers_max=9, away_s=lambda: 0.0, rng=random.Random(1), fetch_rate=100.0
    )
    config = AgentConfig(node_name="n", dns=DnsConfig(use_cache=True))
    server = DnsServer(config, catalog, kept=cache)
    await server.listen((("127.0.0.1", 0),))
    for _ in range(4):
        assert addresses(await ask(server, "web.service.consul.")) == {
            f"10.0.0.{n}" for n in (1, 2, 3)
        }
        await ask(server, "made-up.service.consul.")
    assert server.stats().resolver.cached == 2, "asked for, then kept, then twice from there"
    assert cache.stats().answers_current == 1, "what is not there is not kept"
    catalog.deregister("node-1", "web")
    async with asyncio.timeout(30):
        while len(addresses(await ask(server, "web.service.consul."))) != 2:
            await asyncio.sleep(0.01)
    catalog.down = True
    assert len(addresses(await ask(server, "web.service.consul."))) == 2
    await server.stop()
    await cache.close()


class Rights:
    """What may be seen, set by hand; with ``tells`` whoever watches is told."""

    def __init__(self, *, tells: bool) -> None:
        self.number = 1
        self.tells = tells
        self.watching: list[Callable[[], None]] = []
        self.asked = 0

    def generation(self) -> int:
        self.asked += 1
        return self.number

    def watch_rights(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        if not self.tells:
            return None
        self.watching.append(changed)
        return lambda: self.watching.remove(changed) if changed in self.watching else None

    def on_token(self, changed: Callable[[], None]) -> None:
        pass

    def change(self) -> None:
        self.number += 1
        watching, self.watching = self.watching, []
        for changed in watching:
            changed()


@pytest.mark.parametrize("tells", [True, False], ids=["told", "looked at"])
async def test_nothing_that_was_answered_counts_when_rights_change(
    catalog: Catalog, tells: bool
) -> None:
    rights = Rights(tells=tells)
    server = DnsServer(AgentConfig(node_name="n"), catalog, rights=rights)
    await server.listen((("127.0.0.1", 0),))
    for _ in range(3):
        await ask(server, "web.service.consul.")
    assert server.stats().resolver.ready_hits == 2
    assert rights.asked == (1 if tells else 3), "what is watched is not looked at each time"
    rights.change()
    await ask(server, "web.service.consul.")
    assert server.stats().resolver.ready_hits == 2
    await ask(server, "web.service.consul.")
    assert server.stats().resolver.ready_hits == 3
    rights.tells = False
    rights.change()
    assert not server.hot
    for _ in range(3):
        await ask(server, "web.service.consul.")
    assert server.stats().resolver.ready_hits == 5
    assert not server.hot and len(rights.watching) == 0
    await server.stop()


async def test_of_a_huge_service_every_instance_has_its_turn_though_nothing_moves() -> None:
    """A reply is made from a part of it, and that part must not stay the same."""
    payload = 8192
    huge = UDP_ROUNDS * payload // ADDRESS_RECORD_BYTES + 200
    catalog = Catalog()
    for number in range(huge):
        node = Node(name=NodeName(f"n{number}"), address=f"10.{number // 250}.{number % 250}.1")
        service = Service(node=node.name, id=ServiceId("h"), name=ServiceName("huge"))
        catalog.register(node, service)
    server = await serve(catalog)
    seen: set[str] = set()
    host, port = server.addresses[0]
    query = dns.message.make_query("huge.service.consul.", "A", use_edns=0, payload=payload)
    async with asyncio.timeout(50):
        while len(seen) < huge:
            message = await dns.asyncquery.udp(query, host, port=port, timeout=10)
            seen |= addresses(message)
            await asyncio.sleep(0.005)
    assert len(catalog.watches) <= 1, "all parts are watched as one, each for a moment"
    await server.stop()
    assert len(catalog.watches) == 0
