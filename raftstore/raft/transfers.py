"""Carries snapshots between files and the wire, and from files into a new state.

A leader's file is read chunk by chunk, no faster than the configured rate; a follower's incoming
one is written beside the log, and once it is whole it is synced, verified while a new state is
filled from it, and given its name. What may be sent or taken in is decided by ``install``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from raftstore.errors import DecodeError, JournalFull
from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import SnapshotOffer, transfer_id
from raftstore.raft.install import (
    BeginIncoming,
    ChunkRead,
    Failed,
    Loaded,
    LoadIncoming,
    ReadChunk,
    Task,
    Unreadable,
    WriteIncoming,
    Written,
)
from raftstore.raft.log import SnapshotPointer
from raftstore.raft.replica import Replica
from raftstore.raft.snapshot import (
    INCOMING,
    SnapshotFiles,
    SnapshotHeader,
    SnapshotReader,
    writing,
)

log = logging.getLogger("lictor.raftstore.raft.transfers")

READ_CHUNKS = 16
"""Chunks that a load reads ahead of the loop."""

Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Carries out on the snapshots' thread."""


class Loader(Protocol):
    """A new state in the making."""

    def feed(self, chunk: bytes) -> None:
        """Take in one chunk. Raises DecodeError."""

    def finish(self) -> None:
        """That was all. Raises DecodeError if it cannot have been."""

    def swap(self) -> None:
        """Put the new state in the place of the old one, at once."""


class Machine(Protocol):
    """The replicated state machine, as far as snapshots are concerned."""

    def freeze(self) -> Generator[None, None, Iterator[bytes]]:
        """Short steps during which nothing is applied; the value is the chunks, made lazily."""

    def loader(self) -> Loader:
        """An empty state, to be filled."""


@contextlib.asynccontextmanager
async def opened(run: Run, make: Callable[[], IO[bytes]]) -> AsyncIterator[IO[bytes]]:
    """A file that is opened and closed on the thread.

    Cancelling who waits does not end what the thread does: it may open the file all the same.
    """
    files: list[IO[bytes]] = []
    try:
        await run(lambda: files.append(make()))
        yield files[0]
    finally:
        await run(lambda: _close_all(files))


async def load(
    path: Path,
    expected: SnapshotPointer | SnapshotOffer,
    machine: Machine,
    config: RaftConfig,
    run: Run,
) -> tuple[SnapshotHeader, Loader]:
    """Fill a new state from a file that is checked as a whole. Raises DecodeError, OSError."""
    async with opened(run, lambda: path.open("rb")) as file:
        size = os.fstat(file.fileno()).st_size
        reader: SnapshotReader = await run(
            lambda: SnapshotReader(file, bytes_max=config.install_bytes_max)
        )
        loader, chunks = machine.loader(), reader.chunks()
        until = time.monotonic() + config.snapshot_slice_s
        while batch := await run(lambda: list(islice(chunks, READ_CHUNKS))):
            for chunk in batch:
                loader.feed(chunk)
                if time.monotonic() > until:
                    await asyncio.sleep(0)
                    until = time.monotonic() + config.snapshot_slice_s
        loader.finish()
    header = reader.header
    if (reader.sha256, size, header.index) != (expected.sha256, expected.size, expected.index):
        raise DecodeError("not the snapshot that was written")
    return header, loader


class Transfers:
    """All transfers of one server. Lives on the loop."""

    def __init__(
        self,
        config: RaftConfig,
        *,
        replica: Replica,
        files: SnapshotFiles,
        load: Callable[[str, SnapshotOffer], Awaitable[tuple[SnapshotHeader, Loader]]],
        run: Run,
        install: Callable[[SnapshotHeader, Loader], None],
        wake: Callable[[], None],
    ) -> None:
        """``install`` puts a loaded state in force; called in the step that takes it."""
        self._config = config
        self._replica = replica
        self._files = files
        self._load = load
        self._run = run
        self._install = install
        self._wake = wake
        self._queue: deque[Task] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None
        self._outgoing: dict[str, tuple[str, IO[bytes]]] = {}
        self._incoming: IO[bytes] | None = None

    async def stop(self) -> None:
        """End what runs; the next process starts afresh."""
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        # On the thread, since what it is at may open one more.
        await self._run(self._close_files)

    def _close_files(self) -> None:
        _close_all([file for _, file in self._outgoing.values()])
        if self._incoming is not None:
            self._incoming.close()

    def carry(self, task: Task) -> None:
        """Do what a step asks for, in order."""
        self._queue.append(task)
        if self._worker is None or self._worker.done():
            self._worker = self._spawn(self._work())

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(
            work, name="lictor-raft-transfers"
        )
        self._working.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a transfer of a snapshot failed", exc_info=task.exception())

    async def _work(self) -> None:
        while self._queue:
            task = self._queue.popleft()
            match task:
                case ReadChunk():
                    await self._send_chunk(task)
                case BeginIncoming():
                    await self._receive(task.transfer, 0, partial(self._begin_file, task))
                case WriteIncoming():
                    end = task.offset + len(task.data)
                    await self._receive(task.transfer, end, partial(self._put, task))
                case LoadIncoming():
                    self._spawn(self._load_incoming(task.offer))
                case _:
                    await self._run(self._drop)
            self._wake()

    async def _send_chunk(self, task: ReadChunk) -> None:
        transfer = transfer_id(task.pointer.sha256)
        try:
            data: bytes = await self._run(partial(self._read, task))
        except OSError as error:
            log.error("snapshot cannot be read name=%s error=%s", task.pointer.name, error)
            self._replica.installs.report(Unreadable(task.peer, transfer))
            return
        self._replica.installs.report(ChunkRead(task.peer, transfer, task.offset, data))
        self._wake()
        await asyncio.sleep(len(data) / self._config.install_bytes_per_s)

    def _read(self, task: ReadChunk) -> bytes:
        name, file = self._outgoing.get(task.peer, ("", None))
        if file is None or name != task.pointer.name:
            if file is not None:
                file.close()
            # Open for as long as it is sent: its name may go meanwhile.
            file = self._files.path(task.pointer.name).open("rb")
            self._outgoing[task.peer] = (task.pointer.name, file)
        file.seek(task.offset)
        data = file.read(task.size)
        if len(data) != task.size:
            raise OSError("the file is shorter than it was")
        return data

    async def _receive(self, transfer: int, end: int, work: Callable[[], None]) -> None:
        try:
            await self._run(work)
        except (OSError, JournalFull) as error:
            log.error("a snapshot from the leader cannot be written error=%s", error)
            self._replica.installs.report(Failed(transfer))
        else:
            self._replica.installs.report(Written(transfer, end))

    def _begin_file(self, task: BeginIncoming) -> None:
        if self._incoming is not None:
            self._incoming.close()
        free = self._files.free_bytes()
        if free - task.size < self._config.install_reserve_bytes:
            raise JournalFull(f"{task.size} bytes do not fit, {free} are free")
        self._incoming = self._files.create(INCOMING)

    def _put(self, task: WriteIncoming) -> None:
        if self._incoming is None or self._incoming.closed:
            raise JournalFull("the file is closed")
        with writing():
            self._incoming.seek(task.offset)
            self._incoming.write(task.data)

    def _drop(self) -> None:
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None
        self._files.discard(INCOMING)

    async def _load_incoming(self, offer: SnapshotOffer) -> None:
        installs = self._replica.installs
        try:
            header, loader = await self._verified(offer)
        except (OSError, DecodeError, JournalFull) as error:
            log.error("a snapshot from the leader is refused error=%s", error)
            installs.report(Failed(offer.transfer))
        else:
            pointer = SnapshotPointer(
                name=header.name,
                index=header.index,
                term=header.term,
                size=offer.size,
                sha256=offer.sha256,
            )
            installs.report(
                Loaded(
                    transfer=offer.transfer,
                    pointer=pointer,
                    config=header.config,
                    stamp=header.stamp,
                    swap=partial(self._install, header, loader),
                )
            )
        self._wake()

    async def _verified(self, offer: SnapshotOffer) -> tuple[SnapshotHeader, Loader]:
        file, self._incoming = self._incoming, None
        if file is None:
            raise DecodeError("there is no file")
        try:
            await self._run(partial(self._files.seal, file))
        finally:
            await self._run(file.close)
        header, loader = await self._load(INCOMING, offer)
        mine = self._replica.engine.config
        if mine is not None and header.cluster_id != mine.cluster_id:
            raise DecodeError("it is of another cluster")
        if header.term != offer.index_term:
            raise DecodeError("it is of another term")
        await self._run(partial(self._adopt, header.name))
        return header, loader

    def _adopt(self, name: str) -> None:
        self._files.publish(INCOMING, name)
        self._files.sync()


def _close_all(files: list[IO[bytes]]) -> None:
    for file in files:
        file.close()
