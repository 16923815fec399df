"""The TCP check against real sockets."""

from __future__ import annotations

import asyncio
import socket

from agent.definitions import CheckDefinition
from agent.local.checks.tcp import probe_tcp


def check(target: str, timeout_s: float = 0.0) -> CheckDefinition:
    return CheckDefinition(tcp=target, interval_s=1.0, timeout_s=timeout_s)


async def test_a_listening_port_passes() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        result = await probe_tcp(check(target))
    assert (result.status, result.output) == ("passing", f"TCP connect {target}: Success")


async def test_a_closed_port_is_critical_in_gos_words() -> None:
    result = await probe_tcp(check("127.0.0.1:1"))
    assert result.status == "critical" and not result.timed_out
    assert result.output == "dial tcp 127.0.0.1:1: connect: connection refused"


async def test_a_full_backlog_runs_into_the_timeout() -> None:
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        filler.connect(address)
        target = f"127.0.0.1:{address[1]}"
        results = [await probe_tcp(check(target, 0.2)) for _ in range(3)]
    assert results[-1].timed_out
    assert results[-1].output == f"dial tcp {target}: i/o timeout"


async def test_an_address_without_port_is_critical() -> None:
    result = await probe_tcp(check("x"))
    assert result.output == "dial tcp: address x: missing port in address"
