"""HTTP requests through a pair of sidecars, beside two plain byte relays (the floor).

Everything runs on one uvloop in one process, so the numbers are ratios, not capacities.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from proxy.balance.hosts import Host
from proxy.config import ProxyConfig
from proxy.l7.routes import read_chain
from proxy.source import UpstreamSpec
from tests.bench.load import http_rate, http_request
from tests.bench.relay_bench import plain_relay
from tests.proxy.mesh import Mesh, endpoint

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ntwelve bytes"
CHAIN = {
    "Protocol": "http",
    "StartNode": "resolver:db",
    "Nodes": {"resolver:db": {"Type": "resolver", "Resolver": {"Target": "db"}}},
    "Targets": {"db": {"Service": "db", "Datacenter": "dc1"}},
}


class _App(asyncio.Protocol):
    """Answers every head that it gets."""

    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def _measure(clients: int, seconds: float) -> tuple[float, float]:
    loop = asyncio.get_running_loop()
    app = await loop.create_server(_App, "127.0.0.1", 0)
    port = app.sockets[0].getsockname()[1]
    request = http_request("GET", "/", "db")

    async def rate(to: int) -> float:
        return (
            await http_rate(("127.0.0.1", to), lambda: request, clients=clients, seconds=seconds)
        ).per_second

    relays = []
    to = port
    for _ in range(2):
        relays.append(await plain_relay(to))
        to = relays[-1].sockets[0].getsockname()[1]
    floor = await rate(to)
    mesh, spec = Mesh(ProxyConfig()), UpstreamSpec(name="db", bind_port=-1)
    async with mesh.stack:
        db = await mesh.sidecar("db", app_port=port)
        mesh.sources["db"].change(protocol="http")
        web = await mesh.sidecar("web", upstreams=[spec], endpoints={spec.key: (endpoint(db),)})
        host = Host(("n1", "db"), "127.0.0.1", endpoint(db).port)
        mesh.sources["web"].change(chains={spec.key: read_chain(CHAIN)}, hosts={"db": (host,)})
        pair = await rate(web.port(spec.key))
    for server in (app, *relays):
        server.close()
    return floor, pair


def bench(*, clients: int, seconds: float) -> None:
    """Print both and their ratio."""
    floor, pair = uvloop.run(_measure(clients, seconds))
    print(f"\nHTTP requests/s, {clients} connections: two plain relays {floor:.0f}, ", end="")
    print(f"mTLS pair of sidecars that read requests {pair:.0f}, ratio {pair / floor:.2f}")
