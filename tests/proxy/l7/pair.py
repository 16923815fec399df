"""web and db, one connection each to the next, with one application behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from proxy.balance.hosts import Host
from proxy.config import ProxyConfig
from proxy.l7.messages import Client
from proxy.server import Proxy
from proxy.source import UpstreamSpec
from tests.proxy.l7.net import SPEC, chain, head_of
from tests.proxy.mesh import QUICK, Mesh, endpoint, until


class Serves(Protocol):
    """An application."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


A = TypeVar("A", bound=Serves)


class Net(Generic[A]):
    """The whole of it."""

    def __init__(self, mesh: Mesh, app: A, web: Proxy, db: Proxy) -> None:
        self.mesh, self.app, self.web, self.db = mesh, app, web, db

    @property
    def short(self) -> tuple[int, int]:
        """Requests of the short way at web and at db."""
        return self.web._http.observer.short, self.db._http.observer.short

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection whose next plain request can go the short way."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.web.port(SPEC.key))
        self.mesh.stack.callback(writer.close)
        for _ in range(2):
            assert (await ask(reader, writer, "/plain"))[0].endswith(" 200 OK")
        return reader, writer

    def idle(self) -> bool:
        """Whether nothing is under way."""
        state = self.web._http._upstreams[SPEC.key]
        return not state.admission.running and not any(
            sum(hosts.policy.active.values())  # type: ignore[attr-defined]
            for hosts in state.hosts.values()
        )


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, method: str = "GET",
    more: str = "",
) -> tuple[str, dict[str, str], bytes]:  # fmt: skip
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: db\r\n{more}\r\n".encode())
    return await answer(reader, method)


async def answer(
    reader: asyncio.StreamReader, method: str = "GET"
) -> tuple[str, dict[str, str], bytes]:
    async with asyncio.timeout(30):
        first, headers = await head_of(reader)
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        elif method != "HEAD":
            body = await reader.readexactly(int(headers.get("content-length") or 0))
    return first, headers, body


class _Nobody:
    servant = None
    gone = False


def nobody() -> Client:
    """A client that does nothing."""
    return _Nobody()


@asynccontextmanager
async def pair(app: A, config: ProxyConfig = QUICK) -> AsyncIterator[Net[A]]:
    """All of it, ready."""
    mesh = Mesh(config)
    async with mesh.stack:
        db = await mesh.sidecar("db", app_port=await mesh.app(app.serve))
        mesh.sources["db"].change(protocol="http")
        spec = UpstreamSpec(name="db", bind_port=-1, bind_address="127.0.0.1")
        web = await mesh.sidecar("web", upstreams=[spec])
        host = Host(("n1", "db"), "127.0.0.1", endpoint(db).port)
        mesh.sources["web"].change(chains={spec.key: chain()}, hosts={"db": (host,)})
        await until(lambda: web.port(SPEC.key) > 0, "web listens")
        yield Net(mesh, app, web, db)
