"""Keeps the worker processes of DNS running, answers what they ask, and tells them what moved."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from agent.dns.worker_frames import Asked, BrokenFrame, Drop, Frames, Served, Told, encode
from agent.tasks import TaskOwner

log = logging.getLogger("lictor.agent.dns.workers")

#: A worker that ended is started again after so many seconds.
RESTART_S = 1.0
STOP_S = 5.0
#: A worker that reads nothing is given up when so much waits for it.
BACKLOG_BYTES_MAX = 32 * 1024 * 1024

#: Answers a packet of a client: whether the replies may be kept, and the replies without their id,
#: at once or later.
Answer = Callable[[bytes, str, Callable[[bool, tuple[bytes, ...]], None]], None]


@dataclass(slots=True)
class WorkerStats:
    """Counters since the start; ``running_current`` is a level."""

    running_current: int = 0
    started: int = 0
    ended: int = 0
    asked: int = 0
    dropped: int = 0


class Workers:
    """All worker processes of one DNS face."""

    def __init__(
        self, count: int, *, answer: Answer, served: Callable[[int], None], stats: WorkerStats
    ) -> None:
        """``served`` is told how many ready replies were given out."""
        self._count = count
        self.answer = answer
        self.served = served
        self.stats = stats
        self._owner = TaskOwner()
        self._links: set[_Link] = set()

    async def start(self, addresses: tuple[tuple[str, int], ...]) -> None:
        """Start them; returns when each has its sockets."""
        ready = [asyncio.get_running_loop().create_future() for _ in range(self._count)]
        for number, future in enumerate(ready):
            self._owner.spawn(self._keep(addresses, future), name=f"dns worker {number}")
        await asyncio.gather(*ready)

    def drop(self, key: bytes) -> None:
        """Replies to this question are none any more, b"" for all questions."""
        if not self._links:
            return
        frame = encode(Drop(key))
        for link in tuple(self._links):
            link.write(frame)
        self.stats.dropped += 1

    async def stop(self) -> None:
        """End them."""
        await self._owner.close()

    async def _keep(
        self, addresses: tuple[tuple[str, int], ...], ready: asyncio.Future[None]
    ) -> None:
        while True:
            try:
                await self._run(addresses, ready)
            except OSError as error:
                log.error("a DNS worker cannot be started error=%s", error)
                if not ready.done():
                    ready.set_exception(error)
            await asyncio.sleep(RESTART_S)

    async def _run(
        self, addresses: tuple[tuple[str, int], ...], ready: asyncio.Future[None]
    ) -> None:
        """One life of one worker."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        words = [word for host, port in addresses for word in (host, str(port))]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "agent.dns.worker", str(theirs.fileno()), *words,
                pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        transport, link = await loop.create_connection(lambda: _Link(self, ready), sock=ours)
        self.stats.started += 1
        self.stats.running_current += 1
        try:
            await process.wait()
            log.warning("a DNS worker ended status=%s", process.returncode)
            if not ready.done():
                ready.set_exception(OSError("a DNS worker did not start"))
        finally:
            self.stats.running_current -= 1
            self.stats.ended += 1
            self._links.discard(link)
            transport.abort()
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(STOP_S):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()

    def joined(self, link: _Link) -> None:
        self._links.add(link)


class _Link(asyncio.Protocol):
    """The stream to one worker."""

    def __init__(self, workers: Workers, ready: asyncio.Future[None]) -> None:
        self._workers = workers
        self._ready = ready
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        workers = self._workers
        try:
            for frame in self._frames.feed(data):
                if isinstance(frame, Asked):
                    workers.stats.asked += 1
                    workers.answer(frame.packet, frame.client, self._teller(frame.number))
                elif isinstance(frame, Served):
                    workers.served(frame.count)
                    workers.joined(self)
                    if not self._ready.done():
                        self._ready.set_result(None)
        except BrokenFrame:
            self._abort()

    def _teller(self, number: int) -> Callable[[bool, tuple[bytes, ...]], None]:
        return lambda keep, replies: self.write(encode(Told(number, keep, replies)))

    def write(self, frame: bytes) -> None:
        """Send, unless the worker is gone or does not read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            self._abort()
        else:
            transport.write(frame)

    def _abort(self) -> None:
        """The worker ends when its stream does, and another is started."""
        if self._transport is not None:
            self._transport.abort()
