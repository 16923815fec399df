"""The TCP check: can a connection be opened. It is closed at once, nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from agent.definitions import CheckDefinition
from agent.local.checks.dial import dial_error, join_host_port, lookup_error, split_host_port
from agent.local.checks.probe import ProbeResult
from raftstore.records import CRITICAL, PASSING

#: Agent contract 1.1, seconds.
TIMEOUT_DEFAULT_S = 10.0


async def probe_tcp(check: CheckDefinition) -> ProbeResult:
    """Connect to ``check.tcp``."""
    try:
        host, port = split_host_port(check.tcp)
    except ValueError as error:
        return ProbeResult(CRITICAL, str(error))
    target = check.tcp
    try:
        async with asyncio.timeout(check.timeout_s or TIMEOUT_DEFAULT_S):
            addresses = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
            await _connect_any(addresses)
    except socket.gaierror:
        return ProbeResult(CRITICAL, lookup_error(host))
    except _Unreached as failure:
        return ProbeResult(CRITICAL, dial_error(failure.address, failure.error))
    except TimeoutError:
        return ProbeResult(CRITICAL, f"dial tcp {target}: i/o timeout", timed_out=True)
    except OSError as error:
        return ProbeResult(CRITICAL, dial_error(target, error))
    return ProbeResult(PASSING, f"TCP connect {target}: Success")


class _Unreached(Exception):
    """No address answered; the error is that of the first, as Go tells it."""

    def __init__(self, address: str, error: OSError) -> None:
        super().__init__(address)
        self.address = address
        self.error = error


async def _connect_any(
    addresses: Sequence[tuple[int, int, int, str, tuple[Any, ...]]],
) -> None:
    first: _Unreached | None = None
    loop = asyncio.get_running_loop()
    for family, kind, protocol, _, address in addresses:
        with contextlib.closing(socket.socket(family, kind, protocol)) as sock:
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
                return
            except OSError as error:
                shown = join_host_port(str(address[0]), int(str(address[1])))
                first = first or _Unreached(shown, error)
    raise first or OSError("no address")
