"""The HTTP API over TLS and on sockets of a path, with real certificates."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.certificates import TlsConfig
from agent.config.schema import UnixSockets
from agent.errors import ConfigError
from agent.http.faces import bind_path
from tests.agent.http.rig import Rig, make_config, small_limits
from tests.certificates import Issued, TestCA


def https(ca: TestCA, issued: Issued, **changes: object) -> TlsConfig:
    files: dict[str, object] = {
        "stanza": "https",
        "ca_file": str(ca.file),
        "cert_file": str(issued.cert),
        "key_file": str(issued.key),
    }
    return TlsConfig(**(files | changes))  # type: ignore[arg-type]


@pytest.fixture
def ca(tmp_path: Path) -> TestCA:
    return TestCA(tmp_path)


@pytest.fixture
async def secure(ca: TestCA) -> AsyncIterator[Rig]:
    limits = small_limits(
        https_handshake_timeout_s=0.3,
        http_max_conns_per_client=3,
        https_handshakes_per_client=2000.0,
    )
    config = make_config(
        port_https=0, https=https(ca, ca.server("s"), verify_incoming=True), limits=limits
    )
    running = await Rig(config).start()
    try:
        yield running
    finally:
        await running.stop()


def secure_port(rig: Rig) -> int:
    assert rig.server.faces is not None
    return rig.server.faces.secure_addresses[0][1]


def client_context(ca: TestCA, ours: Issued | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca.file))
    if ours is not None:
        context.load_cert_chain(ours.cert, ours.key)
    return context


async def ask(port: int, context: ssl.SSLContext) -> bytes:
    """The answer to a request; nothing if it was cut, in the handshake or (TLS 1.3) after it."""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
    except (ssl.SSLError, ConnectionError):
        return b""
    try:
        writer.write(b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return await asyncio.wait_for(reader.read(), 5)
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        writer.close()


async def test_the_api_is_served_over_tls_to_holders_of_a_certificate(
    secure: Rig, ca: TestCA
) -> None:
    port = secure_port(secure)
    got = await ask(port, client_context(ca, ca.client("c")))
    assert got.startswith(b"HTTP/1.1 200 OK") and got.endswith(b'"127.0.0.1:8300"')
    assert await ask(port, client_context(ca)) == b""
    assert secure.server.stats().tls_refused["handshake no_cert"] == 1


async def test_plain_http_and_old_ciphers_are_refused(secure: Rig, ca: TestCA) -> None:
    port = secure_port(secure)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    weak = client_context(ca, ca.client("c"))
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    assert await ask(port, weak) == b""
    assert secure.server.stats().tls_refused["plain connection"] == 1


async def test_who_says_nothing_is_cut_and_counts_for_its_address(secure: Rig) -> None:
    port = secure_port(secure)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
    assert await asyncio.wait_for(silent[3][0].read(), 5) == b""  # one more than it may have
    for reader, _ in silent[:3]:
        assert await asyncio.wait_for(reader.read(), 5) == b""  # its time is over
    for _, writer in silent:
        writer.close()
    refused = secure.server.stats().tls_refused
    assert (refused["connections per client"], refused["handshake timeout"]) == (1, 3)


async def test_a_new_certificate_is_shown_without_a_restart(secure: Rig, ca: TestCA) -> None:
    port, ours = secure_port(secure), client_context(ca, ca.client("c"))
    before = await shown(port, ours)
    renewed = replace(secure.config, https=https(ca, ca.server("renewed"), verify_incoming=True))
    put_in_force = secure.server.prepare(renewed)
    assert await shown(port, ours) == before
    put_in_force()
    assert await shown(port, ours) != before
    broken = replace(renewed, https=replace(renewed.https, key_file="/nowhere"))
    with pytest.raises(ConfigError, match=r"tls.https.key_file: /nowhere"):
        secure.server.prepare(broken)
    assert await shown(port, ours) != before


async def shown(port: int, context: ssl.SSLContext) -> bytes:
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


async def test_without_a_certificate_there_is_no_https_but_all_else(ca: TestCA) -> None:
    rig = await Rig(make_config(port_https=0)).start()
    try:
        assert rig.server.addresses != () and not rig.server.faces.secure_addresses
    finally:
        await rig.stop()


async def test_a_socket_of_a_path_serves_the_api_and_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    config = make_config(
        addresses_http=(f"unix://{path}", "127.0.0.1"),
        unix_sockets=UnixSockets(mode="0640", user=str(os.getuid()), group=str(os.getgid())),
        limits=small_limits(http_max_conns_per_client=2),
    )
    rig = await Rig(config).start()
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        several = [await asyncio.open_unix_connection(str(path)) for _ in range(4)]
        for reader, writer in several:
            writer.write(b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
        for _, writer in several:
            writer.close()
    finally:
        await rig.stop()
    assert not path.exists()


def test_a_socket_is_its_owners_alone_where_nothing_is_said(tmp_path: Path) -> None:
    bind_path(str(tmp_path / "a"), UnixSockets()).close()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("precious")
    with pytest.raises(OSError):
        bind_path(str(tmp_path / "a"), UnixSockets())
    assert (tmp_path / "a").read_text() == "precious"


@pytest.mark.parametrize("what", ["user", "group"])
def test_a_stranger_cannot_own_a_socket(tmp_path: Path, what: str) -> None:
    with pytest.raises(ConfigError, match=f'unix_sockets.{what}: no {what} "nobody-at-all"'):
        bind_path(str(tmp_path / "a"), UnixSockets(**{what: "nobody-at-all"}))
