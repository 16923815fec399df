"""The simulated cluster with snapshots: taken at random moments, trimmed to, and sent.

A file is on a disk when it was synced before the crash; until then it may be there, in part, or
not. What is checked beside the cluster's own invariants:

* a pointer never leads to a file that is missing or another one, whenever a node starts;
* the log always meets the snapshot: nothing between them is missing;
* a restored or installed state is the committed prefix up to the snapshot's index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack

from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import transfer_id
from raftstore.raft.install import (
    BeginIncoming,
    ChunkRead,
    DropIncoming,
    Failed,
    Loaded,
    LoadIncoming,
    ReadChunk,
    Taken,
    Unreadable,
    WriteIncoming,
    Written,
)
from raftstore.raft.log import Batch, Entry, HardState, Journal, SnapshotPointer
from tests.sim.raft_cluster import (
    Cluster,
    Faults,
    InvariantError,
    Node,
    sim_config,
)


@dataclass
class SnapDisk:
    """Entries by index, hard state, and files; changed by whole batches and whole files."""

    state: HardState = field(default_factory=HardState)
    log: dict[int, Entry] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, batch: Batch) -> None:
        if batch.clear:
            self.log.clear()
        if batch.cut_from is not None:
            for index in [index for index in self.log if index >= batch.cut_from]:
                del self.log[index]
        for entry in batch.entries:
            self.log[entry[1]] = entry
        self.state = batch.state
        for index in [index for index in self.log if index <= batch.state.first_index]:
            del self.log[index]


class SnapJournal(Journal):
    """A journal on a SnapDisk with a tiny memory tail."""

    def __init__(self, disk: SnapDisk) -> None:
        self._disk = disk
        tail = [disk.log[index] for index in sorted(disk.log)]
        if [entry[1] for entry in tail] != [
            disk.state.first_index + 1 + position for position in range(len(tail))
        ]:
            raise InvariantError("an entry is missing from a log")
        super().__init__(disk.state, tail[-8:], tail_entries_max=16)

    def persist(self, batch: Batch) -> None:
        self._disk.write(batch)

    def stored(self, first: int, last: int, *, bytes_max: int | None = None) -> list[Entry]:
        return [self._disk.log[index] for index in range(first, last + 1)]


def write_file(index: int, term: int, config: tuple[int, bytes], stamp: float, state) -> bytes:
    body: bytes = msgpack.packb([index, term, list(config), stamp, state])
    return body


def pointer_to(name: str, data: bytes) -> SnapshotPointer:
    index, term, *_ = msgpack.unpackb(data)
    return SnapshotPointer(
        name=name, index=index, term=term, size=len(data), sha256=hashlib.sha256(data).digest()
    )


class SnapCluster(Cluster):
    """A run in which nodes take snapshots every so often, and trim as far as they like."""

    takes_per_s = 1.0
    failing = 0.02
    """Chance that a transfer fails at a step: no room, or a damaged file."""

    def __init__(self, seed: int, *, size: int = 3, faults: Faults) -> None:
        super().__init__(seed, size=size, faults=faults)
        for node in self.nodes.values():
            node.disk = SnapDisk()
        self.incoming: dict[str, bytearray] = {}
        self.busy_until: dict[tuple[str, int], float] = {}
        self.taken = self.installed = self.restored = self.trimmed = 0

    def config(self, name: str) -> RaftConfig:
        return replace(
            sim_config(name),
            install_chunk_bytes=200,
            install_window_bytes_max=1000,
            install_retry_s=0.6,
        )

    def journal(self, node: Node) -> Journal:
        return SnapJournal(node.disk)

    # -- start

    def restore(self, node: Node) -> None:
        self.incoming.pop(node.name, None)
        pointer = node.disk.state.snapshot
        node.disk.files = {
            name: data
            for name, data in node.disk.files.items()
            if not name.endswith(".tmp") or self.rng.random() < 0.5
        }
        if pointer is not None:
            data = node.disk.files.get(pointer.name)
            if data is None or pointer_to(pointer.name, data) != pointer:
                raise InvariantError(f"{node.name} points to a snapshot that is not there")
            _, _, _, stamp, state = msgpack.unpackb(data)
            self.put_state(node, state)
            node.stamp = stamp
            node.replica.engine.restored(pointer.index, stamp)
            self.restored += 1
        life = node.life
        self.after(self.rng.expovariate(self.takes_per_s), lambda: self.take(node, life))

    def state_of(self, node: Node) -> Any:
        """What a snapshot holds."""
        return list(node.applied)

    def put_state(self, node: Node, state: Any) -> None:
        """The other way."""
        node.applied = list(state)

    # -- taking

    def take(self, node: Node, life: int) -> None:
        if node.life != life:
            return
        node.replica.engine.applies_held = True
        self.after(self.rng.uniform(0.0, 0.2), lambda: self.freeze(node, life))

    def freeze(self, node: Node, life: int) -> None:
        if node.life != life:
            return
        engine, journal = node.replica.engine, node.replica.journal
        index = engine.applied_index()
        config, term = journal.config_at(index), journal.term_at(index)
        if config is not None and term is not None and index > 0:
            data = write_file(index, term, config, node.stamp, self.state_of(node))
            name = f"snap-{term}-{index}"
            self.after(self.rng.uniform(0.0, 0.3), lambda: self.sealed(node, life, name, data))
        engine.applies_held = False
        self.queue_step(node)
        self.after(self.rng.expovariate(self.takes_per_s), lambda: self.take(node, life))

    def sealed(self, node: Node, life: int, name: str, data: bytes) -> None:
        """Synced, renamed, directory synced; the pointer follows, or a crash does."""
        if node.life != life:
            return
        node.disk.files[name] = data
        pointer = pointer_to(name, data)
        trim_to = self.rng.choice((0, self.rng.randint(0, pointer.index), pointer.index))
        node.replica.installs.report(Taken(pointer, trim_to))
        self.taken += 1
        self.queue_step(node)

    def synced(self, node: Node, life: int, work: Any) -> None:
        super().synced(node, life, work)
        if node.life == life:
            pointer = node.disk.state.snapshot
            self.trimmed = max(self.trimmed, node.disk.state.first_index)
            if pointer is not None and self.rng.random() < 0.5:  # all but the newest two
                names = [n for n in node.disk.files if n != pointer.name]
                for name in sorted(names, key=lambda n: int(n.split("-")[2]))[:-1]:
                    del node.disk.files[name]

    # -- sending and receiving

    def carry(self, node: Node, task: Any) -> None:
        life = node.life
        files = dict(node.disk.files)  # an open file outlives its name
        self.note(node.name, type(task).__name__)
        at = max(self.now, self.busy_until.get((node.name, life), 0.0))  # one thread does it all
        at += self.rng.uniform(0.0, 0.01)
        self.busy_until[node.name, life] = at
        self.after(
            at - self.now,
            lambda: self.carried(node, task, files) if node.life == life else None,
        )

    def carried(self, node: Node, task: Any, files: dict[str, bytes]) -> None:
        report: Callable[[Any], None] = node.replica.installs.report
        fails = not self.calm and self.rng.random() < self.failing
        match task:
            case ReadChunk():
                data = files.get(task.pointer.name)
                transfer = transfer_id(task.pointer.sha256)
                part = b"" if data is None else data[task.offset : task.offset + task.size]
                if len(part) != task.size:
                    report(Unreadable(task.peer, transfer))
                else:
                    report(ChunkRead(task.peer, transfer, task.offset, part))
            case BeginIncoming():
                self.incoming[node.name] = bytearray()
                report(Failed(task.transfer) if fails else Written(task.transfer, 0))
            case WriteIncoming():
                held = self.incoming[node.name]
                held[task.offset :] = task.data
                if fails:
                    held[-1] ^= 1
                report(Written(task.transfer, len(held)))
            case LoadIncoming():
                data = bytes(self.incoming[node.name])
                delay = self.rng.uniform(0.0, 0.5)
                life = node.life
                self.after(delay, lambda: self.load(node, life, task.offer, data))
            case DropIncoming():
                self.incoming.pop(node.name, None)
        self.queue_step(node)

    def load(self, node: Node, life: int, offer: Any, data: bytes) -> None:
        if node.life != life:
            return
        if hashlib.sha256(data).digest() != offer.sha256 or len(data) != offer.size:
            node.replica.installs.report(Failed(offer.transfer))
        else:
            index, term, config, stamp, state = msgpack.unpackb(data)
            pointer = pointer_to(f"snap-{term}-{index}", data)
            node.disk.files[pointer.name] = data

            def swap() -> None:
                self.put_state(node, state)
                node.stamp = stamp
                self.installed += 1
                self.note(node.name, "installed", index)

            node.replica.installs.report(
                Loaded(
                    transfer=offer.transfer,
                    pointer=pointer,
                    config=(config[0], config[1]),
                    stamp=stamp,
                    swap=swap,
                )
            )
        self.queue_step(node)

    # -- invariants

    def check(self, node: Node) -> None:
        engine, journal = node.replica.engine, node.replica.journal
        term, commit, first = engine.term(), engine.commit_index(), journal.first_index
        tail, stored = journal._tail, node.disk.log
        seam = max(first + 1, tail[0][1])
        try:
            kept = [stored[index] for index in range(first + 1, seam)]
        except KeyError:
            raise InvariantError(f"{node.name} lacks entries between its first and its last") from (
                None
            )
        log = kept + (tail if tail[0][1] > first else tail[1:])
        if len(log) != journal.last_index - first or (log and log[0][1] != first + 1):
            raise InvariantError(f"{node.name} lacks entries between its first and its last")
        self.note(node.name, term, commit, engine.applied_index(), first, len(log))
        if first > len(self.committed):
            raise InvariantError(f"{node.name} trimmed what was not committed")
        if first and journal.term_at(first) != self.committed[first - 1][2]:
            raise InvariantError(f"{node.name} has a wrong sentinel")
        self.check_log(node, term, commit, self.committed[:first] + log, engine.leads())
        applied = engine.applied_index()
        if applied > commit:
            raise InvariantError(f"{node.name} applied beyond its commit index")
        if node.applied != self.payloads[: self.payloads_to[applied]]:
            raise InvariantError(f"{node.name} has a state other than the committed prefix")
