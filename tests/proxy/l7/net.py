"""web with sidecars of several instances of db behind it, all in one loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.balance.hosts import Host
from proxy.l7.request_state import UpstreamState
from proxy.l7.routes import read_chain
from proxy.l7.settings import UpstreamSettings
from proxy.server import Proxy
from proxy.source import OwnService, UpstreamSpec
from tests.proxy.mesh import Mesh, endpoint, until

SPEC = UpstreamSpec(name="db", bind_port=-1, bind_address="127.0.0.1")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nHost: db\r\n\r\n"


async def head_of(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    raw = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = raw.strip().split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    return first, {name.lower(): value.strip() for name, value in pairs}


async def body_of(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    return await reader.readexactly(int(headers.get("content-length") or 0))


@dataclass
class App:
    """An instance: answers its name; ``status`` and ``hold`` change that."""

    name: str
    status: int = 200
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    active: int = 0
    most: int = 0
    extra: bytes = b""

    def __post_init__(self) -> None:
        self.free.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                first, headers = await head_of(reader)
                body = await body_of(reader, headers)
            except asyncio.IncompleteReadError:
                return
            self.seen.append((first, headers, body))
            self.active += 1
            self.most = max(self.most, self.active)
            try:
                await self.free.wait()
            finally:
                self.active -= 1
            told = self.name.encode()
            writer.write(
                b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b"
                % (self.status, self.extra, len(told), told)
            )
            await writer.drain()


@dataclass
class Net:
    """The whole of it."""

    mesh: Mesh
    web: Proxy
    apps: dict[str, App]
    hosts: dict[str, Host]
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def state(self) -> UpstreamState:
        return self.web._http._upstreams[SPEC.key]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.web.port(SPEC.key))
        self.writers.append(writer)
        return reader, writer

    async def ask(self, raw: bytes = GET) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await self.connect()
        writer.write(raw)
        first, headers = await asyncio.wait_for(head_of(reader), 20)
        body = await asyncio.wait_for(body_of(reader, headers), 20)
        writer.close()
        return int(first.split()[1]), headers, body

    def change(self, **fields: Any) -> None:
        self.mesh.sources["web"].change(**fields)

    def use(self, *names: str, target: str = "db") -> None:
        """These instances are the target's hosts now."""
        state = self.mesh.sources["web"].state
        hosts = {**state.hosts, target: tuple(self.hosts[name] for name in names)}
        self.change(hosts=hosts)


def chain(
    *,
    destination: Mapping[str, Any] | None = None,
    resolver: Mapping[str, Any] | None = None,
    balancer: Mapping[str, Any] | None = None,
    nodes: Mapping[str, Any] | None = None,
    start: str = "r",
) -> Any:
    route: dict[str, Any] = {
        "Definition": {
            "Match": {"HTTP": {"PathPrefix": "/"}},
            "Destination": dict(destination or {}),
        },
        "NextNode": "resolver:db",
    }
    return read_chain(
        {
            "Protocol": "http",
            "StartNode": start,
            "Nodes": {
                "r": {"Type": "router", "Routes": [route]},
                "resolver:db": {
                    "Type": "resolver",
                    "Resolver": {"Target": "db", **(resolver or {})},
                    **({"LoadBalancer": balancer} if balancer else {}),
                },
                **(nodes or {}),
            },
            "Targets": {
                "db": {"Service": "db", "Datacenter": "dc1"},
                "other": {"Service": "db", "Datacenter": "dc1"},
            },
        }
    )


async def net(
    mesh: Mesh, *names: str, settings: UpstreamSettings | None = None, **chained: Any
) -> Net:
    """web with an upstream whose instances have these names."""
    apps, hosts = {name: App(name) for name in names}, {}
    for name, app in apps.items():
        db = await mesh.sidecar("db", app_port=await mesh.app(app.serve))
        mesh.sources["db"].change(protocol="http")
        hosts[name] = Host((name, "db"), "127.0.0.1", endpoint(db).port)
    web = await mesh.sidecar("web", upstreams=[SPEC])
    made = Net(mesh, web, apps, hosts)
    made.change(
        chains={SPEC.key: chain(**chained)},
        hosts={"db": tuple(hosts.values())},
        settings={SPEC.key: settings or UpstreamSettings()},
    )
    await until(lambda: web.port(SPEC.key) > 0, "web listens")
    return made


def upstreams(own: OwnService | None) -> tuple[UpstreamSpec, ...]:
    assert own is not None
    return own.upstreams
