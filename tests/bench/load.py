"""A load generator that costs little: keep-alive HTTP clients and UDP questioners on one loop.

It runs in a process of its own and shares the machine's cores with what it measures, so its figures
are worth something only beside a floor measured the same way in the same run.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """What a run gave: operations per second and latencies in milliseconds.

    ``cpu_us``: processor time of each process per operation, in microseconds, where it was taken.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int = 0
    count: int = 0
    cpu_us: tuple[float, ...] = ()


def summarize(latencies_s: list[float], seconds: float, errors: int = 0) -> Rate:
    """Rate and percentiles of a run."""
    ordered = sorted(latencies_s)
    if not ordered:
        return Rate(0.0, 0.0, 0.0, errors)
    return Rate(
        len(ordered) / seconds,
        ordered[len(ordered) // 2] * 1e3,
        ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e3,
        errors,
        len(ordered),
    )


class _HttpClient(asyncio.Protocol):
    """Sends the next request when the answer to the last one is complete."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._next()

    def _next(self) -> None:
        self._sent_at = time.perf_counter()
        assert self._transport is not None
        self._transport.write(self._run.request())

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = buffer[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(buffer) < head + 4 + length:
            return
        self._buffer = b""
        run = self._run
        if buffer[9:12] == b"200":
            run.latencies.append(time.perf_counter() - self._sent_at)
        else:
            run.errors += 1
        if time.perf_counter() < run.until:
            self._next()
        else:
            assert self._transport is not None
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.ended()


class _Run:
    def __init__(self, clients: int, until: float, request: Callable[[], bytes]) -> None:
        self.request = request
        self.until = until
        self.latencies: list[float] = []
        self.errors = 0
        self._left = clients
        self.done = asyncio.get_running_loop().create_future()

    def ended(self) -> None:
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


async def http_rate(
    address: tuple[str, int], request: Callable[[], bytes], *, clients: int, seconds: float
) -> Rate:
    """Requests per second of ``clients`` keep-alive connections."""
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    run = _Run(clients, started + seconds, request)
    for _ in range(clients):
        await loop.create_connection(lambda: _HttpClient(run), *address)
    async with asyncio.timeout(seconds + 20):
        await run.done
    return summarize(run.latencies, time.perf_counter() - started, run.errors)


def http_request(method: str, path: str, host: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    length = f"Content-Length: {len(body)}\r\n" if body or method == "PUT" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode() + body


class _UdpClient(asyncio.DatagramProtocol):
    """Keeps a fixed number of questions under way."""

    def __init__(self, question: bytes, window: int, until: float) -> None:
        self._question = question
        self._window = window
        self._until = until
        self._number = 0
        self._sent: dict[bytes, float] = {}
        self.latencies: list[float] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        for _ in range(self._window):
            self._ask()

    def _ask(self) -> None:
        self._number = (self._number + 1) & 0xFFFF
        identity = self._number.to_bytes(2, "big")
        self._sent[identity] = time.perf_counter()
        assert self.transport is not None
        self.transport.sendto(identity + self._question)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        now = time.perf_counter()
        sent = self._sent.pop(data[:2], None)
        if sent is not None:
            self.latencies.append(now - sent)
        if now < self._until:
            self._ask()


async def udp_rate(
    address: tuple[str, int], question: bytes, *, window: int, seconds: float
) -> Rate:
    """Questions per second; ``question`` is a packet without its two identity bytes."""
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    transport, client = await loop.create_datagram_endpoint(
        lambda: _UdpClient(question, window, started + seconds), remote_addr=address
    )
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    await asyncio.sleep(seconds + 0.2)
    transport.close()
    return summarize(client.latencies, seconds)
