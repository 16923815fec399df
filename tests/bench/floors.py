"""Floors: the least that could be done for each kind of work, on this machine, in this run.

``python -m tests.bench.floors http|udp ADDRESS PORT`` prints a line when it serves, and serves
until it is killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from aiohttp import web


async def serve_http(address: str, port: int) -> None:
    """A bare aiohttp application with one route and a fixed answer."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b'{"ok":true}', content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)  # type: ignore[attr-defined]


async def serve_udp(address: str, port: int) -> None:
    """A bare UDP echo."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(_Echo, local_addr=(address, port))
    print("ready", flush=True)
    await asyncio.Event().wait()


def fsync_ms(rounds: int = 200) -> float:
    """Median milliseconds of one synced 4 KiB write into existing space."""
    with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
        file.write(b"\0" * 4096 * 16)
        file.flush()
        os.fsync(file.fileno())
        times = []
        for number in range(rounds):
            started = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 4096, 4096 * (number % 16))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return sorted(times)[rounds // 2] * 1e3


if __name__ == "__main__":
    kind, host, number = sys.argv[1:4]
    uvloop.run({"http": serve_http, "udp": serve_udp}[kind](host, int(number)))
