"""Real nodes on loopback sockets: a front door per node, as the agent's port has one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgpack

from raftstore.errors import StoreError
from raftstore.raft import FIRST_BYTE, Journal, LmdbJournal, MemJournal, RaftConfig, RaftNode
from raftstore.raft.frames import HELLO, LENGTH, decode_hello
from raftstore.raft.greeting import encode_confirm


class Door(asyncio.Protocol):
    """Reads the first byte of a connection and hands it over."""

    def __init__(self, accept: Callable[[], asyncio.Protocol]) -> None:
        self._accept = accept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data[:1] != FIRST_BYTE:
            self._transport.close()
            return
        protocol = self._accept()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if data[1:]:
            protocol.data_received(data[1:])


async def open_door(accept: Callable[[], asyncio.Protocol], port: int = 0) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Door(accept), "127.0.0.1", port)


async def introduce(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    hello: bytes,
    *,
    in_pieces: bool = False,
) -> bytes:
    """Dial as a peer would; gives all bytes that were sent, the first one included."""
    sent = FIRST_BYTE + hello
    for piece in [sent[i : i + 1] for i in range(len(sent))] if in_pieces else [sent]:
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(5):
        for _ in range(2):  # their hello, and our number back
            (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            body = await reader.readexactly(size)
            if msgpack.unpackb(body)[0] == HELLO:
                confirmation = encode_confirm(decode_hello(body).boot_nonce)
    writer.write(confirmation)
    return sent + confirmation


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition with a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class Server:
    """One node, its door and what it has applied."""

    def __init__(self, node_id: str, data: Path | None) -> None:
        self.node_id = node_id
        self.data = data
        self.port = 0
        self.applied: list[tuple[int, bytes]] = []
        self.node: RaftNode | None = None
        self.journal: Journal | None = None
        self.door: asyncio.Server | None = None

    async def start(self, **settings) -> RaftNode:
        self.applied = []
        self.journal = LmdbJournal(self.data, map_bytes=2**26) if self.data else MemJournal()
        self.node = RaftNode(
            RaftConfig(node_id=self.node_id, **settings), journal=self.journal, apply=self._apply
        )
        self.door = await open_door(self.node.accept, self.port)
        self.port = self.door.sockets[0].getsockname()[1]
        await self.node.start()
        return self.node

    def _apply(self, index: int, stamp: float, payload: bytes) -> bytes:
        assert stamp > 0
        self.applied.append((index, payload))
        return payload.upper()

    async def stop(self) -> None:
        if self.node is not None:
            self.door.close()
            await self.node.stop()
            self.journal.close()
            self.node = None


class Servers:
    """A cluster in this process."""

    def __init__(self, count: int, path: Path | None) -> None:
        self.all = [Server(f"node-{i}", path / f"{i}" if path else None) for i in range(count)]

    def __getitem__(self, index: int) -> Server:
        return self.all[index]

    def up(self) -> list[Server]:
        return [server for server in self.all if server.node is not None]

    def leader(self) -> Server | None:
        leaders = [s for s in self.up() if s.node.status().role == "leader"]
        return max(leaders, key=lambda s: s.node.status().term) if leaders else None

    async def start(self, *, bootstrap: bool = True, **settings) -> None:
        for server in self.all:
            await server.start(**settings)
        self.introduce()
        if bootstrap:
            for server in self.all:
                server.node.bootstrap(self.members())

    def members(self) -> dict[str, str]:
        return {server.node_id: f"127.0.0.1:{server.port}" for server in self.all}

    def introduce(self) -> None:
        for server in self.up():
            for other in self.all:
                server.node.set_address(other.node_id, "127.0.0.1", other.port)

    async def write(self, payload: bytes, seconds: float = 10.0) -> tuple[int, object]:
        """Write through whoever leads; retried until it is acknowledged."""
        async with asyncio.timeout(seconds):
            while True:
                leader = self.leader()
                if leader is not None:
                    with contextlib.suppress(StoreError):
                        return await leader.node.propose(payload, timeout_s=2.0)
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        for server in self.all:
            await server.stop()


@contextlib.asynccontextmanager
async def servers(
    count: int, path: Path | None = None, *, bootstrap: bool = True, **settings
) -> AsyncIterator[Servers]:
    cluster = Servers(count, path)
    try:
        await cluster.start(bootstrap=bootstrap, **settings)
        yield cluster
    finally:
        await cluster.stop()
