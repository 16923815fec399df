"""Requests through two sidecars in one loop: what clients and applications see, good and bad."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from proxy.authz import Permission, Rule
from proxy.balance.hosts import Host
from proxy.l7.limits import UPGRADES
from proxy.l7.routes import read_chain
from proxy.revocations import NONE, of_entries
from proxy.server import Proxy
from proxy.source import AppAddress, UpstreamSpec
from proxy.spiffe import SpiffeId
from tests.proxy.mesh import Mesh, endpoint, until

SPEC = UpstreamSpec(name="db", bind_port=-1)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def head_of(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    raw = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = raw.strip().split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    return first, {name.lower(): value.strip() for name, value in pairs}


async def body_of(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    return await reader.readexactly(int(headers.get("content-length") or 0))


async def telling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with its own first line, headers and size."""
    while True:
        try:
            first, headers = await head_of(reader)
        except asyncio.IncompleteReadError:
            return
        size = len(await body_of(reader, headers))
        told = f"{first}|{size}|{headers.get('x-forwarded-client-cert', '')}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
        await writer.drain()


@dataclass
class Pair:
    """web's local port for db, over two sidecars."""

    mesh: Mesh
    web: Proxy
    db: Proxy
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.web.port(SPEC.key))
        self.writers.append(writer)
        return reader, writer

    async def ask(self, raw: bytes) -> tuple[str, dict[str, str], bytes]:
        reader, writer = await self.connect()
        writer.write(raw)
        first, headers = await asyncio.wait_for(head_of(reader), 5)
        return first, headers, await asyncio.wait_for(body_of(reader, headers), 5)


def chain(destination: dict[str, Any] | None = None) -> Any:
    route: dict[str, Any] = {
        "Definition": {
            "Match": {"HTTP": {"PathPrefix": "/"}},
            "Destination": destination or {},
        },
        "NextNode": "resolver:db",
    }
    return read_chain(
        {
            "Protocol": "http",
            "StartNode": "r",
            "Nodes": {
                "r": {"Type": "router", "Routes": [route]},
                "resolver:db": {"Type": "resolver", "Resolver": {"Target": "db"}},
            },
            "Targets": {"db": {"Service": "db", "Datacenter": "dc1"}},
        }
    )


Make = Callable[..., Awaitable[Pair]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    mesh, pairs = Mesh(), []
    async with mesh.stack:

        async def made(
            serve: Serve = telling,
            *,
            destination: dict[str, Any] | None = None,
            rules: tuple[Rule, ...] = (),
            dead_hosts: int = 0,
        ) -> Pair:
            db = await mesh.sidecar("db", app_port=await mesh.app(serve), rules=rules)
            mesh.sources["db"].change(protocol="http")
            web = await mesh.sidecar("web", upstreams=[SPEC], endpoints={SPEC.key: (endpoint(db),)})
            there = Host(("n1", "db"), "127.0.0.1", endpoint(db).port)
            dead = [Host((f"dead{n}", "db"), "127.0.0.1", 1) for n in range(dead_hosts)]
            mesh.sources["web"].change(
                chains={SPEC.key: chain(destination)}, hosts={"db": (there, *dead)}
            )
            pair = Pair(mesh, web, db)
            pairs.append(pair)
            await until(lambda: web.port(SPEC.key) > 0, "web listens")
            return pair

        yield made
        for pair in pairs:
            for writer in pair.writers:
                writer.transport.abort()


async def test_a_request_arrives_with_the_clients_identity(make: Make) -> None:
    pair = await make()
    first, _, body = await pair.ask(b"POST /a HTTP/1.1\r\nHost: db\r\nContent-Length: 3\r\n\r\nabc")
    assert first == "HTTP/1.1 200 OK"
    assert body.startswith(b"POST /a HTTP/1.1|3|URI=spiffe://")
    assert body.endswith(b"/svc/web")


async def test_connections_of_requests_share_a_tunnel(make: Make) -> None:
    pair = await make()
    raw = b"GET /a HTTP/1.1\r\nHost: db\r\n\r\n"
    for _, _, body in await asyncio.gather(*(pair.ask(raw) for _ in range(8))):
        assert body.endswith(b"/svc/web")
    out = pair.web.explain()["tunnels"]["out"]
    assert (out["handshakes"], out["plain"]) == (1, 0)
    assert 1 <= out["streams"] <= 8


async def test_requests_in_a_row_and_at_once_are_answered_in_order(make: Make) -> None:
    pair = await make()
    reader, writer = await pair.connect()
    writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: db\r\n\r\n" % n for n in range(10)))
    for number in range(10):
        _, headers = await head_of(reader)
        assert (await body_of(reader, headers)).startswith(b"GET /%d " % number)


async def test_chunked_bodies_pass(make: Make) -> None:
    pair = await make()
    head = b"PUT /c HTTP/1.1\r\nHost: db\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"|5|" in (await pair.ask(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))[2]


async def test_a_body_is_asked_for_where_the_client_waits(make: Make) -> None:
    pair = await make()
    reader, writer = await pair.connect()
    writer.write(b"PUT / HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert (
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    )
    writer.write(b"ab")
    _, headers = await head_of(reader)
    assert b"|2|" in await body_of(reader, headers)


async def test_an_upgrade_becomes_bytes_both_ways(make: Make) -> None:
    async def switching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await head_of(reader)
        assert headers["upgrade"] == "websocket"
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        while data := await reader.read(100):
            writer.write(data.upper())
            await writer.drain()

    pair = await make(switching)
    reader, writer = await pair.connect()
    writer.write(b"GET /w HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    first, headers = await asyncio.wait_for(head_of(reader), 5)
    assert first.startswith("HTTP/1.1 101")
    assert headers["upgrade"] == "websocket"
    for word in (b"one", b"two"):
        writer.write(word)
        assert await asyncio.wait_for(reader.readexactly(3), 5) == word.upper()


@pytest.mark.parametrize(("config", "switches"), [(UPGRADES, False), (UPGRADES | {"raw"}, True)])
async def test_other_protocols_only_where_they_are_named(
    make: Make, config: frozenset[str], switches: bool
) -> None:
    """HTTP/2 behind an upgrade would pass every rule about requests."""
    seen: list[str] = []

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await head_of(reader)
        seen.append(headers.get("upgrade", ""))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    pair = await make(application)
    for name in ("web", "db"):
        own = pair.mesh.sources[name].state.own
        assert own is not None
        pair.mesh.sources[name].change(own=replace(own, upgrades=config))
    for wanted in ("h2c", "h2c, Raw"):
        head = f"GET / HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: {wanted}"
        head += "\r\n\r\n"
        assert (await pair.ask(head.encode()))[0].endswith("200 OK")
    assert seen == ["", "Raw" if switches else ""]


async def test_an_application_that_is_slow_down_or_broken_is_told_apart(make: Make) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.read()  # until the sidecar has had enough

    pair = await make(slow, destination={"RequestTimeout": "200ms"})
    first, _, body = await pair.ask(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert first.split()[1] == "504", body


async def test_requests_of_a_live_connection_go_where_the_application_is_now(make: Make) -> None:
    async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await head_of(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nmoved")

    pair = await make()
    reader, writer = await pair.connect()
    for number, there in enumerate((b"GET /a", b"GET /a", b"moved", b"moved")):
        if number == 2:  # of each the second goes the short way
            own = pair.mesh.sources["db"].state.own
            assert own is not None
            app = AppAddress("127.0.0.1", await pair.mesh.app(moved))
            pair.mesh.sources["db"].change(own=replace(own, app=app))
        writer.write(b"GET /a HTTP/1.1\r\nHost: db\r\n\r\n")
        _, headers = await asyncio.wait_for(head_of(reader), 30)
        assert (await body_of(reader, headers)).startswith(there)


async def test_an_application_that_is_not_there_is_503(make: Make) -> None:
    pair = await make()
    own = pair.mesh.sources["db"].state.own
    assert own is not None
    pair.mesh.sources["db"].change(own=replace(own, app=AppAddress("127.0.0.1", 1)))
    first, headers, _ = await pair.ask(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert first.split()[1] == "503"
    assert headers["x-lictor-reason"] == "local_connect_failure"


async def test_an_application_that_breaks_off_is_502(make: Make) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)

    pair = await make(broken)
    first, _, _ = await pair.ask(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
    assert first.split()[1] == "502"


async def test_a_host_that_is_not_there_is_passed_over(make: Make) -> None:
    pair = await make(destination={"NumRetries": 3}, dead_hosts=2)
    for _ in range(10):
        first, _, _ = await pair.ask(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
        assert first.split()[1] == "200"


async def test_a_request_is_never_sent_twice_where_it_may_have_happened(make: Make) -> None:
    seen: list[str] = []

    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, _ = await head_of(reader)
        seen.append(first)

    pair = await make(breaking, destination={"NumRetries": 3, "RetryOn": ["5xx", "reset"]})
    first, _, _ = await pair.ask(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
    assert first.split()[1] == "502"
    assert len(seen) == 1
    await pair.ask(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert len(seen) > 2  # what may be repeated is


async def test_permissions_decide_each_request_and_new_ones_count_at_once(make: Make) -> None:
    only_get = Rule(
        source="web",
        destination="db",
        action="",
        permissions=1,
        precedence=9,
        matches=(Permission(action="allow", path_form="prefix", path="/ok"),
                 Permission(action="deny", path_form="prefix", path="/")),
    )  # fmt: skip
    pair = await make(rules=(only_get,))
    assert (await pair.ask(b"GET /ok HTTP/1.1\r\nHost: d\r\n\r\n"))[0].split()[1] == "200"
    reader, writer = await pair.connect()
    for path, status in (("/ok", "200"), ("/no", "403"), ("/ok/../no", "403")):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        first, headers = await head_of(reader)
        assert first.split()[1] == status, path
        await body_of(reader, headers)
        reference = headers.get("x-lictor-reference", "")
    denials = pair.db.explain()["denials"]
    assert any(f"reference={reference}" in each.detail for each in denials)
    pair.mesh.sources["db"].change(rules=())
    writer.write(b"GET /no HTTP/1.1\r\nHost: d\r\n\r\n")
    assert (await head_of(reader))[0].split()[1] == "200"


@pytest.mark.parametrize("holder", ["web", "db"])
async def test_requests_end_with_a_certificate_that_is_revoked(make: Make, holder: str) -> None:
    pair = await make()
    ask = b"GET /a HTTP/1.1\r\nHost: db\r\n\r\n"
    first, *_ = await pair.ask(ask)
    assert first == "HTTP/1.1 200 OK"
    other = "db" if holder == "web" else "web"
    uri = SpiffeId.service(pair.mesh.authority.trust_domain, "dc1", holder).uri
    listed = of_entries([("", uri, time.time() + 600.0)])
    pair.mesh.sources[other].change(revoked=listed)
    cut = pair.mesh.proxies[other].stats().events
    assert cut["cut", "certificate_revoked"] >= 1, "the kept connection is reset"
    first, *_ = await pair.ask(ask)
    # Who is turned away learns it from a connection that ends before an answer.
    assert first[9:12] in {"502", "503"}, "and no new one is made"
    pair.mesh.sources[other].change(revoked=NONE)
    first, *_ = await pair.ask(ask)
    assert first == "HTTP/1.1 200 OK"


async def test_a_limit_of_inbound_connections_counts_requests_connections(make: Make) -> None:
    pair = await make()
    own = pair.mesh.sources["db"].state.own
    assert own is not None
    pair.mesh.sources["db"].change(own=replace(own, inbound_connections_max=1))
    first, _, _ = await pair.ask(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert first.split()[1] == "200"
    await until(lambda: pair.db._http.stats.inbound_open == 1, "one is kept")
    context = pair.mesh.client_context(pair.mesh.authority.leaf("web"))
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await asyncio.open_connection("127.0.0.1", endpoint(pair.db).port, ssl=context)
    assert pair.db.stats().events["refused", "overflow"] == 1


async def test_a_slow_head_ends_and_others_are_served(make: Make) -> None:
    pair = await make()
    reader, writer = await pair.connect()
    writer.write(b"GET / HT")
    assert (await pair.ask(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n"))[0].split()[1] == "200"
    writer.write(b"TP/1.1\r\nHost: d\r\nX: " + b"a" * 70_000 + b"\r\n\r\n")
    first, _ = await asyncio.wait_for(head_of(reader), 5)
    assert first.split()[1] == "431"
    assert pair.web._http.stats.violations == 1


async def test_old_clients_are_answered_and_closed(make: Make) -> None:
    pair = await make()
    reader, writer = await pair.connect()
    writer.write(b"GET /old HTTP/1.0\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer
    assert b"GET /old HTTP/1.1|0|" in answer


async def test_nobody_works_for_a_client_that_has_gone(make: Make) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        begun.set()
        try:
            await reader.read()
        finally:
            ended.set()

    pair = await make(waiting)
    _, writer = await pair.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    await asyncio.wait_for(begun.wait(), 5)
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 5)


async def test_clients_that_go_away_are_not_held_against_the_host(make: Make) -> None:
    begun = asyncio.Event()

    async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        begun.set()
        await reader.read()

    pair = await make(waiting)
    hosts = pair.web._http._upstreams[SPEC.key].hosts["db"]
    _, writer = await pair.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    await asyncio.wait_for(begun.wait(), 5)
    assert hosts.budget.active == 1
    writer.transport.abort()
    await until(lambda: hosts.budget.active == 0, "the request has ended")
    assert hosts.outliers._standing[("n1", "db")].failures == 0


async def test_without_a_budget_the_first_answer_is_passed_on_as_it_came(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await head_of(reader):
            writer.write(
                b"HTTP/1.1 503 Busy\r\nX-Why: because\r\nContent-Length: 8\r\n\r\noriginal"
            )

    pair = await make(failing, destination={"NumRetries": 2, "RetryOnStatusCodes": [503]})
    hosts = pair.web._http._upstreams[SPEC.key].hosts["db"]
    await pair.ask(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert pair.web._http._upstreams[SPEC.key].retries == 2
    assert hosts.budget.retrying == 0
    monkeypatch.setattr("proxy.l7.retries.CONCURRENT_MIN", 0)
    first, headers, body = await pair.ask(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert (first, headers["x-why"], body) == ("HTTP/1.1 503 Busy", "because", b"original")
    assert pair.web._http._upstreams[SPEC.key].retries == 2


async def test_a_body_of_unknown_length_ends_with_the_connection_of_an_old_client(
    make: Make,
) -> None:
    async def chunking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    pair = await make(chunking)
    reader, writer = await pair.connect()
    writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert b"ontent-" not in head
    assert b"chunked" not in head
    assert body == b"abc"


async def test_new_rules_end_streams_at_once_and_let_requests_finish(make: Make) -> None:
    go_on = asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await head_of(reader)
        if "upgrade" in headers:
            writer.write(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := await reader.read(100):
                writer.write(data)
        elif "application/grpc" in headers.get("content-type", ""):
            await reader.read()
        else:
            await go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            writer.close()

    def asking(path: str, *lines: str, method: str = "GET") -> bytes:
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: d", *lines, "", ""]).encode()

    async def socket(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await pair.connect()
        writer.write(asking(path, "Connection: Upgrade", "Upgrade: websocket"))
        assert (await asyncio.wait_for(head_of(reader), 5))[0].startswith("HTTP/1.1 101")
        return reader, writer

    pair = await make(application)
    stays, cut = await socket("/stays"), await socket("/cut")
    rpc, short, long = [await pair.connect() for _ in range(3)]
    rpc[1].write(asking("/rpc", "Content-Type: application/grpc", "Content-Length: 0",
                        method="POST"))  # fmt: skip
    short[1].write(asking("/a"))
    long[1].write(asking("/b", "Content-Length: 0", method="POST"))
    inbound = pair.db._http

    def open_() -> int:
        return sum(len(each.under_way._open) for each in inbound._handlers.values())

    while open_() < 5:
        await asyncio.sleep(0)
    rule = Rule(
        source="web", destination="db", action="", permissions=1, precedence=9,
        matches=(Permission(action="allow", path_form="exact", path="/stays"),
                 Permission(action="deny", path_form="prefix", path="/")),
    )  # fmt: skip
    pair.mesh.sources["db"].change(rules=(rule,))
    assert pair.db.stats().events["cut", "intention_changed"] >= 1
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(cut[0].read(), 5) == b""
    first, *_ = await asyncio.wait_for(head_of(rpc[0]), 5)
    assert first.split()[1] == "403", "no answer had begun: it is told"
    go_on.set()
    for reader, _ in (short, long):
        assert (await asyncio.wait_for(head_of(reader), 5))[0].split()[1] == "200"
    stays[1].write(b"still")
    assert await asyncio.wait_for(stays[0].readexactly(5), 5) == b"still"
    uri = SpiffeId.service(pair.mesh.authority.trust_domain, "dc1", "web").uri
    pair.mesh.sources["db"].change(revoked=of_entries([("", uri, time.time() + 600.0)]))
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(stays[0].read(), 5) == b"", "no socket outlives its client"


async def test_an_old_connection_takes_no_more_requests(make: Make) -> None:
    pair = await make()
    reader, writer = await pair.connect()
    ask = b"GET /a HTTP/1.1\r\nHost: db\r\n\r\n"

    async def asked() -> str:
        writer.write(ask)
        first, headers = await asyncio.wait_for(head_of(reader), 30)
        await body_of(reader, headers)
        return first.split()[1]

    for _ in range(2):  # the second goes the short way
        assert await asked() == "200"
    (handler,) = pair.db._http._handlers.values()
    handler.grown_old()
    await until(lambda: not pair.db._http._handlers, "it was idle, so it ends")
    assert await asked() == "200", "the client's sidecar has a new one"
