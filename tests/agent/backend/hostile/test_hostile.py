"""Hostile peers on real TLS sockets against three servers that commit all the while.

Whatever they do: every write is acknowledged, the leader leads on in the same term, what is held
for them is bounded, and each refusal is counted under its reason and kept with who it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgpack
import pytest

from agent.backend.rpc import frames as rpc
from agent.backend.rpc.tls import Own, RpcTls
from agent.certificates import TlsConfig
from raftstore.commands import KVSet
from raftstore.raft.frames import (
    PROTOCOL_VERSION,
    Append,
    Hello,
    PreVoteRequest,
    Removed,
    SnapshotChunk,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    encode,
)
from raftstore.raft.greeting import encode_confirm
from raftstore.raft.log import payload_command
from tests.agent.backend.servers import Server, formed, leader_of, until
from tests.certificates import Issued, TestCA

FORGED = 10**6
_hosts = itertools.count()


class Fortress:
    """The servers, the load, and what the attackers dial with."""

    def __init__(self, folder: Path) -> None:
        self.ca = TestCA(folder)
        (folder / "other").mkdir()
        self.other_ca = TestCA(folder / "other", "other")
        self.nameless = self.ca.server("any")
        self.client = self.ca.client("client")
        self.servers = [
            Server(
                name,
                tls=self._tls(self.ca.server(name, name), name),
                handshake_timeout_s=1.0,
                frame_max=2 << 20,
                client_bytes_max=8 << 20,
            )
            for name in "abc"
        ]
        self.writes = 0
        self.slowest_s = 0.0

    def _tls(self, issued: Issued, node_id: str) -> RpcTls:
        own = Own(datacenter="dc1", domain="consul.", server=True, node_id=node_id)
        files = {"cert_file": str(issued.cert), "key_file": str(issued.key)}
        return RpcTls(TlsConfig(ca_file=str(self.ca.file), verify_incoming=True, **files), own)

    async def load(self) -> None:
        """Writes without end; one that fails ends the test."""
        backend = leader_of(self.servers).backend
        for number in itertools.count():
            began = time.monotonic()
            await backend.change(KVSet(key="k", value=b"%d" % number), timeout_s=5.0)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.writes += 1

    async def dial(
        self, server: Server, issued: Issued | None, *, host: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection over TLS, each from an address of its own."""
        context = ssl.create_default_context(cafile=str(self.ca.file))
        if issued is not None:
            context.load_cert_chain(issued.cert, issued.key)
        return await asyncio.open_connection(
            *server.port.address,
            ssl=context,
            server_hostname="server.dc1.consul",
            local_addr=(host or fresh_host(), 0),
        )

    async def send(self, server: Server, issued: Issued | None, *pieces: bytes) -> bytes:
        """Dial, send, and what comes back until the server closes."""
        try:
            reader, writer = await self.dial(server, issued)
        except OSError:  # the handshake was refused
            return b""
        try:
            for piece in pieces:
                writer.write(piece)
            return await asyncio.wait_for(reader.read(), 10)
        except OSError:
            return b""
        finally:
            await closed(writer)

    def refused(self, reason: str) -> int:
        """How often, by all servers, at the port and by Raft."""
        return sum(
            s.port.stats.refused.get(reason, 0) + s.store.status().dropped.get(reason, 0)  # type: ignore[attr-defined]
            for s in self.servers
        )

    async def refused_more(self, reason: str, before: int) -> None:
        """Wait until it has been refused once more for this reason."""
        await until(lambda: self.refused(reason) > before)
        assert self.refused(reason) == before + 1, reason

    async def written(self, number: int) -> None:
        """Wait for so many more writes."""
        before = self.writes
        await until(lambda: self.writes >= before + number)

    def hello(self, server: Server, node_id: str, **changes: object) -> bytes:
        fields: dict[str, object] = {
            "version": PROTOCOL_VERSION,
            "cluster_id": server.store.cluster_id,
            "node_id": node_id,
            "to_node_id": server.name,
            "boot_nonce": 1,
            "config_index": 2**62,
        }
        return b"R" + encode(Hello(**fields | changes))  # type: ignore[arg-type]


def fresh_host() -> str:
    number = next(_hosts)
    return f"127.77.{number // 250 % 250}.{1 + number % 250}"


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def forgeries() -> bytes:
    """Everything that could make a server vote, follow, campaign or forget."""
    entry = (payload_command(1.0, b"forged"), 2, FORGED)
    append = Append(term=FORGED, seq=1, prev_index=1, prev_term=0, commit=2, entries=(entry,))
    offer = SnapshotOffer(term=FORGED, index=99, index_term=9, size=9, sha256=bytes(32))
    return b"".join(
        encode(message)
        for message in (
            PreVoteRequest(term=FORGED, round=1, last_index=FORGED, last_term=FORGED),
            VoteRequest(term=FORGED, last_index=FORGED, last_term=FORGED, transfer=True),
            append,
            offer,
            SnapshotChunk(term=FORGED, transfer=offer.transfer, offset=0, data=b"x" * 9),
            VoteReply(FORGED, True),
            TimeoutNow(1),
            Removed(FORGED),
        )
    )


@pytest.fixture
async def fortress(tmp_path: Path) -> AsyncIterator[Fortress]:
    """It must stand as it stood, when the test is over."""
    fortress = Fortress(tmp_path)
    try:
        # "d" is a member that never was seen, and has been removed since.
        await formed(fortress.servers, ghosts=("d",))
        leader = leader_of(fortress.servers)
        await leader.store.operations.remove_server("d", timeout_s=10)
        await until(lambda: all(s.store.status().config_index > 1 for s in fortress.servers))
        await until(lambda: all(s.store.status().config_committed for s in fortress.servers))
        load = asyncio.get_running_loop().create_task(fortress.load())
        try:
            await fortress.written(3)
            term = leader.store.status().term
            yield fortress
            await fortress.written(3)
            assert not load.done()
            assert leader_of(fortress.servers) is leader
            for server in fortress.servers:
                # A link that was cut may have left a follower without a leader, but only shortly.
                await until(functools.partial(follows, server, leader))
                assert server.store.status().term == term
                assert not server.store.fatal.done()
                await until(functools.partial(holds_nothing, server))
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
    finally:
        for server in fortress.servers:
            await server.stop()


def follows(server: Server, leader: Server) -> bool:
    return server.store.status().leader_id == leader.name


def holds_nothing(server: Server) -> bool:
    return server.port.stats.bytes_held == 0


Attack = Callable[[Fortress, Server], Awaitable[object]]


def sends(issued: Callable[[Fortress], Issued | None], node_id: str, **changes: object) -> Attack:
    """A hello in a name, and all forgeries behind it."""
    return lambda f, s: f.send(s, issued(f), f.hello(s, node_id, **changes), forgeries())


ATTACKS: dict[str, Attack] = {
    "certificate of a client": sends(lambda f: f.client, "b"),
    "certificate of another node": sends(lambda f: f.ca.server("x", "x"), "b"),
    "certificate of another datacenter": sends(
        lambda f: f.ca.server("far", "b", datacenter="dc2"), "b"
    ),
    "certificate names no agent": sends(lambda f: f.ca.issue("n", dns=("localhost",)), "b"),
    "stranger": sends(lambda f: f.ca.server("x", "x"), "x"),
    "removed from the cluster": sends(lambda f: f.ca.server("d", "d"), "d"),
    "wrong cluster": sends(lambda f: f.nameless, "z", cluster_id="another"),
    "wrong protocol version": sends(lambda f: f.nameless, "z", version=99),
    "wrong node": sends(lambda f: f.nameless, "z", to_node_id="z"),
    "handshake unknown_ca": sends(lambda f: f.other_ca.server("o", "b"), "b"),
    "handshake no_cert": sends(lambda f: None, "b"),
    "handshake expired": sends(
        lambda f: f.ca.issue("old", dns=("server.dc1.consul",), days=(-9, -1)), "b"
    ),
    "malformed frame": lambda f, s: f.send(s, f.nameless, b"R" + forgeries()),
    "frame too large": lambda f, s: f.send(s, f.nameless, b"R" + struct.pack(">I", 2**31)),
    "unknown protocol": lambda f, s: f.send(s, f.nameless, b"?" + forgeries()),
    "bad frame": lambda f, s: f.send(s, f.client, b"L" + struct.pack(">I", 4097)),
}


async def test_nobody_comes_in_by_what_he_says_or_shows(fortress: Fortress) -> None:
    for reason, attack in ATTACKS.items():
        for server in fortress.servers:
            before = fortress.refused(reason)
            await attack(fortress, server)
            await fortress.refused_more(reason, before)
    leader = leader_of(fortress.servers)
    kept = {r.reason: r for r in leader.store.operations.refusals()}
    assert kept["certificate of a client"].certificate == "client.dc1.consul localhost"
    assert kept["certificate of another node"].claims == "b"
    assert kept["removed from the cluster"].address.startswith("127.77.")
    # Reasons are few, so that none is new to who watches the counters.
    for name in ("x", "d", "z"):
        assert not any(s.store._started._network.linked(name) for s in fortress.servers)  # type: ignore[attr-defined]


async def test_plain_and_recorded_streams_open_nothing(fortress: Fortress) -> None:
    for server in fortress.servers:
        reader, writer = await asyncio.open_connection(*server.port.address)
        writer.write(fortress.hello(server, "b") + forgeries())
        with contextlib.suppress(OSError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        await closed(writer)
    await until(lambda: fortress.refused("plain connection") == 3)
    # What another server once said, its own confirmation included, in a fresh connection.
    followers = [s for s in fortress.servers if s is not leader_of(fortress.servers)]
    for server, other in (followers, reversed(followers)):
        recorded = fortress.hello(server, other.name) + encode_confirm(2**61) + forgeries()
        await fortress.send(server, fortress.nameless, recorded)
    await until(lambda: fortress.refused("replayed hello") == 2)
    assert fortress.refused("replaced") == 0


async def test_floods_of_connections_leave_room_for_others(fortress: Fortress) -> None:
    leader = leader_of(fortress.servers)

    async def half_open(number: int) -> asyncio.StreamWriter:
        """No byte, or a handshake that never goes on."""
        local = (f"127.78.0.{1 + number % 2}", 0)
        _, writer = await asyncio.open_connection(*leader.port.address, local_addr=local)
        writer.write(b"\x16\x03\x01\x02\x00\x01"[: number % 7])
        return writer

    held = await asyncio.gather(*(half_open(number) for number in range(240)))
    await until(lambda: fortress.refused("connections per client") >= 40)
    assert leader.port._listener.waiting <= 200
    # One byte at a time for ever, and rubbish as fast as it goes.
    slow = asyncio.get_running_loop().create_task(drip(leader))

    async def rubbish() -> None:
        local = ("127.78.0.9", 0)
        reader, writer = await asyncio.open_connection(*leader.port.address, local_addr=local)
        writer.write(b"\x16\x03\x01\x00\x05rubbish")
        with contextlib.suppress(OSError):
            await asyncio.wait_for(reader.read(), 5)
        await closed(writer)

    while not fortress.refused("handshakes of one client"):
        await asyncio.gather(*(rubbish() for _ in range(40)))
    reader, writer = await let_in(fortress, leader)  # an honest one comes through
    writer.write(b"L" + rpc.encode(rpc.Hello(rpc.PROTOCOL_VERSION, "dc1", "c1")))
    assert len(await asyncio.wait_for(reader.readexactly(4), 5)) == 4
    await closed(writer)
    await until(lambda: fortress.refused("handshake timeout") > 0)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    for each in held:
        await closed(each)


async def let_in(
    fortress: Fortress, server: Server
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Dial until there is room: all handshakes together have a rate too."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                return await fortress.dial(server, fortress.client)
            await asyncio.sleep(0.05)


async def drip(server: Server) -> None:
    _, writer = await asyncio.open_connection(*server.port.address, local_addr=("127.78.1.1", 0))
    try:
        with contextlib.suppress(OSError):
            for byte in b"\x16\x03\x01\x02\x00" + bytes(500):
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.05)
    finally:
        await closed(writer)


async def greet(
    fortress: Fortress, server: Server, host: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await fortress.dial(server, fortress.client, host=host)
    writer.write(b"L" + rpc.encode(rpc.Hello(rpc.PROTOCOL_VERSION, "dc1", "c1")))
    (size,) = struct.unpack(">I", await asyncio.wait_for(reader.readexactly(4), 5))
    await reader.readexactly(size)
    return reader, writer


async def test_floods_of_frames_are_bounded(fortress: Fortress) -> None:
    leader, host = leader_of(fortress.servers), "127.79.0.1"
    most = leader.port.config.client_bytes_max
    open_ = [await greet(fortress, leader, host) for _ in range(10)]
    # Requests whose answers nobody reads, frames that never end, tiny ones without number.
    (_, unread), (_, tiny) = open_[:2]
    unread.transport.pause_reading()  # type: ignore[attr-defined]
    await leader.backend.change(KVSet(key="big", value=bytes(400_000)))
    ask = ask_for("big")
    for number in range(200):
        unread.write(rpc.encode(rpc.Request(number, "ask", 60.0, ask)))
    tiny.write(rpc.encode(rpc.Ping(0)) * 20_000)
    for _, writer in open_[2:]:
        writer.write(struct.pack(">I", 2 << 20) + bytes((2 << 20) - 1))
    peak = 0
    async with asyncio.timeout(20):
        while not fortress.refused("client holds too many bytes"):
            peak = max(peak, leader.port.stats.bytes_held)
            await asyncio.sleep(0.001)
    assert peak <= most + (1 << 20)
    for _, writer in open_:
        await closed(writer)
    # Rubbish after a good greeting ends one connection each.
    before = fortress.refused("bad frame")
    for data in (b"\xc1" * 64, struct.pack(">I", 1) + b"\x80", msgpack.packb([1, 2])):
        _, writer = await greet(fortress, leader, fresh_host())
        writer.write(struct.pack(">I", len(data)) + data)
        await fortress.refused_more("bad frame", before)
        before += 1
        await closed(writer)


def ask_for(key: str) -> bytes:
    from agent.backend import Ask, Consistency
    from agent.backend.rpc.calls import AskCall
    from raftstore.queries import KVGet

    return AskCall(KVGet(key), Ask(consistency=Consistency.STALE)).encode()


async def test_certificates_are_replaced_under_open_links_and_the_authority_in_two_steps(
    fortress: Fortress, tmp_path: Path
) -> None:
    links = [dict(s.store._started._network._links) for s in fortress.servers]  # type: ignore[attr-defined]
    new_ca = fortress.other_ca
    both = tmp_path / "both.pem"
    both.write_bytes(fortress.ca.file.read_bytes() + new_ca.file.read_bytes())

    def reload(file: Path, ca: TestCA, suffix: str) -> None:
        for server in fortress.servers:
            issued = ca.server(f"{server.name}-{suffix}", server.name)
            assert server.tls is not None
            server.tls.reload(
                TlsConfig(
                    ca_file=str(file),
                    cert_file=str(issued.cert),
                    key_file=str(issued.key),
                    verify_incoming=True,
                )
            )

    def cut_one() -> None:
        leader = leader_of(fortress.servers)
        network = leader.store._started._network  # type: ignore[attr-defined]
        peer = max(network._links)  # a greater id dials again
        network._links[peer].close("replaced")

    async def linked_anew() -> None:
        await until(
            lambda: all(len(s.store._started._network._links) == 2 for s in fortress.servers)  # type: ignore[attr-defined]
        )

    reload(both, fortress.ca, "1")  # 1: trust both
    reload(both, new_ca, "2")  # 2: show the new ones
    assert [dict(s.store._started._network._links) for s in fortress.servers] == links  # type: ignore[attr-defined]
    await fortress.written(3)
    cut_one()
    await linked_anew()
    reload(new_ca.file, new_ca, "3")  # and trust the old one no longer
    cut_one()
    await linked_anew()
    with pytest.raises(ssl.SSLError, match="verify failed"):  # we know the old authority only
        await fortress.dial(fortress.servers[0], fortress.client)
