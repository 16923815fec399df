"""Two real sidecars whose connections share a warm one: what applications see, good and bad."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.server import Proxy
from proxy.source import UpstreamSpec
from proxy.tunnel import frames
from proxy.tunnel.core import Tunnel
from proxy.tunnel.events import Answered, Closed, Data, Event
from proxy.tunnel.limits import TunnelLimits
from tests.proxy.mesh import QUICK, Mesh, endpoint, rule, until

LIMITS = replace(QUICK.tunnel_limits, idle_s=300.0)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    async with made.stack:
        yield made


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), 30)


def opened(proxy: Proxy) -> list[dict[str, object]]:
    """The tunnels that a proxy dialled and that stand."""
    return proxy.explain()["tunnels"]["out"]["connections"]  # type: ignore[no-any-return]


async def test_many_connections_share_one_handshake(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    pairs = [await connect(port) for _ in range(30)]
    for number, (reader, writer) in enumerate(pairs):
        text = b"number %d" % number
        assert await ask(reader, writer, text) == text
    out = mesh.proxies["web"].explain()["tunnels"]["out"]
    assert (out["handshakes"], out["streams"], out["plain"]) == (1, 30, 0)
    (link,) = opened(mesh.proxies["web"])
    assert link["streams"] == 30
    told = mesh.proxies["web"].metrics()
    assert 'lictor_proxy_tunnel_connections{service="web",dc="dc1",peer="db.dc1"} 1' in told
    assert 'lictor_proxy_tunnel_streams_active{service="web",dc="dc1",peer="db.dc1"} 30' in told
    assert mesh.proxies["db"].stats().inbound_total == 30
    for _, writer in pairs:
        writer.close()
    await until(lambda: opened(mesh.proxies["web"])[0]["streams"] == 0, "streams ended", 30)
    assert mesh.proxies["db"].explain()["tunnels"]["in"]["connections"] == 1


async def test_many_at_once_wait_for_the_one_handshake(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())

    async def one(number: int) -> None:
        reader, writer = await connect(port)
        assert await ask(reader, writer, b"%06d" % number) == b"%06d" % number
        writer.close()

    await asyncio.gather(*(one(number) for number in range(40)))
    assert mesh.proxies["web"].explain()["tunnels"]["out"]["handshakes"] == 1


async def test_each_stream_is_authorised_and_the_tunnel_outlives_a_denial(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"in") == b"in"
    mesh.sources["db"].change(rules=(rule("web", "db", "deny"),))
    started = time.monotonic()
    assert await asyncio.wait_for(reader.read(), 30) == b""  # cut, with a clean end
    assert time.monotonic() - started < 5
    again, writer_again = await connect(port)
    writer_again.write(b"hello")
    assert await asyncio.wait_for(again.read(), 30) == b""
    assert mesh.proxies["db"].stats().events["denied", "intention_denied"] == 1
    assert mesh.proxies["db"].stats().events["cut", "intention_changed"] == 1
    (link,) = opened(mesh.proxies["web"])
    assert link["refused"] == {"403": 1}
    mesh.sources["db"].change(rules=())
    third, writer_third = await connect(port)
    assert await ask(third, writer_third, b"back") == b"back"
    assert mesh.proxies["web"].explain()["tunnels"]["out"]["handshakes"] == 1
    for each in (writer, writer_again, writer_third):
        each.close()


async def test_a_cut_leaves_the_tunnel_of_another_client_alone(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    spec = UpstreamSpec(name="db", bind_port=-1, bind_address="127.0.0.2")
    api = await mesh.sidecar(
        "api", upstreams=[spec], endpoints={spec.key: (endpoint(mesh.proxies["db"]),)}
    )
    web_reader, web_writer = await connect(port)
    api_reader, api_writer = await asyncio.open_connection("127.0.0.2", api.port(spec.key))
    assert await ask(web_reader, web_writer, b"web") == b"web"
    assert await ask(api_reader, api_writer, b"api") == b"api"
    assert mesh.proxies["db"].explain()["tunnels"]["in"]["connections"] == 2  # never shared
    mesh.sources["db"].change(rules=(rule("web", "db", "deny"),))
    assert await asyncio.wait_for(web_reader.read(), 30) == b""
    assert await ask(api_reader, api_writer, b"still") == b"still"
    web_writer.close()
    api_writer.close()


async def test_an_application_that_is_down_ends_the_stream_alone(mesh: Mesh) -> None:
    port = await mesh.pair(1)
    reader, writer = await connect(port)
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()
    (link,) = opened(mesh.proxies["web"])
    assert link["refused"] == {"503": 1}
    assert mesh.proxies["db"].stats().events["dial", "local_connect_failure"] == 1


@pytest.mark.parametrize("side", ["web", "db"])
async def test_where_one_side_offers_no_tunnel_both_speak_plain_mtls(mesh: Mesh, side: str) -> None:
    mesh.config = replace(QUICK, tunnel="off" if side == "db" else "auto")
    db = await mesh.sidecar("db", app_port=await mesh.app())
    mesh.config = replace(QUICK, tunnel="off" if side == "web" else "auto")
    spec = UpstreamSpec(name="db", bind_port=-1)
    web = await mesh.sidecar("web", upstreams=[spec], endpoints={spec.key: (endpoint(db),)})
    for _ in range(3):
        reader, writer = await connect(web.port(spec.key))
        assert await ask(reader, writer, b"plain") == b"plain"
        writer.close()
    out = web.explain()["tunnels"]["out"]
    assert out["streams"] == 0
    assert out["plain"] == (3 if side == "web" else 2)  # the first asked, and was used as it is
    assert db.stats().inbound_total == 3


async def test_require_dials_nobody_who_offers_no_tunnel(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, tunnel="off")
    db = await mesh.sidecar("db", app_port=await mesh.app())
    mesh.config = replace(QUICK, tunnel="require")
    spec = UpstreamSpec(name="db", bind_port=-1)
    web = await mesh.sidecar("web", upstreams=[spec], endpoints={spec.key: (endpoint(db),)})
    reader, writer = await connect(web.port(spec.key))
    writer.write(b"x")
    assert await asyncio.wait_for(reader.read(), 30) == b""
    assert web.stats().events["dial", "connect_failure"] >= 1
    writer.close()


async def test_a_new_leaf_gets_a_new_tunnel_and_old_streams_go_on(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"old") == b"old"
    mesh.sources["web"].change(leaf=mesh.authority.leaf("web"))
    second, writer_second = await connect(port)
    assert await ask(second, writer_second, b"new") == b"new"
    assert await ask(reader, writer, b"old still") == b"old still"
    assert mesh.proxies["web"].explain()["tunnels"]["out"]["handshakes"] == 2
    assert len(mesh.proxies["db"].explain()["tunnels"]["in"]["open"]) == 2
    writer.close()
    await until(lambda: len(mesh.proxies["db"].explain()["tunnels"]["in"]["open"]) == 1, "left", 30)
    writer_second.close()


async def test_a_bulk_stream_keeps_its_connection_and_new_ones_go_elsewhere(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, tunnel_limits=replace(LIMITS, bulk_bytes=200_000))
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    for _ in range(20):
        assert await ask(reader, writer, b"x" * 50_000) == b"x" * 50_000
    web = mesh.proxies["web"]
    assert opened(web)[0]["bulk"]
    others = []
    async with asyncio.timeout(30):
        while len(opened(web)) < 2 or not any(
            each["streams"] and not each["bulk"] for each in opened(web)
        ):
            others.append(await connect(port))
            assert await ask(*others[-1], b"small") == b"small"
    for _, each in (*others, (reader, writer)):
        each.close()


async def test_one_reader_that_stands_still_holds_nobody_up(mesh: Mesh) -> None:
    await _one_slow_reader(mesh, 40)


@pytest.mark.long
async def test_one_reader_that_stands_still_among_a_thousand(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, tunnel_limits=replace(LIMITS, lanes=1))
    quiet_s, held_s = await _one_slow_reader(mesh, 1000)
    assert held_s < 2 * quiet_s + 0.002, f"p99 {quiet_s * 1e3:.2f} ms, then {held_s * 1e3:.2f} ms"


Pairs = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


async def p99_s(pairs: Pairs) -> float:
    """Of an answer to each, one after another."""
    took = []
    for number, (reader, writer) in enumerate(pairs):
        began = time.perf_counter()
        assert await ask(reader, writer, b"%08d" % number) == b"%08d" % number
        took.append(time.perf_counter() - began)
    return sorted(took)[len(took) * 99 // 100]


async def _one_slow_reader(mesh: Mesh, others: int) -> tuple[float, float]:
    """How long the others take without it and beside it."""
    gate = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == b"S":
            await gate.wait()
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    port = await mesh.pair(await mesh.app(app))
    pairs = [await connect(port) for _ in range(others)]
    for _, writer in pairs:
        writer.write(b"q")
    quiet_s = await p99_s(pairs)
    slow_reader, slow = await connect(port)
    slow.write(b"S")
    block, sent = b"x" * 65536, 0
    while sent < 64 << 20:
        slow.write(block)
        sent += len(block)
        try:
            await asyncio.wait_for(slow.drain(), 0.3)
        except TimeoutError:
            break
    assert sent < 64 << 20, "nothing held the writer back"
    held_s = await p99_s(pairs)
    gate.set()
    slow.write_eof()
    got = 0
    while data := await asyncio.wait_for(slow_reader.read(1 << 20), 30):
        got += len(data)
    assert got == sent
    for _, writer in (*pairs, (slow_reader, slow)):
        writer.transport.abort()
    return quiet_s, held_s


async def test_draining_lets_streams_finish_and_dials_anew_elsewhere(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, drain_timeout_s=30.0)
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"one") == b"one"
    draining = asyncio.create_task(mesh.proxies["db"].drain())  # noqa: TID251
    await until(lambda: mesh.proxies["db"].port() == 0, "closed its listeners", 30)
    assert await ask(reader, writer, b"two") == b"two"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()
    await asyncio.wait_for(draining, 30)


class ByHand:
    """A client of a public listener that writes frames of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.core = Tunnel(TunnelLimits(), client=True, now=0.0)

    @classmethod
    async def dial(cls, mesh: Mesh, service: str = "web") -> ByHand:
        context = mesh.client_context(mesh.authority.leaf(service))
        context.set_alpn_protocols([frames.ALPN])
        made = await asyncio.open_connection(
            "127.0.0.1", endpoint(mesh.proxies["db"]).port, ssl=context
        )
        tls: ssl.SSLObject = made[1].get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == frames.ALPN
        return cls(*made)

    async def until(self, kind: type) -> Event:
        """Read on to an event of this kind."""
        async with asyncio.timeout(30):
            while True:
                self.writer.write(self.core.take())
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError
                for event in self.core.receive(data, 0.0):
                    if isinstance(event, kind):
                        return event


async def test_a_stream_to_another_service_than_ours_is_not_found(mesh: Mesh) -> None:
    await mesh.pair(await mesh.app())
    hand = await ByHand.dial(mesh)
    for authority in ("admin.dc1", "db.dc2", "127.0.0.1:22", ""):
        hand.core.open(authority, 0.0)
        event = await hand.until(Answered)
        assert isinstance(event, Answered)
        assert event.status == 404
    channel = hand.core.open("db.dc1", 0.0)
    hand.core.write(channel, b"here")
    hand.core.read_on(channel, 0.0)
    event = await hand.until(Data)
    assert isinstance(event, Data)
    assert event.data == b"here"
    hand.writer.close()


async def test_a_peer_that_breaks_the_rules_loses_its_tunnel_and_others_go_on(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"one") == b"one"
    for raw in (
        frames.settings({}) * 200,
        b"\0" * 100,
        frames.window_update(0, frames.WINDOW_MAX),
        frames.frame(frames.PING, 0, 0, b"12345678") * 200,
    ):
        hand = await ByHand.dial(mesh)
        channel = hand.core.open("db.dc1", 0.0)
        hand.writer.write(hand.core.take() + raw)
        with pytest.raises((EOFError, ConnectionError)):
            await hand.until(Closed)
        assert not channel.remote_over
        hand.writer.transport.abort()
    assert await ask(reader, writer, b"two") == b"two"
    await until(
        lambda: len(mesh.proxies["db"].explain()["tunnels"]["in"]["open"]) == 1, "ended", 30
    )
    writer.close()


async def test_streams_above_the_proxys_limit_are_refused(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, connections_max=5)
    port = await mesh.pair(await mesh.app())
    hand = await ByHand.dial(mesh)
    for _ in range(5):
        hand.core.open("db.dc1", 0.0)
        event = await hand.until(Answered)
        assert event == Answered(event.channel, 200)  # type: ignore[union-attr]
    hand.core.open("db.dc1", 0.0)
    event = await hand.until(Answered)
    assert isinstance(event, Answered)
    assert event.status == 503
    hand.writer.transport.abort()
    assert port


async def test_tunnels_without_streams_count_at_the_listener(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, connections_max=3)
    await mesh.pair(await mesh.app())
    db = mesh.proxies["db"]
    hands = [await ByHand.dial(mesh) for _ in range(3)]
    await until(lambda: db._accepted.open == 3, "three tunnels stand")
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await ByHand.dial(mesh)
    assert db.stats().events["refused", "overflow"] == 1
    hands[0].core.open("db.dc1", 0.0)  # those that stand go on
    event = await hands[0].until(Answered)
    assert isinstance(event, Answered) and event.status == 200
    for hand in hands:
        hand.writer.transport.abort()


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_gigabyte_arrives_whole(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    sent, got = hashlib.sha256(), hashlib.sha256()
    block = os.urandom(1 << 20)

    async def send() -> None:
        for number in range(1024):
            part = number.to_bytes(8) + block[8:]
            sent.update(part)
            writer.write(part)
            await writer.drain()
        writer.write_eof()

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        size = 0
        while data := await reader.read(1 << 20):
            got.update(data)
            size += len(data)
    assert size == 1 << 30
    assert got.digest() == sent.digest()
    writer.close()
