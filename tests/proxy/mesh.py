"""A small mesh for the proxy's tests: real authority, leaves, proxies and applications."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent.connect import ca
from proxy import tls
from proxy.authz import Rule, order, precedence
from proxy.config import ProxyConfig
from proxy.server import PUBLIC, Proxy
from proxy.source import (
    AppAddress,
    Endpoint,
    LeafPair,
    MeshState,
    OwnService,
    UpstreamSpec,
)
from proxy.spiffe import SpiffeId

CLUSTER = "11111111-2222-3333-4444-555555555555"
TRUST_DOMAIN = f"{CLUSTER}.consul"
DATACENTER = "dc1"

#: Short limits, so that a test of a limit takes no time.
QUICK = ProxyConfig(
    handshake_timeout_s=1.0,
    linger_s=0.3,
    drain_grace_s=0.0,
    drain_timeout_s=0.5,
    bind_retry_s=0.05,
    upstream_connect_timeout_s=2.0,
)


class Authority:
    """A certificate authority in memory."""

    def __init__(self, cluster: str = CLUSTER) -> None:
        self.trust_domain = f"{cluster}.consul"
        self.serial = 7
        self.root = ca.make_root(
            key=ca.generate_key(),
            cluster_id=cluster,
            serial=self.serial,
            name_part="abcdefgh",
            now=datetime.now(UTC),
        )

    def leaf(self, service: str, *, ttl_s: float = 3600.0, age_s: float = 0.0) -> LeafPair:
        self.serial += 1
        return self._signed(service, self.serial, ttl_s, timedelta(seconds=age_s))

    def expired_leaf(self, service: str) -> LeafPair:
        """A leaf that ended an hour ago, signed as if the time were then."""
        return self._signed(service, 99, 60.0, timedelta(hours=1))

    def _signed(self, service: str, serial: int, ttl_s: float, age: timedelta) -> LeafPair:
        key, domain = ca.generate_key(), self.trust_domain
        csr = ca.make_csr(key, SpiffeId.service(domain, DATACENTER, service))
        signed = ca.sign_leaf(
            ca.read_csr(csr, trust_domain=domain, datacenter=DATACENTER),
            signer=ca.signer_of(self.root.secret),
            serial=serial,
            ttl_s=ttl_s,
            now=datetime.now(UTC) - age,
        )
        return LeafPair(cert_pem=signed.cert_pem, private_key_pem=ca.key_pem(key))


class TestSource:
    """A source that a test changes by hand."""

    __test__ = False

    def __init__(self, state: MeshState) -> None:
        self._state = state
        self._callbacks: list[Callable[[MeshState], None]] = []

    @property
    def state(self) -> MeshState:
        return self._state

    rejected = 0

    def subscribe(self, on_change: Callable[[MeshState], None]) -> None:
        self._callbacks.append(on_change)

    def age_s(self) -> float:
        return 0.0

    def change(self, **fields: object) -> None:
        self._state = replace(self._state, **fields)
        for callback in self._callbacks:
            callback(self._state)


def rule(source: str, destination: str, action: str, permissions: int = 0) -> Rule:
    return Rule(
        source=source,
        destination=destination,
        action="" if permissions else action,
        permissions=permissions,
        precedence=precedence(source, destination),
    )


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait for a condition; fail with its name at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}"
        await asyncio.sleep(0.005)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what it gets and ends when the peer has ended."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


class Mesh:
    """web calls db: an application `db`, its sidecar, and the sidecar of `web` with an upstream."""

    def __init__(self, config: ProxyConfig = QUICK) -> None:
        self.config = config
        self.authority = Authority()
        self.stack = AsyncExitStack()
        self.sources: dict[str, TestSource] = {}
        self.proxies: dict[str, Proxy] = {}

    async def app(self, handler: Handler = echo) -> int:
        """Start an application; gives its port."""
        writers: set[asyncio.StreamWriter] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass
            finally:
                writers.discard(writer)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)

        async def stop() -> None:
            server.close()
            for writer in list(writers):
                writer.transport.abort()
            await server.wait_closed()

        self.stack.push_async_callback(stop)
        return int(server.sockets[0].getsockname()[1])

    async def sidecar(
        self,
        name: str,
        *,
        app_port: int = 1,
        upstreams: Iterable[UpstreamSpec] = (),
        endpoints: dict[str, tuple[Endpoint, ...]] | None = None,
        rules: Iterable[Rule] = (),
        default_allow: bool = True,
        leaf: LeafPair | None = None,
    ) -> Proxy:
        source = TestSource(
            MeshState(
                own=OwnService(
                    name=name,
                    listen_address="127.0.0.1",
                    listen_port=-1,
                    app=AppAddress("127.0.0.1", app_port),
                    upstreams=tuple(upstreams),
                ),
                leaf=leaf or self.authority.leaf(name),
                roots_pem=(self.authority.root.public.root_cert,),
                trust_domain=TRUST_DOMAIN,
                datacenter=DATACENTER,
                rules=order(rules),
                default_allow=default_allow,
                endpoints=endpoints or {},
            )
        )
        proxy = Proxy(source, self.config, rng=random.Random(1))
        await proxy.start()
        self.stack.push_async_callback(proxy.close)
        self.sources[name], self.proxies[name] = source, proxy
        await until(lambda: proxy.port(PUBLIC) > 0, f"{name} listens")
        for upstream in proxy._state.own.upstreams:  # type: ignore[union-attr]
            await until(lambda key=upstream.key: proxy.port(key) > 0, f"{name} upstream listens")
        return proxy

    async def pair(self, app_port: int, **db: object) -> int:
        """Sidecars of db and web; gives the local port on which web's application reaches db."""
        db_proxy = await self.sidecar("db", app_port=app_port, **db)  # type: ignore[arg-type]
        upstream = UpstreamSpec(name="db", bind_port=-1)
        web = await self.sidecar(
            "web", upstreams=[upstream], endpoints={upstream.key: (endpoint(db_proxy),)}
        )
        return web.port(upstream.key)

    def client_context(self, leaf: LeafPair | None) -> ssl.SSLContext:
        """A context for dialling a public listener by hand."""
        roots = (self.authority.root.public.root_cert,)
        if leaf is not None:
            return tls.build(leaf, roots).client
        context = ssl.create_default_context(cadata=roots[0])
        context.check_hostname = False
        return context


def endpoint(proxy: Proxy) -> Endpoint:
    return Endpoint(address="127.0.0.1", port=proxy.port(PUBLIC), datacenter=DATACENTER)
