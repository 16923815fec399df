"""How fast the mTLS pair relays, measured against a plain byte relay of the same loop (the floor).

Everything runs on one uvloop in one process: clients, an echo application, and between them either
nothing but a plain relay or our two sidecars. So the numbers are ratios, not capacities. Run as
``python -m tests.bench.relay_bench``.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import uvloop

from proxy.config import ProxyConfig
from proxy.source import UpstreamSpec
from tests.proxy.mesh import Mesh, endpoint

MESSAGE = b"twelve bytes"
CHUNK = b"x" * 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Requests a second of 12-byte messages, one stream's MB/s, new connections a second."""

    requests_s: float
    megabytes_s: float
    connections_s: float


class _Echo(asyncio.Protocol):
    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class _Sink(_Echo):
    """Counts bytes and answers with one byte at each full ``goal``."""

    goal = 0

    def __init__(self) -> None:
        self.got = 0

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        if self.got >= type(self).goal:
            self.transport.write(b"!")


class _Half(asyncio.Protocol):
    """One half of the plain relay."""

    transport: Any = None

    def __init__(self, port: int = 0, peer: _Half | None = None) -> None:
        self.port, self.peer, self.held = port, peer, []  # type: ignore[var-annotated]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.peer is None:
            self.peer = _Half(peer=self)
            loop = asyncio.get_running_loop()
            self.task = loop.create_task(
                loop.create_connection(lambda: self.peer, "127.0.0.1", self.port)
            )
        else:
            for data in self.peer.held:
                transport.write(data)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.peer.transport is None:  # type: ignore[union-attr]
            self.held.append(data)
        else:
            self.peer.transport.write(data)  # type: ignore[union-attr]

    def pause_writing(self) -> None:
        self.peer.transport.pause_reading()  # type: ignore[union-attr]

    def resume_writing(self) -> None:
        self.peer.transport.resume_reading()  # type: ignore[union-attr]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


class _Client(asyncio.Protocol):
    """Sends a message, waits for its echo, sends the next."""

    transport: Any

    def __init__(self) -> None:
        self.count = 0
        self.got = 0
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(MESSAGE)

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        if self.got >= len(MESSAGE):
            self.got -= len(MESSAGE)
            self.count += 1
            if not self.ready.done():
                self.ready.set_result(None)
            self.transport.write(MESSAGE)


async def _requests(port: int, clients: int, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    all_ = [(await loop.create_connection(_Client, "127.0.0.1", port))[1] for _ in range(clients)]
    await asyncio.gather(*(client.ready for client in all_))
    before, start = sum(client.count for client in all_), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(client.count for client in all_) - before) / (time.perf_counter() - start)
    for client in all_:
        client.transport.abort()
    return rate


async def _stream(port: int, megabytes: int, host: str = "127.0.0.1") -> float:
    _Sink.goal = megabytes * 1024 * 1024
    reader, writer = await asyncio.open_connection(host, port)
    start = time.perf_counter()
    for _ in range(_Sink.goal // len(CHUNK)):
        writer.write(CHUNK)
        await writer.drain()
    await reader.readexactly(1)
    rate = megabytes / (time.perf_counter() - start)
    writer.transport.abort()
    return rate


async def _connections(port: int, seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(MESSAGE)
        await reader.readexactly(len(MESSAGE))
        writer.transport.abort()
        count += 1
    return count / (time.perf_counter() - start)


async def _measure(echo: int, sink: int, clients: int, seconds: float, megabytes: int) -> Figures:
    return Figures(
        requests_s=await _requests(echo, clients, seconds),
        megabytes_s=await _stream(sink, megabytes),
        connections_s=await _connections(echo, seconds / 2),
    )


async def plain_relay(port: int) -> asyncio.Server:
    """A relay of bytes to a local port."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Half(port), "127.0.0.1", 0)


async def _floor(ports: list[int], hops: int, load: tuple[int, float, int]) -> Figures:
    """The same work through ``hops`` plain relays."""
    loop = asyncio.get_running_loop()
    servers = []
    for _ in range(hops):
        relays = [
            await loop.create_server(lambda port=port: _Half(port), "127.0.0.1", 0)
            for port in ports
        ]
        servers += relays
        ports = [relay.sockets[0].getsockname()[1] for relay in relays]
    figures = await _measure(ports[0], ports[1], *load)
    for server in servers:
        server.close()
    return figures


async def _both(clients: int, seconds: float, megabytes: int) -> tuple[Figures, Figures, Figures]:
    loop = asyncio.get_running_loop()
    echo = await loop.create_server(_Echo, "127.0.0.1", 0)
    sink = await loop.create_server(_Sink, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1] for server in (echo, sink)]
    load = (clients, seconds, megabytes)
    one_hop, two_hops = await _floor(ports, 1, load), await _floor(ports, 2, load)
    mesh = Mesh(ProxyConfig())
    async with mesh.stack:
        spec_echo = UpstreamSpec(name="echo", bind_port=-1, bind_address="127.0.0.1")
        spec_sink = UpstreamSpec(name="sink", bind_port=-1, bind_address="127.0.0.2")
        first = await mesh.sidecar("echo", app_port=ports[0])
        second = await mesh.sidecar("sink", app_port=ports[1])
        web = await mesh.sidecar(
            "web",
            upstreams=[spec_echo, spec_sink],
            endpoints={spec_echo.key: (endpoint(first),), spec_sink.key: (endpoint(second),)},
        )
        stream_port = web.port(spec_sink.key)
        pair = Figures(
            requests_s=await _requests(web.port(spec_echo.key), clients, seconds),
            megabytes_s=await _stream(stream_port, megabytes, spec_sink.bind_address),
            connections_s=await _connections(web.port(spec_echo.key), seconds / 2),
        )
    for server in (echo, sink):
        server.close()
    return one_hop, two_hops, pair


def run(
    *, clients: int = 64, seconds: float = 3.0, megabytes: int = 256
) -> tuple[Figures, Figures, Figures]:
    """Measure: (one plain relay, two plain relays, our mTLS pair).

    The pair is two hops, so two plain relays are what encryption and decisions are added to.
    """
    return uvloop.run(_both(clients, seconds, megabytes))


if __name__ == "__main__":
    one, two, pair = run()
    print(f"one plain relay  {one}\ntwo plain relays {two}\nmTLS pair        {pair}")
    print(f"ratio to one hop {pair.requests_s / one.requests_s:.2f}")
    print(f"ratio to two hops {pair.requests_s / two.requests_s:.2f}")
