"""Two real sidecars over real TLS on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import uvloop
from cryptography import x509

from proxy import proxy_protocol
from proxy.revocations import of_entries
from proxy.server import PUBLIC, Proxy
from proxy.session import Session
from proxy.source import Endpoint, LeafPair, UpstreamSpec
from proxy.spiffe import SpiffeId
from tests.proxy.mesh import QUICK, Authority, Mesh, endpoint, rule, until
from tests.proxy.mesh import TestSource as MeshSource


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    """On uvloop sidecars share tunnels, on asyncio each connection is one of plain mTLS."""
    tunnelled = isinstance(asyncio.get_running_loop(), uvloop.Loop)
    made = Mesh(replace(QUICK, tunnel="auto" if tunnelled else "off"))
    async with made.stack:
        yield made


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), 20)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


async def test_bytes_pass_both_ways_between_two_sidecars(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"hello") == b"hello"
    assert await ask(reader, writer, b"again") == b"again"
    await close(writer)
    await until(lambda: mesh.proxies["db"].stats().inbound_active == 0, "connection ended")
    stats = mesh.proxies["db"].stats()
    assert (stats.inbound_total, stats.downstream_bytes, stats.upstream_bytes) == (1, 10, 10)


async def test_nothing_of_a_connection_is_left(mesh: Mesh) -> None:
    """Each had a timer that held all of it for a minute after its end."""
    port = await mesh.pair(await mesh.app())

    async def some(count: int) -> int:
        for _ in range(count):
            reader, writer = await connect(port)
            assert await ask(reader, writer, b"hello") == b"hello"
            await close(writer)
        for proxy in mesh.proxies.values():
            await until(lambda proxy=proxy: not len(proxy._sessions), "all are over")
        gc.collect()
        return sum(isinstance(each, Session) for each in gc.get_objects())

    before = await some(5)
    assert await some(20) <= before


async def test_every_socket_is_probed_and_waits_to_send_nothing(mesh: Mesh) -> None:
    mesh.config = replace(mesh.config, keepalive_idle_s=77)
    reader, writer = await connect(await mesh.pair(await mesh.app()))
    assert await ask(reader, writer, b"hello") == b"hello"
    found = []
    for name in ("web", "db"):
        for session in mesh.proxies[name]._sessions:
            for half in (session._downstream, session._upstream):
                if (transport := getattr(half, "transport", None)) is not None:
                    raw = transport.get_extra_info("socket")
                    found.append((
                        raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) > 0,
                        raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                        raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) > 0,
                    ))  # fmt: skip
    assert found == [(True, 77, True)] * (4 if mesh.config.tunnel == "off" else 2)
    await close(writer)


async def test_a_stream_of_ten_megabytes_arrives_whole(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    sent = os.urandom(10 * 1024 * 1024)
    digest = hashlib.sha256()
    writer.write(sent)
    writer.write_eof()
    while data := await asyncio.wait_for(reader.read(262144), 20):
        digest.update(data)
    assert digest.digest() == hashlib.sha256(sent).digest()
    await close(writer)


async def test_a_half_close_reaches_the_application_and_its_answer_comes_back(mesh: Mesh) -> None:
    async def answer_after_the_end(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        everything = await reader.read()  # returns only at the end of the stream
        writer.write(b"got " + everything)
        await writer.drain()
        writer.write_eof()

    port = await mesh.pair(await mesh.app(answer_after_the_end))
    reader, writer = await connect(port)
    writer.write(b"all of it")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b"got all of it"
    await close(writer)
    await until(lambda: mesh.proxies["db"].stats().inbound_active == 0, "connection ended")
    await until(lambda: mesh.proxies["web"].stats().outbound_active == 0, "connection ended")


async def test_a_server_that_speaks_first_is_heard(mesh: Mesh) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await writer.drain()
        await reader.read()

    port = await mesh.pair(await mesh.app(greet))
    reader, writer = await connect(port)
    assert await asyncio.wait_for(reader.readline(), 5) == b"220 hello\r\n"
    await close(writer)


async def test_a_reset_of_the_client_reaches_the_application(mesh: Mesh) -> None:
    ended: list[str] = []

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(100):
                ended.append("data")
            ended.append("eof")
        except ConnectionError:
            ended.append("reset")

    port = await mesh.pair(await mesh.app(watch))
    _, writer = await connect(port)
    writer.write(b"x")
    await until(lambda: ended == ["data"], "first byte")
    raw = writer.get_extra_info("socket")
    raw.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER of zero: a reset
    writer.transport.abort()
    await until(lambda: len(ended) == 2, "the end")
    assert ended == ["data", "reset"]


async def test_a_slow_reader_holds_the_writer_back(mesh: Mesh) -> None:
    gate = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        count = 0
        while data := await reader.read(262144):
            count += len(data)
        writer.write(str(count).encode())
        await writer.drain()
        writer.write_eof()

    port = await mesh.pair(await mesh.app(slow))
    reader, writer = await connect(port)
    sent = 0
    block = b"x" * 65536
    stalled = False
    while sent < 256 * 1024 * 1024:
        writer.write(block)
        sent += len(block)
        try:
            await asyncio.wait_for(writer.drain(), 0.5)
        except TimeoutError:
            stalled = True
            break
    # What fits into the kernel's buffers and ours is bounded: far less than was offered.
    assert stalled
    assert sent < 64 * 1024 * 1024
    gate.set()
    writer.write_eof()
    assert int(await asyncio.wait_for(reader.read(), 20)) == sent
    await close(writer)


async def test_a_denied_client_sees_a_clean_end_after_the_handshake(mesh: Mesh) -> None:
    db = await mesh.sidecar(
        "db", app_port=await mesh.app(), rules=[rule("web", "db", "deny")], default_allow=True
    )
    context = mesh.client_context(mesh.authority.leaf("web"))
    reader, writer = await asyncio.open_connection("127.0.0.1", db.port(PUBLIC), ssl=context)
    writer.write(b"let me in" * 1000)  # unread input must not turn the end into a reset
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await close(writer)
    assert db.stats().events["denied", "intention_denied"] == 1
    [denial] = db.explain()["denials"]
    assert denial.detail == (
        "Matched L4 intention: default/web => default/db (Precedence: 9, Action: DENY)"
    )
    assert denial.source.endswith("/svc/web")
    await until(lambda: db.stats().inbound_active == 0, "connection ended")


async def test_an_l7_intention_denies_at_layer_4(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app(), rules=[rule("web", "db", "", permissions=1)])
    reader, writer = await connect(port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await close(writer)
    assert mesh.proxies["db"].stats().events["denied", "intention_denied"] == 1


async def refused(port: int, context: ssl.SSLContext) -> None:
    """The handshake, or the first read after it, fails or gives no byte."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except (ssl.SSLError, ConnectionError):
        return
    try:
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.read(), 5) == b""
    except (ssl.SSLError, ConnectionError):
        pass
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("who", "word"),
    [("nobody", "no_cert"), ("expired", "expired"), ("foreign", "unknown_ca")],
)
async def test_a_client_without_a_good_certificate_is_refused(
    mesh: Mesh, who: str, word: str
) -> None:
    seen = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set()

    db = await mesh.sidecar("db", app_port=await mesh.app(never))
    stranger = Authority("99999999-2222-3333-4444-555555555555")
    context = mesh.client_context(
        {
            "nobody": None,
            "expired": mesh.authority.expired_leaf("web"),
            "foreign": stranger.leaf("web"),
        }[who]
    )
    await refused(db.port(PUBLIC), context)
    await until(lambda: db.stats().events["handshake", word] == 1, f"counted as {word}")
    assert not seen.is_set()


async def test_a_foreign_trust_domain_is_denied_even_under_our_root(mesh: Mesh) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app(), default_allow=True)
    mesh.sources["db"].change(trust_domain="00000000-0000-0000-0000-000000000000.consul")
    await refused(db.port(PUBLIC), mesh.client_context(mesh.authority.leaf("web")))
    await until(lambda: db.stats().events["denied", "intention_denied"] == 1, "denied")
    assert "Trust domain" in db.explain()["denials"][0].detail


async def test_plain_text_on_the_public_port_is_refused(mesh: Mesh) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app())
    reader, writer = await connect(db.port(PUBLIC))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert len(answer) <= 7  # at most an alert record
    await close(writer)
    assert db.stats().events["handshake", "not_tls"] == 1


async def test_a_silent_client_is_dropped_when_the_handshake_takes_too_long(mesh: Mesh) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app())
    began = time.monotonic()
    reader, writer = await connect(db.port(PUBLIC))
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reader.readexactly(1), 5)
    assert 0.9 < time.monotonic() - began < 3
    await close(writer)
    assert db.stats().events["handshake", "handshake_timeout"] == 1
    assert db.stats().inbound_active == 0


async def test_a_new_deny_cuts_an_open_connection_within_a_second(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app(), rules=[rule("web", "db", "allow")])
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"open") == b"open"
    began = time.monotonic()
    mesh.sources["db"].change(rules=(rule("web", "db", "deny"),))
    assert await asyncio.wait_for(reader.read(), 5) == b""  # an end, not a reset
    assert time.monotonic() - began < 1.0
    await close(writer)
    assert mesh.proxies["db"].stats().events["cut", "intention_changed"] == 1

    reader, writer = await connect(port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await close(writer)

    mesh.sources["db"].change(rules=(rule("web", "db", "allow"),))
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"again") == b"again"
    await close(writer)


async def test_a_cut_does_not_wait_for_an_application_that_reads_nothing(mesh: Mesh) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    port = await mesh.pair(await mesh.app(deaf), rules=[rule("web", "db", "allow")])
    _, writer = await connect(port)
    writer.write(b"x" * 32 * 1024 * 1024)
    db = mesh.proxies["db"]
    await until(lambda: db.stats().inbound_active == 1, "connection stands")
    mesh.sources["db"].change(rules=(rule("*", "db", "deny"),))
    await until(lambda: db.stats().inbound_active == 0, "connection is cut", timeout_s=1.0)
    writer.transport.abort()


async def test_a_rule_about_somebody_else_leaves_connections_alone(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app(), rules=[rule("web", "db", "allow")])
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"open") == b"open"
    mesh.sources["db"].change(rules=(rule("web", "db", "allow"), rule("*", "db", "deny")))
    mesh.sources["db"].change(default_allow=False)
    assert await ask(reader, writer, b"still") == b"still"
    await close(writer)


async def test_rules_that_change_during_a_handshake_hold_for_it(mesh: Mesh) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app())
    reader, writer = await connect(db.port(PUBLIC))  # accepted, no handshake yet
    await until(lambda: db.handshakes.inbound.open == 1, "accepted")
    mesh.sources["db"].change(rules=(rule("*", "db", "deny"),))
    context = mesh.client_context(mesh.authority.leaf("web"))
    await writer.start_tls(context)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await close(writer)
    assert db.stats().events["denied", "intention_denied"] == 1


def serial_of(leaf: LeafPair) -> str:
    return f"{x509.load_pem_x509_certificate(leaf.cert_pem.encode()).serial_number:x}"


@pytest.mark.parametrize("holder", ["web", "db"])
async def test_a_revoked_certificate_is_cut_and_refused_on_either_side(
    mesh: Mesh, holder: str
) -> None:
    port = await mesh.pair(await mesh.app())
    other = "db" if holder == "web" else "web"
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"hello") == b"hello"
    leaf = mesh.sources[holder].state.leaf
    assert leaf is not None
    mesh.sources[other].change(revoked=of_entries([(serial_of(leaf), "", 0.0)]))
    assert await asyncio.wait_for(reader.read(), 1.0) == b""
    await close(writer)
    stats = mesh.proxies[other].stats()
    assert stats.events["cut", "certificate_revoked"] == 1
    reader, writer = await connect(port)
    writer.write(b"hello")
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5.0) == b""
    await close(writer)
    event = "handshake" if holder == "web" else "dial"
    await until(lambda: bool(stats.events[event, "certificate_revoked"]), "the refusal is counted")
    # A new certificate of the same service counts.
    mesh.sources[holder].change(leaf=mesh.authority.leaf(holder))
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"hello") == b"hello"
    await close(writer)


async def test_certificates_of_a_service_are_revoked_up_to_a_moment(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"hello") == b"hello"
    uri = SpiffeId.service(mesh.authority.trust_domain, "dc1", "web").uri
    mesh.sources["db"].change(revoked=of_entries([("", uri, time.time() - 600.0)]))
    assert await ask(reader, writer, b"older") == b"older"
    mesh.sources["db"].change(revoked=of_entries([("", uri, time.time() + 600.0)]))
    assert await asyncio.wait_for(reader.read(), 1.0) == b""
    await close(writer)


async def test_a_new_leaf_cuts_nothing_and_serves_new_connections(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"before") == b"before"
    for name in ("db", "web"):
        mesh.sources[name].change(leaf=mesh.authority.leaf(name))
    assert await ask(reader, writer, b"after") == b"after"
    fresh_reader, fresh_writer = await connect(port)
    assert await ask(fresh_reader, fresh_writer, b"fresh") == b"fresh"
    assert mesh.proxies["db"].stats().leaf_rotations == 1
    await close(writer)
    await close(fresh_writer)


async def test_nobody_is_let_in_before_the_leaf_has_come(mesh: Mesh) -> None:
    """Calls that fail for want of it would be held against the hosts that they were for."""
    await mesh.pair(await mesh.app())
    db, known = endpoint(mesh.proxies["db"]), mesh.sources["web"].state
    spec = UpstreamSpec(name="db", bind_port=-1)
    source = MeshSource(replace(known, leaf=None, endpoints={spec.key: (db,)}))
    late = Proxy(source, mesh.config, rng=random.Random(2))
    await late.start()
    mesh.stack.push_async_callback(late.close)
    assert not late.listeners and not late.serving
    source.change(leaf=known.leaf)
    await until(lambda: late.port(spec.key) > 0, "its upstream listens")
    reader, writer = await connect(late.port(spec.key))
    assert await ask(reader, writer, b"hello") == b"hello"
    await close(writer)


async def test_old_and_new_root_are_trusted_at_once_while_leaves_change(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    old = mesh.authority
    mesh.authority = Authority()
    both = (old.root.public.root_cert, mesh.authority.root.public.root_cert)
    for name in ("db", "web"):
        mesh.sources[name].change(roots_pem=both)
    mesh.sources["web"].change(leaf=mesh.authority.leaf("web"))  # new leaf against an old one
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"mixed") == b"mixed"
    await close(writer)


async def test_a_leaf_that_does_not_fit_its_key_leaves_the_old_one_in_service(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    good, other = mesh.authority.leaf("db"), mesh.authority.leaf("db")
    broken = type(good)(cert_pem=good.cert_pem, private_key_pem=other.private_key_pem)
    mesh.sources["db"].change(leaf=broken)
    assert mesh.proxies["db"].stats().events["tls", "material_rejected"] == 1
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"old") == b"old"
    await close(writer)


async def test_an_application_that_is_down_closes_the_connection(mesh: Mesh) -> None:
    port = await mesh.pair(1)  # nobody listens on port 1
    reader, writer = await connect(port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await close(writer)
    assert mesh.proxies["db"].stats().events["dial", "local_connect_failure"] == 1


async def test_an_upstream_without_endpoints_closes_the_connection(mesh: Mesh) -> None:
    upstream = UpstreamSpec(name="db", bind_port=-1)
    web = await mesh.sidecar("web", upstreams=[upstream])
    reader, writer = await connect(web.port(upstream.key))
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await close(writer)
    assert web.stats().events["dial", "no_healthy_endpoint"] == 1
    await until(lambda: web.stats().outbound_active == 0, "connection ended")


async def test_the_next_endpoint_is_dialled_when_one_is_down(mesh: Mesh) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app())
    upstream = UpstreamSpec(name="db", bind_port=-1)
    dead = Endpoint(address="127.0.0.1", port=1)
    web = await mesh.sidecar(
        "web", upstreams=[upstream], endpoints={upstream.key: (dead, endpoint(db))}
    )
    for _ in range(4):  # round robin begins at either of them
        reader, writer = await connect(web.port(upstream.key))
        assert await ask(reader, writer, b"hi") == b"hi"
        await close(writer)
    assert web.stats().events["dial", "connect_failure"] == 2


async def test_an_endpoint_of_another_service_gets_no_byte(mesh: Mesh) -> None:
    got = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.read())

    impostor = await mesh.sidecar("impostor", app_port=await mesh.app(listen))
    upstream = UpstreamSpec(name="db", bind_port=-1)
    web = await mesh.sidecar(
        "web", upstreams=[upstream], endpoints={upstream.key: (endpoint(impostor),)}
    )
    reader, writer = await connect(web.port(upstream.key))
    writer.write(b"secret")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await close(writer)
    assert web.stats().events["identity", "bad_san"] == 1
    assert not got


async def test_draining_lets_a_connection_finish_and_refuses_new_ones(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"one") == b"one"
    web = mesh.proxies["web"]
    draining = asyncio.get_running_loop().create_task(web.drain())
    await until(lambda: not web.listeners, "listeners are closed")
    assert await ask(reader, writer, b"two") == b"two"
    with pytest.raises(OSError):
        await connect(port)
    await close(writer)
    await asyncio.wait_for(draining, 5)


async def test_draining_ends_what_does_not_finish(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"one") == b"one"
    began = time.monotonic()
    await mesh.proxies["web"].drain()
    assert time.monotonic() - began < 3
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reader.readexactly(1), 5)
    await close(writer)


async def test_a_connection_over_the_limit_is_closed_at_once(mesh: Mesh) -> None:
    mesh.config = type(mesh.config)(connections_max=1, linger_s=0.3)
    db = await mesh.sidecar("db", app_port=await mesh.app())
    context = mesh.client_context(mesh.authority.leaf("web"))
    reader, writer = await asyncio.open_connection("127.0.0.1", db.port(PUBLIC), ssl=context)
    assert await ask(reader, writer, b"one") == b"one"
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await asyncio.open_connection("127.0.0.1", db.port(PUBLIC), ssl=context)
    assert db.stats().events["refused", "overflow"] == 1
    assert await ask(reader, writer, b"two") == b"two"
    await close(writer)


def tls_states() -> int:
    return sum(isinstance(each, ssl.SSLObject) for each in gc.get_objects())


async def test_half_a_hello_makes_no_tls_state_and_a_hello_in_pieces_is_one(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, handshake_timeout_s=60.0)
    db = await mesh.sidecar("db", app_port=await mesh.app(), default_allow=True)
    gc.collect()
    before = tls_states()
    writers = []
    for number in range(20):
        _, writer = await connect(db.port(PUBLIC))
        writer.write(b"\x16\x03\x01\x02\x00\x01"[:number])
        writers.append(writer)
    await until(lambda: db.handshakes.inbound.open == 20, "twenty have not said all")
    assert tls_states() == before
    for writer in writers:
        writer.transport.abort()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = mesh.client_context(mesh.authority.leaf("web"))
    client = context.wrap_bio(incoming, outgoing)
    reader, writer = await connect(db.port(PUBLIC))
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            break
        for byte in outgoing.read():
            writer.write(bytes((byte,)))
            await writer.drain()
        incoming.write(await asyncio.wait_for(reader.read(65_536), 20))
    client.write(b"whole")
    writer.write(outgoing.read())
    answer = b""
    while answer != b"whole":
        try:
            answer += client.read(5)
        except ssl.SSLWantReadError:
            incoming.write(await asyncio.wait_for(reader.read(65_536), 20))
    writer.transport.abort()


async def test_half_open_connections_are_bounded_and_keep_nobody_out(mesh: Mesh) -> None:
    mesh.config = replace(QUICK, handshakes_max=4, handshake_timeout_s=60.0)
    port = await mesh.pair(await mesh.app())
    db = mesh.proxies["db"]
    live = await connect(port)
    assert await ask(*live, b"one") == b"one"
    silent = [await connect(db.port(PUBLIC)) for _ in range(4)]
    await until(lambda: db.handshakes.inbound.open == 4, "four say nothing")
    assert "lictor_proxy_handshakes_active" in db.metrics()
    assert db.explain()["handshakes"] == {"under_way": 4, "most": {"127.0.0.1": 4}}
    context = mesh.client_context(mesh.authority.leaf("web"))
    reader, writer = await asyncio.open_connection("127.0.0.1", db.port(PUBLIC), ssl=context)
    assert await ask(reader, writer, b"two") == b"two", "somebody new gets in all the same"
    writer.transport.abort()
    assert db.stats().events["refused", "handshake_overflow"] == 1
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(silent[0][0].read(), 20)
    silent += [await connect(db.port(PUBLIC)) for _ in range(20)]
    await until(lambda: db.stats().events["refused", "handshake_overflow"] >= 20, "they make way")
    assert db.handshakes.inbound.open <= 4
    assert await ask(*live, b"three") == b"three"
    for _, writer in silent:
        writer.transport.abort()
    await until(lambda: db.handshakes.inbound.open == 0, "they are gone")
    assert db.explain()["denials"] == []
    live[1].close()


async def test_whoever_does_not_finish_a_handshake_is_reset_in_time(mesh: Mesh) -> None:
    """Also who has begun it in earnest: the time counts from the beginning."""
    mesh.config = replace(QUICK, handshake_timeout_s=0.5)
    db = await mesh.sidecar("db", app_port=await mesh.app())
    client = mesh.client_context(mesh.authority.leaf("web")).wrap_bio(
        ssl.MemoryBIO(), outgoing := ssl.MemoryBIO()
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    for begun in (b"", hello[:9], hello):
        reader, writer = await connect(db.port(PUBLIC))
        writer.write(begun)
        try:
            answer = await asyncio.wait_for(reader.read(), 20)
        except ConnectionResetError:
            answer = b""
        assert bool(answer) is (begun == hello), "then nothing more comes"
        writer.transport.abort()
    assert db.stats().events["handshake", "handshake_timeout"] == 3
    await until(lambda: db.handshakes.inbound.open == 0, "none is left")


async def test_a_unix_socket_upstream_gets_its_mode_and_a_stale_file_is_replaced(
    mesh: Mesh, tmp_path: object
) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app())
    path = os.path.join(str(tmp_path), "db.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    upstream = UpstreamSpec(name="db", socket_path=path, socket_mode=0o600)
    source_endpoints = {upstream.key: (endpoint(db),)}
    await mesh.sidecar("web", endpoints=source_endpoints)
    own = mesh.sources["web"].state.own
    mesh.sources["web"].change(own=replace(own, upstreams=(upstream,)))
    await until(lambda: mesh.proxies["web"].listeners[path].is_open, "socket listens")
    assert os.stat(path).st_mode & 0o777 == 0o600
    reader, writer = await asyncio.open_unix_connection(path)
    assert await ask(reader, writer, b"unix") == b"unix"
    await close(writer)


async def test_a_port_in_use_is_tried_again(mesh: Mesh) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app())
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        own = mesh.sources["db"].state.own
        mesh.sources["db"].change(own=replace(own, listen_port=taken))
        await until(lambda: bool(db.listeners[PUBLIC].error), "the bind fails")
    await until(lambda: db.port(PUBLIC) == taken, "the bind works")


async def test_a_health_check_that_connects_and_leaves_is_no_denial(mesh: Mesh) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app())
    _, writer = await connect(db.port(PUBLIC))
    await close(writer)
    await until(lambda: db.stats().events["handshake", "peer_gone"] == 1, "it is counted")
    await until(lambda: db.stats().inbound_active == 0, "connection ended")
    assert db.explain()["denials"] == []


async def test_with_an_expired_leaf_nobody_is_let_in(mesh: Mesh) -> None:
    db = await mesh.sidecar("db", app_port=await mesh.app(), leaf=mesh.authority.expired_leaf("db"))
    await refused(db.port(PUBLIC), mesh.client_context(mesh.authority.leaf("web")))
    assert db.stats().events["refused", "leaf_expired"] == 1


async def test_a_hundred_streams_arrive_whole_over_three_rotations(mesh: Mesh) -> None:
    # A hundred handshakes at once take their time on a busy machine.
    mesh.config = replace(
        mesh.config, handshake_timeout_s=30.0, local_connect_timeout_s=30.0,
        upstream_connect_timeout_s=30.0,
    )  # fmt: skip
    port = await mesh.pair(await mesh.app())
    blocks, rounds = [os.urandom(size) for size in (1, 12, 5_000, 70_000)], 12
    turns = 0

    async def stream() -> None:
        nonlocal turns
        reader, writer = await connect(port)
        try:
            for turn in range(rounds):
                block = blocks[turn % len(blocks)]
                assert await ask(reader, writer, block) == block
                turns += 1
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 30) == b""
        finally:
            await close(writer)

    async def rotate() -> None:
        for rotation in range(1, 4):
            await until(lambda share=rotation: turns >= share * 200, "traffic flows", 20)
            for name in ("db", "web"):
                mesh.sources[name].change(leaf=mesh.authority.leaf(name))

    async with asyncio.TaskGroup() as group:
        group.create_task(rotate())
        for _ in range(100):
            group.create_task(stream())
    assert turns == 100 * rounds
    for proxy in mesh.proxies.values():
        assert proxy.stats().leaf_rotations == 3
        await until(lambda each=proxy: not each.stats().inbound_active, "all have ended")
        assert not proxy.stats().events


@pytest.mark.parametrize("tunnel", ["auto", "off"])
async def test_an_application_may_be_told_who_each_connection_comes_from(tunnel: str) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(4096)
        while not data.endswith(b"hello"):
            data += await reader.read(4096)
        heard.put_nowait(data)
        writer.write(b"hello")
        await writer.drain()

    made = Mesh(replace(QUICK, tunnel=tunnel))
    async with made.stack:
        app_port = await made.app(app)
        db = await made.sidecar("db", app_port=app_port)
        own = made.sources["db"].state.own
        assert own is not None
        made.sources["db"].change(own=replace(own, app=replace(own.app, proxy_header=True)))
        spec = UpstreamSpec(name="db", bind_port=-1)
        web = await made.sidecar("web", upstreams=[spec], endpoints={spec.key: (endpoint(db),)})
        await until(lambda: web.port(spec.key) > 0, "web listens")
        reader, writer = await connect(web.port(spec.key))
        assert await ask(reader, writer, b"hello") == b"hello"
        data = await asyncio.wait_for(heard.get(), 30)
        preface = proxy_protocol.read(data)
        assert preface is not None and data[preface.size :] == b"hello"
        assert preface.source is not None and preface.source[0] == "127.0.0.1"
        assert preface.target == ("127.0.0.1", app_port)
        (kind, uri), = preface.tlvs  # fmt: skip
        assert kind == proxy_protocol.TLV_SPIFFE and uri.endswith(b"/svc/web")
        await close(writer)
