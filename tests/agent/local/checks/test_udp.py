"""The UDP check against real sockets."""

from __future__ import annotations

import asyncio
import socket

from agent.definitions import CheckDefinition
from agent.local.checks.udp import probe_udp


def check(target: str, timeout_s: float = 5.0) -> CheckDefinition:
    return CheckDefinition(udp=target, interval_s=1.0, timeout_s=timeout_s)


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        self.transport.sendto(data, addr)


async def test_a_reply_passes_at_once() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    target = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    result = await probe_udp(check(target))
    transport.close()
    assert (result.status, result.output) == ("passing", f"UDP connect {target}: Success")


async def test_silence_passes_when_the_time_is_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        result = await probe_udp(check(target, 0.1))
    assert (result.status, result.timed_out) == ("passing", False)


async def test_a_refusal_is_critical() -> None:
    result = await probe_udp(check("127.0.0.1:1"))
    assert result.status == "critical"
    assert result.output == "read udp 127.0.0.1:1: read: connection refused"


async def test_an_address_without_port_is_critical() -> None:
    result = await probe_udp(check("x"))
    assert result.output == "dial udp: address x: missing port in address"


async def test_a_name_without_address_is_critical() -> None:
    result = await probe_udp(check("no-such-host.invalid:53"))
    assert (result.status, result.output) == (
        "critical",
        "dial udp: lookup no-such-host.invalid: no such host",
    )
