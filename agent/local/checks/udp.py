"""The UDP check: a datagram is sent, and silence is taken for health (agent contract 1.1).

Only a refusal that the network reports, or a failure to send, is critical: most UDP services answer
no datagram that they do not understand.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from agent.definitions import CheckDefinition
from agent.local.checks.dial import dial_error, join_host_port, lookup_error, split_host_port
from agent.local.checks.probe import ProbeResult
from raftstore.records import CRITICAL, PASSING

#: Agent contract 1.1, seconds.
TIMEOUT_DEFAULT_S = 10.0


class _Listener(asyncio.DatagramProtocol):
    """Ends with the first reply or the first refusal."""

    def __init__(self, heard: asyncio.Future[OSError | None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._end(None)

    def error_received(self, exc: Exception) -> None:
        self._end(exc if isinstance(exc, OSError) else OSError(str(exc)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc if isinstance(exc, OSError) else None)

    def _end(self, result: OSError | None) -> None:
        if not self._heard.done():
            self._heard.set_result(result)


async def probe_udp(check: CheckDefinition) -> ProbeResult:
    """Send a datagram to ``check.udp`` and wait for a reply, a refusal or the end of the time."""
    target, loop = check.udp, asyncio.get_running_loop()
    try:
        host, port = split_host_port(target, "udp")
    except ValueError as error:
        return ProbeResult(CRITICAL, str(error))
    heard: asyncio.Future[OSError | None] = loop.create_future()
    transport: asyncio.DatagramTransport | None = None
    try:
        async with asyncio.timeout(check.timeout_s or TIMEOUT_DEFAULT_S):
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Listener(heard), remote_addr=(host, port)
            )
            transport.sendto(b"\n")
            refused = await heard
    except TimeoutError:
        if transport is None:
            return ProbeResult(CRITICAL, f"dial udp {target}: i/o timeout", timed_out=True)
        return ProbeResult(PASSING, _success(target))
    except (socket.gaierror, UnicodeError):
        return ProbeResult(CRITICAL, lookup_error(host, "udp"))
    except OSError as error:
        return ProbeResult(CRITICAL, dial_error(target, error, "udp"))
    finally:
        if transport is not None:
            transport.abort()
    if refused is None:
        return ProbeResult(PASSING, _success(target))
    return ProbeResult(CRITICAL, f"read udp {join_host_port(host, port)}: {_word(refused)}")


def _success(target: str) -> str:
    return f"UDP connect {target}: Success"


def _word(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "read: connection refused"
    return error.strerror or str(error)
