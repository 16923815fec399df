"""TLS on the server port, on real sockets: who gets through, and what it costs who does not."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.backend.rpc.admission import HandshakeRates
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.backend.rpc.server import ServerPort
from agent.backend.rpc.tls import RpcTls
from agent.certificates import TlsConfig
from agent.errors import ForwardError
from tests.agent.backend.rpc.test_server import Peers, config, handler, until
from tests.agent.backend.rpc.test_tls import CLIENT, SERVER
from tests.agent.backend.rpc.test_tls import config as files
from tests.certificates import Issued, TestCA


class Rig:
    """A server port with TLS, and what a test dials it with."""

    def __init__(self, folder: Path) -> None:
        self.ca = TestCA(folder)
        self.tls = RpcTls(files(self.ca, self.ca.server("s"), verify_incoming=True), SERVER)
        self.port = ServerPort(
            config(handshakes_max=3, conns_per_client_max=10),
            peers=Peers(),
            handler=handler,
            tls=self.tls,
        )

    def context(self, issued: Issued | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca.file))
        if issued is not None:
            context.load_cert_chain(issued.cert, issued.key)
        return context

    async def ask(self, tls: TlsConfig) -> bytes:
        pool = RpcPool(datacenter="dc1", node="c1", limits=RpcLimits(), tls=RpcTls(tls, CLIENT))
        try:
            return await pool.call(self.port.address, "echo", b"x", timeout_s=5)
        finally:
            await pool.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the other side closes or resets."""
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except OSError:
        return b""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    await rig.port.start()
    yield rig
    await rig.port.stop()


async def test_requests_go_over_tls_and_the_server_is_known_by_name(rig: Rig) -> None:
    ours = files(rig.ca, rig.ca.client("c"), verify_server_hostname=True)
    assert await rig.ask(ours) == b"x"
    rig.tls.reload(files(rig.ca, rig.ca.server("again"), verify_incoming=True))
    assert await rig.ask(ours) == b"x"


async def test_a_server_without_the_name_is_refused_by_who_asks_for_it(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    # A client's certificate on the port: its holder plays server.
    tls = RpcTls(files(ca, ca.client("evil")), CLIENT)
    port = ServerPort(config(), peers=Peers(), handler=handler, tls=tls)
    await port.start()
    rig = Rig(tmp_path)
    rig.port = port
    with pytest.raises(ForwardError, match="verify failed"):
        await rig.ask(
            TlsConfig(ca_file=str(ca.file), verify_outgoing=True, verify_server_hostname=True)
        )
    await port.stop()


async def test_plain_is_refused_and_counted(rig: Rig) -> None:
    for data in (b"Lhello", b"Rhello"):
        reader, writer = await asyncio.open_connection(*rig.port.address)
        writer.write(data)
        assert await rest(reader) == b""
        writer.close()
    assert rig.port.stats.refused["plain connection"] == 2


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("none", "handshake no_cert"),
        ("stranger", "handshake unknown_ca"),
        ("expired", "handshake expired"),
        ("future", "handshake expired"),
        ("wrong use", "handshake bad_certificate"),
    ],
)
async def test_certificates_that_nobody_should_take(
    rig: Rig, tmp_path: Path, kind: str, reason: str
) -> None:
    (tmp_path / "other").mkdir()
    name = ("server.dc1.consul",)
    issued = {
        "none": lambda: None,
        "stranger": lambda: TestCA(tmp_path / "other", "stranger").server("x"),
        "expired": lambda: rig.ca.issue("x", dns=name, days=(-9, -1)),
        "future": lambda: rig.ca.issue("x", dns=name, days=(1, 9)),
        "wrong use": lambda: rig.ca.issue("x", dns=name, uses=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    }[kind]()
    with contextlib.suppress(OSError):  # the alert may come first
        reader, writer = await asyncio.open_connection(
            *rig.port.address, ssl=rig.context(issued), server_hostname="server.dc1.consul"
        )
        writer.write(b"L")
        assert await rest(reader) == b""
        writer.close()
        await writer.wait_closed()
    await until(lambda: rig.port.stats.refused[reason] == 1)
    assert not rig.port.stats.connections


async def test_half_open_handshakes_are_bounded_in_number_and_time(rig: Rig) -> None:
    rig.port._listener._known = {"127.9.9.9"}.__contains__
    writers = []
    for data in (b"", b"\x16", b"\x16\x03\x01", b"\x16", b""):
        _, writer = await asyncio.open_connection(*rig.port.address)
        writer.write(data)
        writers.append(writer)
    await until(lambda: rig.port.stats.refused["handshakes under way"] == 2)
    # The places are taken, but not for servers.
    _, writer = await asyncio.open_connection(
        *rig.port.address,
        local_addr=("127.9.9.9", 0),
        ssl=rig.context(rig.ca.server("other")),
        server_hostname="localhost",
    )
    writers.append(writer)
    await until(lambda: rig.port.stats.refused["handshake timeout"] == 3)
    assert await rig.ask(files(rig.ca, rig.ca.client("c"))) == b"x"
    for writer in writers:
        writer.close()


async def test_bytes_that_are_no_handshake_cost_the_connection_only(rig: Rig) -> None:
    reader, writer = await asyncio.open_connection(*rig.port.address)
    writer.write(b"\x16\x03\x01\x00\x05rubbish")
    await rest(reader)
    writer.close()
    await until(lambda: sum(rig.port.stats.refused.values()) == 1)
    assert await rig.ask(files(rig.ca, rig.ca.client("c"))) == b"x"


async def test_tls_on_a_plain_port_is_counted() -> None:
    port = ServerPort(config(), peers=Peers(), handler=handler)
    await port.start()
    reader, writer = await asyncio.open_connection(*port.address)
    writer.write(b"\x16\x03\x01")
    assert await rest(reader) == b""
    writer.close()
    assert port.stats.refused["tls is not configured"] == 1
    await port.stop()


async def test_a_client_that_reads_no_answers_is_cut() -> None:
    port = ServerPort(
        replace(config(), write_buffer_max=1 << 16, inflight_max=4096),
        peers=Peers(),
        handler=handler,
    )
    await port.start()
    pool = RpcPool(datacenter="dc1", node="c1", limits=RpcLimits())
    await pool.call(port.address, "echo", b"", timeout_s=5)
    connection = next(iter(pool._open.values())).result()
    assert connection._transport is not None
    connection._transport.pause_reading()
    calls = [pool.call(port.address, "echo", b"x" * (1 << 19), timeout_s=20) for _ in range(40)]
    gathered = asyncio.gather(*calls, return_exceptions=True)
    await until(lambda: port.stats.refused["client does not read"] > 0)
    if connection._transport is not None:
        connection._transport.resume_reading()
    results = await gathered
    assert any(isinstance(result, ForwardError) for result in results)
    await pool.close()
    await port.stop()


async def test_handshakes_have_a_rate_that_servers_are_held_to_alone(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    tls = RpcTls(files(ca, ca.server("s"), verify_incoming=True), SERVER)
    servers = {"127.9.0.9"}
    port = ServerPort(
        config(rates=HandshakeRates(per_client=0.01, client_burst=2, in_all=0.01, burst=4)),
        peers=Peers(),
        handler=handler,
        tls=tls,
        known=servers.__contains__,
    )
    await port.start()

    async def knock(host: str) -> None:
        reader, writer = await asyncio.open_connection(*port.address, local_addr=(host, 0))
        writer.write(b"\x16\x03\x01\x00\x05rubbish")
        await rest(reader)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    for host in ("127.9.0.1", "127.9.0.1", "127.9.0.1", "127.9.0.2", "127.9.0.3", "127.9.0.4"):
        await knock(host)
    assert port.stats.refused["handshakes of one client"] == 1
    assert port.stats.refused["handshakes in all"] == 1
    await knock("127.9.0.9")
    assert port.stats.refused["handshakes in all"] == 1
    # Those that are cut off by the rate have cost no handshake.
    failed = sum(n for reason, n in port.stats.refused.items() if reason.startswith("handshake "))
    assert failed == 5
    await port.stop()
