"""The server port on real sockets: requests, bounds, hostile bytes, lost connections."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from agent.backend.rpc.client import RemoteFailure, RpcLimits, RpcPool
from agent.backend.rpc.frames import PROTOCOL_VERSION, Hello, Request, encode
from agent.backend.rpc.listener import REASONS
from agent.backend.rpc.server import ServerPort, ServerPortConfig
from agent.errors import ForwardError, NoClusterLeader, RequestError


class Peers:
    """Takes connections of Raft peers and remembers their bytes."""

    def __init__(self) -> None:
        self.received = b""

    def accept(self) -> asyncio.Protocol:
        """A protocol that only listens."""
        outer = self

        class Listener(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                outer.received += data

        return Listener()


async def handler(method: str, payload: bytes, timeout_s: float) -> bytes:
    if method == "echo":
        return payload
    if method == "stall":
        await asyncio.Event().wait()
    if method == "refuse":
        raise RequestError(400, "no such thing")
    if method == "leaderless":
        raise NoClusterLeader
    raise RuntimeError("bug")


def config(**changes: object) -> ServerPortConfig:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": 0,
        "datacenter": "dc1",
        "node": "s1",
        "frame_max": 1 << 20,
        "inflight_max": 8,
        "conns_per_client_max": 4,
        "handshake_timeout_s": 0.2,
    }
    return ServerPortConfig(**(values | changes))


@pytest.fixture
async def port() -> AsyncIterator[ServerPort]:
    server = ServerPort(config(), peers=Peers(), handler=handler)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def pool() -> AsyncIterator[RpcPool]:
    pool = RpcPool(datacenter="dc1", node="c1", limits=RpcLimits(connect_timeout_s=1.0))
    yield pool
    await pool.close()


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_many_requests_share_one_connection(port: ServerPort, pool: RpcPool) -> None:
    calls = [pool.call(port.address, "echo", str(i).encode(), timeout_s=5) for i in range(8)]
    assert await asyncio.gather(*calls) == [str(i).encode() for i in range(8)]
    assert port.stats.connections == 1


async def test_a_failure_says_whether_it_is_definite(port: ServerPort, pool: RpcPool) -> None:
    with pytest.raises(RemoteFailure) as refused:
        await pool.call(port.address, "refuse", b"", timeout_s=5)
    assert (refused.value.code, refused.value.definite) == ("status-400", True)
    with pytest.raises(RemoteFailure) as leaderless:
        await pool.call(port.address, "leaderless", b"", timeout_s=5)
    assert (leaderless.value.code, leaderless.value.definite) == ("NoClusterLeader", True)


async def test_a_bug_in_a_method_is_an_indefinite_failure(port: ServerPort, pool: RpcPool) -> None:
    with pytest.raises(RemoteFailure) as failure:
        await pool.call(port.address, "unknown", b"", timeout_s=5)
    assert not failure.value.definite
    assert await pool.call(port.address, "echo", b"still here", timeout_s=5) == b"still here"


async def test_a_late_answer_is_indefinite(port: ServerPort, pool: RpcPool) -> None:
    with pytest.raises(ForwardError) as late:
        await pool.call(port.address, "stall", b"", timeout_s=0.1)
    assert not late.value.definite


async def test_a_lost_connection_fails_what_was_sent_as_indefinite(
    port: ServerPort, pool: RpcPool
) -> None:
    call = asyncio.get_running_loop().create_task(
        pool.call(port.address, "stall", b"", timeout_s=10)
    )
    await until(lambda: port.stats.requests["stall"] == 1)
    await port.stop()
    with pytest.raises(ForwardError) as lost:
        await call
    assert not lost.value.definite


async def test_an_unreachable_server_is_a_definite_failure(pool: RpcPool) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()
    with pytest.raises(ForwardError) as refused:
        await pool.call(address, "echo", b"", timeout_s=5)
    assert refused.value.definite


async def test_another_datacenter_is_refused(port: ServerPort) -> None:
    pool = RpcPool(datacenter="dc2", node="c1", limits=RpcLimits())
    with pytest.raises(ForwardError, match="datacenter"):
        await pool.call(port.address, "echo", b"", timeout_s=5)
    await pool.close()


async def test_more_requests_than_allowed_at_once_are_refused_not_queued(
    port: ServerPort, pool: RpcPool
) -> None:
    loop = asyncio.get_running_loop()
    stalled = [
        loop.create_task(pool.call(port.address, "stall", b"", timeout_s=10)) for _ in range(8)
    ]
    await until(lambda: port.stats.requests["stall"] == 8)
    with pytest.raises(RemoteFailure) as busy:
        await pool.call(port.address, "echo", b"", timeout_s=5)
    assert (busy.value.code, busy.value.definite) == ("busy", True)
    for task in stalled:
        task.cancel()
    await asyncio.gather(*stalled, return_exceptions=True)


async def test_a_cancelled_call_frees_its_place_on_the_server(
    port: ServerPort, pool: RpcPool
) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(20):  # more than inflight_max
        call = loop.create_task(pool.call(port.address, "stall", b"", timeout_s=10))
        seen = port.stats.requests["stall"]
        await until(lambda seen=seen: port.stats.requests["stall"] > seen)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await until(lambda: len(port.owner) == 0)


async def test_raft_connections_are_handed_over_with_their_bytes(port: ServerPort) -> None:
    _, writer = await asyncio.open_connection(*port.address)
    writer.write(b"Rhello raft")
    assert isinstance(port.peers, Peers)
    peers = port.peers
    await until(lambda: peers.received == b"hello raft")
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 64,
        b"L" + struct.pack(">I", 1 << 30),
        b"L" + struct.pack(">I", 4) + b"\x93\x01\x02\x03",
        b"L" + encode(Request(1, "echo", 1.0, b"before hello")),
        b"L"
        + encode(Hello(PROTOCOL_VERSION, "dc1", "x"))
        + encode(Request(1, "stall", 9.0, b"")) * 2,
    ],
    ids=["http", "zeros", "huge", "not msgpack", "no greeting", "number used twice"],
)
async def test_hostile_bytes_cost_the_connection_only(
    port: ServerPort, pool: RpcPool, data: bytes
) -> None:
    reader, writer = await asyncio.open_connection(*port.address)
    writer.write(data)
    async with asyncio.timeout(5):
        try:
            await reader.read()
        except ConnectionResetError:
            pass
    writer.close()
    assert await pool.call(port.address, "echo", b"alive", timeout_s=5) == b"alive"


async def test_a_client_that_says_nothing_is_cut(port: ServerPort) -> None:
    reader, writer = await asyncio.open_connection(*port.address)
    async with asyncio.timeout(5):
        try:
            await reader.read()
        except ConnectionResetError:
            pass
    assert port.stats.refused["handshake timeout"] == 1
    writer.close()


async def test_one_client_gets_no_more_than_its_share_of_connections(port: ServerPort) -> None:
    writers = []
    for _ in range(4):
        _, writer = await asyncio.open_connection(*port.address)
        writer.write(b"L" + encode(Hello(PROTOCOL_VERSION, "dc1", "x")))
        writers.append(writer)
    await until(lambda: port.stats.connections == 4)
    reader, writer = await asyncio.open_connection(*port.address)
    async with asyncio.timeout(5):
        try:
            await reader.read()
        except ConnectionResetError:
            pass
    assert port.stats.refused["connections per client"] == 1
    for open_writer in [*writers, writer]:
        open_writer.close()
    await until(lambda: not port.per_client)


async def greeted(port: ServerPort) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*port.address)
    writer.write(b"L" + encode(Hello(PROTOCOL_VERSION, "dc1", "c1")))
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    await reader.readexactly(size)
    return reader, writer


async def test_a_stranger_may_not_make_us_hold_a_large_frame(port: ServerPort) -> None:
    _, writer = await asyncio.open_connection(*port.address)
    writer.write(b"L" + struct.pack(">I", 5000))
    await until(lambda: port.stats.refused["bad frame"] == 1)
    (kept,) = port.door.refusals.last()
    assert kept.address == "127.0.0.1" and "5000 bytes" in kept.detail
    writer.close()


async def test_a_connection_that_does_not_greet_is_cut_and_counted(port: ServerPort) -> None:
    _, writer = await asyncio.open_connection(*port.address)
    writer.write(b"L\0")
    await until(lambda: port.stats.refused["greeting timeout"] == 1)
    writer.close()


async def test_all_connections_of_a_client_share_what_they_may_hold() -> None:
    port = ServerPort(config(client_bytes_max=100_000), peers=Peers(), handler=handler)
    await port.start()
    half = struct.pack(">I", 90_000) + bytes(60_000)  # a frame that never ends
    open_ = [await greeted(port) for _ in range(2)]
    for _, writer in open_:
        writer.write(half)
    await until(lambda: port.stats.refused["client holds too many bytes"] == 1)
    await until(lambda: 60_000 <= port.stats.bytes_held < 70_000)
    for _, writer in open_:
        writer.close()
    await until(lambda: port.stats.bytes_held == 0)
    # Requests under way count, too.
    (_, writer) = await greeted(port)
    for number in (1, 2):
        writer.write(encode(Request(number, "stall", 5.0, bytes(60_000))))
    await until(lambda: port.stats.refused["client holds too many bytes"] == 2)
    await until(lambda: port.stats.bytes_held == 0)
    writer.close()
    await port.stop()


async def test_a_flood_of_tiny_frames_leaves_the_loop_to_others() -> None:
    port = ServerPort(config(inflight_max=4096), peers=Peers(), handler=handler)
    await port.start()
    _, writer = await greeted(port)
    writer.write(b"".join(encode(Request(n, "echo", 5.0, b"")) for n in range(3000)))
    seen, most = 0, 0
    async with asyncio.timeout(5):
        while seen < 3000:
            await asyncio.sleep(0)  # one turn of the loop
            now = port.stats.requests["echo"]
            seen, most = now, max(most, now - seen)
    assert 1 < most <= 64
    writer.close()
    await port.stop()


async def test_every_reason_is_there_before_it_happens(port: ServerPort) -> None:
    assert set(REASONS) == set(port.stats.refused) and not any(port.stats.refused.values())


@pytest.mark.parametrize("inner", [b"\x90" * 8, b"\x98" + b"\x90" * 8, b"\xcb01234567"])
async def test_a_frame_that_would_blow_up_is_refused(port: ServerPort, inner: bytes) -> None:
    _, writer = await greeted(port)
    bomb = b"\x98" + inner * 40_000
    writer.write(struct.pack(">I", len(bomb)) + bomb)
    await until(lambda: port.stats.refused["bad frame"] == 1)
    writer.close()


async def test_who_reads_slowly_is_not_read_from_and_gets_every_answer() -> None:
    port = ServerPort(
        config(inflight_max=4096, write_buffer_max=6 << 20), peers=Peers(), handler=handler
    )
    await port.start()
    reader, writer = await greeted(port)
    number, payload, got = 300, bytes(100_000), 0
    for at in range(number):
        writer.write(encode(Request(at, "echo", 30.0, payload)))
    await until(lambda: port.stats.bytes_held > 1 << 20)
    while got < number * len(payload):
        assert port.stats.bytes_held < 6 << 20
        got += len(await asyncio.wait_for(reader.read(1 << 20), 5))
    assert not any(port.stats.refused.values())
    writer.close()
    await port.stop()
