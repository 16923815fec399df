"""Big streams go on over a connection of their own: what applications see, good and bad."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.relay import PlainStream, Stream
from proxy.server import Proxy
from proxy.source import UpstreamSpec
from tests.proxy.mesh import QUICK, Mesh, endpoint, rule, until

EARLY = replace(QUICK.tunnel_limits, own_bytes=1 << 19, own_within_s=60.0, bulk_bytes=1 << 18)
BLOCK = os.urandom(1 << 20)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh(replace(QUICK, tunnel_limits=EARLY))
    async with made.stack:
        yield made
    await until(lambda: not own_threads(), "threads end with their proxies")


class Silent:
    """An owner whom nothing of a stream concerns."""

    def stream_opened(self, stream: Stream) -> None: ...
    def stream_secured(self, stream: Stream, der: bytes | None) -> None: ...
    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None: ...
    def stream_over(self, stream: Stream) -> None: ...
    def stream_lost(self, stream: Stream, reason: str) -> None: ...


def own_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("lictor bulk")]


def own(proxy: Proxy, side: str = "out") -> int:
    """How many streams of a proxy have their own connection."""
    return proxy.explain()["tunnels"][side]["own"]["open"]  # type: ignore[no-any-return]


def descriptors() -> int:
    """How many this process has, where that can be seen."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


async def one_moved(mesh: Mesh) -> None:
    """One stream of the two proxies has its own connection, or has it soon."""
    web, db = mesh.proxies["web"], mesh.proxies["db"]
    await until(lambda: (own(web), own(db, "in")) == (1, 1), "a stream has its own connection")


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)


async def write_blocks(writer: asyncio.StreamWriter, blocks: int) -> None:
    for _ in range(blocks):
        writer.write(BLOCK)
        await writer.drain()


async def digest_of(reader: asyncio.StreamReader, left: int = -1) -> bytes:
    found = hashlib.blake2b()
    while left and (data := await reader.read(1 << 20 if left < 0 else min(left, 1 << 20))):
        found.update(data)
        left -= len(data) if left > 0 else 0
    return found.digest()


def digest(blocks: int) -> bytes:
    found = hashlib.blake2b()
    for _ in range(blocks):
        found.update(BLOCK)
    return found.digest()


async def test_both_directions_arrive_whole_and_end_in_order(mesh: Mesh) -> None:
    blocks = 6
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    async with asyncio.timeout(30 + blocks):
        _, got = await asyncio.gather(write_blocks(writer, blocks), digest_of(reader, blocks << 20))
        assert got == digest(blocks)
        await one_moved(mesh)
        writer.write_eof()
        assert await reader.read() == b""
    writer.close()
    web, db = mesh.proxies["web"].stats(), mesh.proxies["db"].stats()
    await until(lambda: not web.outbound_active and not db.inbound_active, "both are over")
    assert (web.downstream_bytes, web.upstream_bytes) == (blocks << 20, blocks << 20)
    assert (db.downstream_bytes, db.upstream_bytes) == (blocks << 20, blocks << 20)
    assert (own(mesh.proxies["web"]), own(mesh.proxies["db"], "in")) == (0, 0)


async def test_one_direction_alone_and_a_client_that_has_ended_its_own(mesh: Mesh) -> None:
    sent = 4

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read()
        while not own_threads():
            await write_blocks(writer, 1)
            sent += 1
        await write_blocks(writer, 4)
        writer.write_eof()

    port = await mesh.pair(await mesh.app(app))
    reader, writer = await connect(port)
    writer.write_eof()
    async with asyncio.timeout(120):
        assert await digest_of(reader) == digest(sent)
    assert mesh.proxies["web"].explain()["tunnels"]["out"]["own"]["offers"]["taken"] == 1
    writer.close()


async def test_what_an_application_sends_last_arrives_after_the_other_has_ended(mesh: Mesh) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = await digest_of(reader)
        writer.write(got)
        writer.write_eof()

    port = await mesh.pair(await mesh.app(app))
    reader, writer = await connect(port)
    async with asyncio.timeout(120):
        await write_blocks(writer, 6)
        writer.write_eof()
        assert await reader.read() == digest(6)
    writer.close()


async def test_a_deny_cuts_it_at_once(mesh: Mesh) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await write_blocks(writer, 1)

    port = await mesh.pair(await mesh.app(app))
    reader, writer = await connect(port)
    async with asyncio.timeout(60):
        while not own(mesh.proxies["db"], "in"):
            await reader.read(1 << 20)
    began = time.monotonic()
    mesh.sources["db"].change(rules=(rule("web", "db", "deny"),))
    async with asyncio.timeout(30):
        try:
            while await reader.read(1 << 20):
                pass
        except ConnectionResetError:
            pass
    assert time.monotonic() - began < 5  # milliseconds; the machine may be busy
    writer.close()
    await until(lambda: not own_threads(), "threads end")


async def test_a_reader_that_stands_still_holds_its_writer_back(mesh: Mesh) -> None:
    gate = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(4):
            await reader.readexactly(1 << 20)
        await gate.wait()
        writer.write(await digest_of(reader))
        writer.write_eof()

    port = await mesh.pair(await mesh.app(app))
    reader, writer = await connect(port)
    sent = 0
    async with asyncio.timeout(60):
        while sent < 256:
            writer.write(BLOCK)
            sent += 1
            try:
                await asyncio.wait_for(writer.drain(), 0.25)
            except TimeoutError:
                break
        assert sent < 256, "nothing held the writer back"
        await one_moved(mesh)
        gate.set()
        writer.write_eof()
        assert await reader.read() == digest(sent - 4)
    writer.close()


async def test_threads_write_once_all_that_waits_is_written(mesh: Mesh) -> None:
    loop, size = asyncio.get_running_loop(), 32 << 20
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        half = PlainStream(Silent(), mesh.config)
        await loop.create_connection(lambda: half, *listener.getsockname())
        far, _ = await loop.sock_accept(listener)
    with far:
        far.setblocking(False)
        half.send(bytes(size))
        written: list[int] = []
        half.when_written(lambda: written.append(half.transport.get_write_buffer_size()))
        assert not written
        while size:
            size -= len(await loop.sock_recv(far, 1 << 20))
        await until(lambda: bool(written), "all is written")
        assert written == [0]
        half.abort()


async def test_a_peer_that_takes_none_keeps_all_in_the_tunnel(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, tunnel_limits=replace(EARLY, own_streams_max=0))
    db = await mesh.sidecar("db", app_port=await mesh.app())
    mesh.config = replace(QUICK, tunnel_limits=EARLY)
    spec = UpstreamSpec(name="db", bind_port=-1)
    web = await mesh.sidecar("web", upstreams=[spec], endpoints={spec.key: (endpoint(db),)})
    port = web.port(spec.key)
    reader, writer = await connect(port)
    async with asyncio.timeout(60):
        _, got = await asyncio.gather(write_blocks(writer, 8), digest_of(reader, 8 << 20))
    assert got == digest(8)
    assert web.explain()["tunnels"]["out"]["own"]["offers"]["taken"] == 0
    writer.close()


async def test_no_more_than_the_limit_and_the_others_go_on(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, tunnel_limits=replace(EARLY, own_streams_max=1))
    port = await mesh.pair(await mesh.app())
    pairs = [await connect(port) for _ in range(3)]

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        _, got = await asyncio.gather(write_blocks(writer, 3), digest_of(reader, 3 << 20))
        return got

    async with asyncio.timeout(120):
        assert await asyncio.gather(*(one(*each) for each in pairs)) == [digest(3)] * 3
    await one_moved(mesh)
    for _, writer in pairs:
        writer.close()


async def test_a_proxy_that_ends_takes_its_threads_and_sockets_along(mesh: Mesh) -> None:
    app = await mesh.app()
    before = descriptors()
    reader, writer = await connect(await mesh.pair(app))
    async with asyncio.timeout(60):
        while len(own_threads()) < 4:  # both directions of both proxies
            writer.write(BLOCK[: 1 << 16])
            assert await reader.readexactly(1 << 16) == BLOCK[: 1 << 16]
        await mesh.proxies["db"].close()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    await mesh.proxies["web"].close()
    await until(lambda: not own_threads(), "threads end")
    await until(lambda: descriptors() <= before, "all sockets are closed")
