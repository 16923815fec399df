"""The HTTP/2 ping check against real servers, with and without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from agent.definitions import CheckDefinition
from agent.local.checks.contexts import Contexts
from agent.local.checks.h2ping import PROTOCOL, probe_h2ping
from tests.agent.local.checks.http2_server import http2_server
from tests.certificates import TestCA


def check(target: str, **fields) -> CheckDefinition:
    return CheckDefinition(h2ping=target, interval_s=1.0, **{"timeout_s": 5.0, **fields})


def server_context(tmp_path, *protocols: str) -> ssl.SSLContext:
    issued = TestCA(tmp_path).issue("h2.test", dns=("h2.test",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.cert, issued.key)
    context.set_alpn_protocols(list(protocols))
    return context


async def over_tls(target: str):
    wanted = check(target, tls_skip_verify=True)
    return await probe_h2ping(wanted, await Contexts(None).of(wanted, PROTOCOL))


async def test_a_ping_is_answered_in_clear_text() -> None:
    async with http2_server() as target:
        result = await probe_h2ping(check(target, h2ping_use_tls=False), None)
    assert (result.status, result.output) == ("passing", "HTTP2 ping was successful")


async def test_a_ping_is_answered_over_tls(tmp_path) -> None:
    async with http2_server(context=server_context(tmp_path, "h2")) as target:
        result = await over_tls(target)
    assert (result.status, result.output) == ("passing", "HTTP2 ping was successful")


async def test_a_server_that_speaks_only_http_1_is_critical(tmp_path) -> None:
    async with http2_server(context=server_context(tmp_path, "http/1.1")) as target:
        result = await over_tls(target)
    assert result.status == "critical"
    assert result.output.startswith(f"Failed to dial to {target}: ")


async def test_what_does_not_speak_tls_is_told_so() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        result = await over_tls(target)
    words = "tls: first record does not look like a TLS handshake"
    assert (result.status, result.output) == ("critical", f"Failed to dial to {target}: {words}")


async def test_a_closed_port_is_critical() -> None:
    result = await over_tls("127.0.0.1:1")
    text = "Failed to dial to 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"
    assert (result.status, result.output) == ("critical", text)


async def test_a_mute_server_fails_the_ping() -> None:
    async with http2_server(mute=True) as target:
        result = await probe_h2ping(check(target, timeout_s=0.2), None)
    assert result.timed_out and result.output == "HTTP2 ping failed: context deadline exceeded"


async def test_what_is_no_http_2_fails_the_ping() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SMTP ready, and more than nine bytes of it\r\n")
        with contextlib.suppress(asyncio.CancelledError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        result = await probe_h2ping(check(target), None)
    assert result.status == "critical" and result.output.startswith("HTTP2 ping failed: http2: ")
