"""The process between the hosts of forwarding.py: it listens at their faces and carries on.

Arguments: seed, number of hosts, the first three bytes of their addresses, and the ports. Orders
come as in cable.py, and ``{"process": [host, id]}`` says what runs on a host. The first answer is
``done`` once everything listens, or says why it cannot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
from dataclasses import dataclass, field
from typing import cast

from jepsen_lite.forwarding import FACE
from jepsen_lite.links import Links
from jepsen_lite.owners import owner_of

_CHUNK = 65_536
#: Chunks of a stream on their way; beyond it the sender waits, as for a full window.
_CHUNKS_MAX = 32
#: Datagrams that wait for their time; beyond it they are lost.
_DATAGRAMS_MAX = 20_000
#: When what a link lost of a stream is sent again, at first and at most (RFC 6298 has 1 s and 60 s;
#: Linux begins with 0.2).
_AGAIN_S, _AGAIN_MAX_S = 0.2, 1.0


@dataclass(slots=True)
class Hosts:
    """Who is who, and what their links do."""

    prefix: str
    size: int
    links: Links
    processes: dict[int, int] = field(default_factory=dict)

    def address(self, host: int) -> str:
        return f"{self.prefix}.{host}"

    def face(self, host: int) -> str:
        return f"{self.prefix}.{FACE + host}"

    def numbered(self, address: str) -> int | None:
        """The host with this address of its own."""
        prefix, _, number = address.rpartition(".")
        known = prefix == self.prefix and number.isdigit() and 1 <= int(number) <= self.size
        return int(number) if known else None

    async def passage(self, source: int, target: int, size: int) -> float:
        """Until a link lets so many bytes of a stream through; returns when they arrive."""
        again_s = _AGAIN_S
        while True:
            now = asyncio.get_running_loop().time()
            at = self.links.deliver_at(now, source, target, size)
            if at is not None:
                return at
            await asyncio.sleep(again_s)
            again_s = min(2 * again_s, _AGAIN_MAX_S)


class Datagrams(asyncio.DatagramProtocol):
    """What comes to one port of one face. It goes on from the face of who sent it, so that whoever
    answers answers there."""

    def __init__(self, hosts: Hosts, target: int, port: int, faces: dict[int, Datagrams]) -> None:
        self._hosts = hosts
        self._target = target
        self._port = port
        self._faces = faces
        self._waiting = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        source = self._hosts.numbered(addr[0])
        if source is None or self._waiting >= _DATAGRAMS_MAX:
            return
        loop = asyncio.get_running_loop()
        at = self._hosts.links.deliver_at(loop.time(), source, self._target, len(data))
        if at is None:
            return
        self._waiting += 1
        loop.call_at(at, self._deliver, source, data)

    def _deliver(self, source: int, data: bytes) -> None:
        self._waiting -= 1
        self._faces[source].send(data, self._hosts.address(self._target), self._port)

    def send(self, data: bytes, address: str, port: int) -> None:
        assert self._transport is not None
        self._transport.sendto(data, (address, port))


class Streams:
    """Connections to one port of one face."""

    def __init__(self, hosts: Hosts, target: int, port: int) -> None:
        self._hosts = hosts
        self._target = target
        self._port = port

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection until both its directions have ended."""
        try:
            source = owner_of(
                writer.get_extra_info("peername"),
                writer.get_extra_info("sockname"),
                self._hosts.processes,
            )
            if source is None:
                return  # of somebody who was killed meanwhile
            await self._arrival(source, self._target, 0)
            await self._arrival(self._target, source, 0)
            address = self._hosts.address(self._target)
            onward = await asyncio.open_connection(address, self._port)
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._carry(source, self._target, reader, onward[1]))
                    ways.create_task(self._carry(self._target, source, onward[0], writer))
            finally:
                onward[1].transport.abort()
        except* OSError:
            pass  # refused, or one side is gone: both learn it by the abort
        finally:
            writer.transport.abort()

    async def _arrival(self, source: int, target: int, size: int) -> None:
        at = await self._hosts.passage(source, target, size)
        await asyncio.sleep(at - asyncio.get_running_loop().time())

    async def _carry(
        self,
        source: int,
        target: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """One direction: in order, each chunk when the link lets it arrive, its end too."""
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_MAX)

        async def take() -> None:
            data = b"begin"
            while data:
                data = await reader.read(_CHUNK)
                at = await self._hosts.passage(source, target, len(data))
                await way.put((at, data))

        async def give() -> None:
            loop = asyncio.get_running_loop()
            while True:
                at, data = await way.get()
                await asyncio.sleep(at - loop.time())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(give())


class Orders:
    """What comes on standard input, line by line."""

    def __init__(self, hosts: Hosts, over: asyncio.Event) -> None:
        self._hosts = hosts
        self._over = over
        self._begun = b""

    def readable(self) -> None:
        chunk = os.read(0, _CHUNK)
        if not chunk:
            self._over.set()
            return
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        for line in lines:
            rules = json.loads(line)
            self._hosts.links.obey(rules)
            if "process" in rules:
                host, process_id = rules["process"]
                self._hosts.processes[host] = process_id
            os.write(1, b"done\n")


async def forward(hosts: Hosts, ports: list[int]) -> None:
    """Listen at all faces and carry on, until standard input ends. Raises OSError where a port is
    taken."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    async with contextlib.AsyncExitStack() as open_:
        for port in ports:
            faces: dict[int, Datagrams] = {}
            for host in range(1, hosts.size + 1):
                streams, face = Streams(hosts, host, port), hosts.face(host)
                server = await asyncio.start_server(streams.accepted, face, port)
                open_.callback(server.close)
                transport, faces[host] = await loop.create_datagram_endpoint(
                    lambda host=host, port=port, faces=faces: Datagrams(hosts, host, port, faces),  # type: ignore[misc]
                    local_addr=(face, port),
                )
                open_.callback(transport.close)
        loop.add_reader(0, Orders(hosts, over).readable)
        await over.wait()
        # Connections end with the process; nobody is left to whom their ends could matter.
        os._exit(0)


def main(arguments: list[str]) -> None:
    seed, size, prefix, *ports = arguments
    hosts = Hosts(prefix, int(size), Links(random.Random(int(seed))))
    try:
        asyncio.run(forward(hosts, [int(port) for port in ports]))
    except OSError as error:
        sys.stdout.write(f"{error}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
