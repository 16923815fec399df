"""A process that answers DNS over UDP beside the agent, for hosts that need more than one core.

It shares the agent's port (SO_REUSEPORT: the system spreads clients over the sockets), gives out
what is ready, and asks the agent for everything else. The agent says when something that was ready
is not any more; besides, nothing is given out for longer than a second, so a worker that is not
heard any more does no harm. It ends with the agent.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from collections.abc import Callable
from typing import cast

import uvloop

from agent.dns.worker_frames import Asked, BrokenFrame, Drop, Frames, Served, Told, encode

#: Ready replies are given out for so many seconds, then asked for anew.
KEPT_S = 1.0
#: Questions that wait for the agent; what is more gets no reply, as from a full socket.
WAITING_MAX = 4096
#: Questions with ready replies; when there are more, all are asked for anew.
KEPT_MAX = 20_000
UDP_RECEIVE_BUFFER_BYTES = 1024 * 1024

Address = tuple[str, int]
Send = Callable[[bytes, Address], None]


class Worker:
    """What is ready, and who waits."""

    def __init__(self, to_agent: Callable[[bytes], None]) -> None:
        self._to_agent = to_agent
        self._number = 0
        self._frames = Frames()
        self._waiting: dict[int, tuple[bytes, Address, Send]] = {}
        #: Packet without its id -> gives the next reply without its id.
        self.hot: dict[bytes, Callable[[], bytes]] = {}
        #: The same keys, those of the last tick and those before it.
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self.hits = 0

    def ask(self, data: bytes, addr: Address, send: Send) -> None:
        """Have the agent answer a packet."""
        if len(self._waiting) >= WAITING_MAX:
            return
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._waiting[self._number] = (data, addr, send)
        self._to_agent(encode(Asked(self._number, addr[0], data)))

    def heard(self, data: bytes) -> None:
        """The agent says something. Raises BrokenFrame."""
        for frame in self._frames.feed(data):
            if isinstance(frame, Told):
                self._told(frame)
            elif isinstance(frame, Drop):
                if frame.key:
                    self.hot.pop(frame.key, None)
                else:
                    self.hot.clear()

    def _told(self, frame: Told) -> None:
        waiting = self._waiting.pop(frame.number, None)
        if waiting is None or not frame.replies:
            return
        data, addr, send = waiting
        if frame.keep:
            if len(self.hot) >= KEPT_MAX:
                self.hot.clear()
            self.hot[data[2:]] = itertools.cycle(frame.replies).__next__
            self._young.add(data[2:])
        send(data[:2] + frame.replies[-1], addr)

    def tick(self) -> None:
        """Half of ``KEPT_S`` has passed: forget what is older than that, and tell what was done."""
        for key in self._old:
            self.hot.pop(key, None)
        self._old, self._young = self._young, set()
        if self.hits:
            self._to_agent(encode(Served(self.hits)))
            self.hits = 0


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._hot = worker.hot

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        ready = self._hot.get(data[2:])
        if ready is None:
            self._worker.ask(data, addr, self._transport.sendto)
            return
        self._worker.hits += 1
        self._transport.sendto(data[:2] + ready(), addr)


class _Agent(asyncio.Protocol):
    """The stream to the agent; its end is ours."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended
        self.worker: Worker | None = None

    def data_received(self, data: bytes) -> None:
        assert self.worker is not None, "nothing is asked before there is a worker"
        try:
            self.worker.heard(data)
        except BrokenFrame:
            self._ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


async def serve(stream: socket.socket, addresses: list[Address]) -> None:
    """Answer on these addresses until the agent is gone."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    transport, agent = await loop.create_connection(lambda: _Agent(ended), sock=stream)
    worker = agent.worker = Worker(transport.write)
    for host, port in addresses:
        udp, _ = await loop.create_datagram_endpoint(
            lambda: _Udp(worker), local_addr=(host, port), reuse_port=True
        )
        raw = udp.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_RECEIVE_BUFFER_BYTES)
    transport.write(encode(Served(0)))  # ready

    def tick() -> None:
        worker.tick()
        loop.call_later(KEPT_S / 2, tick)

    tick()
    await ended.wait()


def main() -> None:
    """``worker FD HOST PORT [HOST PORT...]``: the stream's descriptor, and where to listen."""
    descriptor, *words = sys.argv[1:]
    addresses = [(words[n], int(words[n + 1])) for n in range(0, len(words), 2)]
    stream = socket.socket(fileno=int(descriptor))
    stream.setblocking(False)
    uvloop.run(serve(stream, addresses))
    os._exit(0)


if __name__ == "__main__":
    main()
