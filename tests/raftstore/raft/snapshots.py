"""Real nodes that take snapshots of a list of payloads."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import msgpack

from raftstore.errors import DecodeError
from raftstore.raft import LmdbJournal, RaftConfig, RaftNode, SnapshotFiles
from tests.raftstore.raft.cluster import Server, Servers, open_door

PER_CHUNK = 10


class ListMachine:
    """A machine whose state is what was applied."""

    def __init__(self) -> None:
        self.applied: list[tuple[int, bytes]] = []
        self.swaps = 0
        self.frozen = 0

    def apply(self, index: int, stamp: float, payload: bytes) -> bytes:
        assert stamp > 0
        self.applied.append((index, payload))
        return payload.upper()

    def freeze(self) -> Generator[None, None, Iterator[bytes]]:
        self.frozen += 1
        before = list(self.applied)
        yield
        assert self.applied == before, "applied while it was held"
        return self.chunks(before)

    def chunks(self, rows: list[tuple[int, bytes]]) -> Iterator[bytes]:
        for start in range(0, len(rows), PER_CHUNK):
            yield msgpack.packb(rows[start : start + PER_CHUNK])

    def loader(self) -> ListLoader:
        return ListLoader(self)


class ListLoader:
    def __init__(self, machine: ListMachine) -> None:
        self.machine = machine
        self.rows: list[tuple[int, bytes]] = []

    def feed(self, chunk: bytes) -> None:
        try:
            self.rows += [(index, payload) for index, payload in msgpack.unpackb(chunk)]
        except (ValueError, TypeError) as error:
            raise DecodeError(str(error)) from error

    def finish(self) -> None:
        pass

    def swap(self) -> None:
        self.machine.applied = self.rows
        self.machine.swaps += 1


class SnapServer(Server):
    """A node with snapshots; ``machine`` is new at each start."""

    files_class = SnapshotFiles
    machine: ListMachine

    async def start(self, **settings) -> RaftNode:
        self.machine = ListMachine()
        assert self.data is not None
        self.journal = LmdbJournal(self.data, map_bytes=2**26)
        self.files = self.files_class(self.data / "snapshots")
        config = RaftConfig(
            node_id=self.node_id,
            **{"trailing_entries": 5, "snapshot_interval_s": 3600.0, **settings},
        )
        self.node = RaftNode(
            config,
            journal=self.journal,
            apply=self.machine.apply,
            snapshots=(self.files, self.machine),
        )
        try:
            await self.node.start()
        except BaseException:
            self.journal.close()
            self.node = None
            raise
        self.door = await open_door(self.node.accept, self.port)
        self.port = self.door.sockets[0].getsockname()[1]
        return self.node

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.machine.applied]


class SnapServers(Servers):
    def __init__(self, count: int, path: Path) -> None:
        self.all = [SnapServer(f"node-{i}", path / f"{i}") for i in range(count)]
