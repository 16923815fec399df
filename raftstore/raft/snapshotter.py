"""Takes snapshots, and loads them at start.

Taking has two parts. First the state is held still, in short steps, while nothing is applied; the
loop goes on, and so do replication and elections. Then the chunks are encoded on the loop, a slice
at a time and for a share of its time only, because a thread that encodes would hold the interpreter
just as long and at moments of its own choosing. Compressing, hashing, writing, syncing and reading
back are a thread's work: they let go of the interpreter.

When is decided by ``policy``; the files' form and the order of writing are in ``snapshot``. What
comes from or goes to other servers is carried by ``transfers``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from raftstore.errors import CorruptState, DecodeError, JournalFull, Refused, StoreError
from raftstore.raft.config import RaftConfig
from raftstore.raft.disk import DiskThread
from raftstore.raft.frames import SnapshotOffer
from raftstore.raft.install import Taken
from raftstore.raft.log import Batch, SnapshotPointer
from raftstore.raft.policy import LogGrowth, due, trim_index
from raftstore.raft.replica import Replica
from raftstore.raft.snapshot import (
    NAME,
    REMEDY,
    TEMP_SUFFIX,
    SnapshotFiles,
    SnapshotHeader,
    SnapshotWriter,
    writing,
)
from raftstore.raft.transfers import Loader, Machine, Transfers, load, opened

log = logging.getLogger("lictor.raftstore.raft.snapshotter")

T = TypeVar("T")


SNAPSHOTS_KEPT_MAX = 16
"""Snapshots that are remembered, to explain them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """One snapshot that was taken, was to be taken, or came from the leader."""

    at: float
    """When it was finished, by the engine's clock."""
    reason: str
    outcome: str
    """taken, installed, or what went wrong."""
    index: int = 0
    size: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class SnapshotStats:
    """Counts since start."""

    taken: int = 0
    failed: int = 0
    last_s: float = 0.0
    """How long the last one took, from the beginning to the pointer."""
    held_s: float = 0.0
    """How long nothing was applied while the last one was begun."""


class Snapshotter:
    """All work on snapshots of one server. Lives on the loop; owns a thread of its own."""

    def __init__(
        self,
        config: RaftConfig,
        replica: Replica,
        files: SnapshotFiles,
        machine: Machine,
        *,
        disk: DiskThread,
        wake: Callable[[], None],
    ) -> None:
        """``disk``: the thread that the journal is written on. ``wake`` asks for a step."""
        self._config = config
        self._journal = replica.journal
        self._replica = replica
        self._files = files
        self._machine = machine
        self._disk = disk
        self._wake = wake
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lictor-raft-snapshot")
        self._begun_at = float("-inf")
        self._taking: asyncio.Task[SnapshotPointer] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._saved: dict[str, asyncio.Future[None]] = {}
        self._trimming = False
        self._reason = ""
        self.records: deque[SnapshotRecord] = deque(maxlen=SNAPSHOTS_KEPT_MAX)
        """The last ones, taken, failed or installed; the newest last."""
        self.stats = SnapshotStats()
        self.transfers = Transfers(
            config,
            replica=replica,
            files=files,
            load=self._load,
            run=self._run,
            install=self._install,
            wake=wake,
        )

    def _run(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error(
                "work on a snapshot failed task=%s", task.get_name(), exc_info=task.exception()
            )

    # -- life

    async def restore(self) -> None:
        """Before the first step: load the snapshot that the journal points to.

        A damaged one is replaced by the one before it if the log reaches back to that; otherwise
        raises CorruptState, for an empty state must never pass for the state of a cluster.
        """
        pointer, journal = self._journal.snapshot, self._journal
        self._files.discard_unfinished(pointer.name if pointer is not None else None)
        if pointer is not None:
            try:
                header, loader = await self._load(pointer.name, pointer)
            except (DecodeError, OSError) as error:
                flaw = f"{self._files.path(pointer.name)}: {error}"
                log.error("snapshot cannot be used, trying the one before it error=%s", flaw)
                header, loader, older = await self._load_older(pointer, flaw)
                journal.set_snapshot(older)
            loader.swap()
            self._replica.engine.restored(header.index, header.stamp)
            log.info("snapshot restored name=%s index=%d", header.name, header.index)
        self._discard_trimmed()

    async def _load_older(
        self, pointer: SnapshotPointer, flaw: str
    ) -> tuple[SnapshotHeader, Loader, SnapshotPointer]:
        journal = self._journal
        for name in self._files.names():
            match = NAME.fullmatch(name)
            assert match is not None
            term, index = int(match[1]), int(match[2])
            if index >= pointer.index or journal.term_at(index) != term:
                continue
            try:
                _, older = await self._run(lambda name=name: self._files.verify(name))  # type: ignore[misc]
                header, loader = await self._load(name, older)
            except (DecodeError, OSError) as error:
                log.error("snapshot cannot be used name=%s error=%s", name, error)
                continue
            return header, loader, older
        raise CorruptState(f"{flaw}, and the log reaches back to no other snapshot. {REMEDY}")

    async def stop(self) -> None:
        """End what runs; files that were not finished are worth nothing."""
        tasks = [*self._tasks, *filter(None, (self._taking,))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.transfers.stop()
        # Cancelling a task does not end what its thread does, and the journal is closed next.
        await self._run(_nothing)
        self._thread.shutdown(wait=False)

    # -- for the driver

    def saved(self, batch: Batch) -> None:
        """A batch is on disk: a pointer may be, and the log may have grown enough."""
        pointer = batch.state.snapshot
        if pointer is not None and pointer.name in self._saved:
            waiting = self._saved.pop(pointer.name)
            if not waiting.done():
                waiting.set_result(None)
        self._consider()

    def _consider(self) -> None:
        since_s = time.monotonic() - self._begun_at
        if self._taking is not None or since_s < self._config.snapshot_interval_s:
            return
        reason = due(self._config, self.growth())
        if not reason and self._replica.installs.doubted:
            reason, self._replica.installs.doubted = "the last one was refused by others", ""
        if reason:
            self._begin(reason)

    def growth(self) -> LogGrowth:
        """What has gathered since the last snapshot."""
        pointer, journal = self._journal.snapshot, self._journal
        return LogGrowth(
            log_bytes=journal.bytes_since_snapshot,
            log_entries=self._replica.engine.applied_index() - (pointer.index if pointer else 0),
            snapshot_bytes=pointer.size if pointer else 0,
            since_s=time.monotonic() - self._begun_at,
            pressed=journal.pressed,
        )

    @property
    def taking(self) -> str:
        """Why a snapshot is being taken now; empty if none is."""
        return self._reason if self._taking is not None else ""

    def figures(self) -> dict[str, Any]:
        """For the status."""
        stats = self.stats
        return {
            "snapshots_taken": stats.taken,
            "snapshots_failed": stats.failed,
            "snapshot_last_s": stats.last_s,
            "snapshot_held_s": stats.held_s,
        }

    async def snapshot_now(self) -> SnapshotPointer:
        """Take one on demand, and give what the journal points to then. Raises StoreError."""
        if self._taking is not None:
            await asyncio.wait([self._taking])
        taking = self._taking or self._begin("asked for")
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            if not taking.cancelled():
                raise
        except (OSError, DecodeError) as error:
            raise Refused(f"the snapshot could not be taken: {error}") from error
        raise Refused("the snapshot was overtaken by one from the leader")

    # -- taking

    def _begin(self, reason: str) -> asyncio.Task[SnapshotPointer]:
        self._begun_at, self._reason = time.monotonic(), reason
        log.info("snapshot begun reason=%s", reason)
        task = asyncio.get_running_loop().create_task(self._take(), name="lictor-raft-snapshot")
        self._taking = task
        task.add_done_callback(self._taken)
        return task

    def _taken(self, task: asyncio.Task[SnapshotPointer]) -> None:
        self._taking = None
        if task.cancelled():
            self._note("given up: one from the leader came, or the server stops")
            return
        error = task.exception()
        if error is None:
            self._note("taken", task.result())
            self.stats.taken += 1
            self.stats.last_s = time.monotonic() - self._begun_at
            log.info(
                "snapshot taken name=%s bytes=%d seconds=%.3f held=%.3f",
                task.result().name,
                task.result().size,
                self.stats.last_s,
                self.stats.held_s,
            )
        else:
            self.stats.failed += 1
            self._note(f"failed: {error}")
            unexpected = not isinstance(error, StoreError | OSError)
            log.error("snapshot failed error=%s", error, exc_info=error if unexpected else None)

    def _note(self, outcome: str, pointer: SnapshotPointer | None = None, why: str = "") -> None:
        self.records.append(
            SnapshotRecord(
                at=self._replica.engine.now(),
                reason=why or self._reason,
                outcome=outcome,
                index=pointer.index if pointer is not None else 0,
                size=pointer.size if pointer is not None else 0,
                seconds=0.0 if why else time.monotonic() - self._begun_at,
            )
        )

    async def _take(self) -> SnapshotPointer:
        header, chunks, grown = await self._freeze()
        current = self._journal.snapshot
        if current is not None and current.index == header.index:
            return current
        temporary = header.name + TEMP_SUFFIX
        try:
            await self._write(temporary, header, chunks)
            pointer = await self._run(lambda: self._finish(temporary, header))
        finally:
            await self._run(lambda: self._files.discard(temporary))
        previous = current.index if current is not None else 0
        target = trim_index(
            self._config,
            index=pointer.index,
            previous=previous,
            held=self._replica.installs.held_index(),
            pressed=self._journal.pressed,
        )
        saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._saved[pointer.name] = saved
        self._replica.installs.report(Taken(pointer, target))
        self._wake()
        await saved
        self._journal.bytes_since_snapshot -= grown
        await self._run(lambda: self._files.discard_old(pointer.name))
        self._discard_trimmed()
        return pointer

    async def _freeze(self) -> tuple[SnapshotHeader, Iterator[bytes], int]:
        engine, journal = self._replica.engine, self._journal
        started_at = time.monotonic()
        engine.applies_held = True
        try:
            steps = self._machine.freeze()
            chunks = self._hold(steps)
            while chunks is None:
                await asyncio.sleep(0)
                chunks = self._hold(steps)
        finally:
            engine.applies_held = False
            self._wake()
        self.stats.held_s = time.monotonic() - started_at
        index = engine.applied_index()
        config, term = journal.config_at(index), journal.term_at(index)
        if config is None or term is None or engine.config is None:
            raise Refused("the configuration at the applied index is not known yet")
        header = SnapshotHeader(
            cluster_id=engine.config.cluster_id,
            index=index,
            term=term,
            config=config,
            stamp=engine.stamp,
        )
        return header, chunks, journal.bytes_since_snapshot

    def _hold(self, steps: Generator[None, None, Iterator[bytes]]) -> Iterator[bytes] | None:
        until = time.monotonic() + self._config.snapshot_slice_s
        try:
            while time.monotonic() < until:
                next(steps)
        except StopIteration as end:
            chunks: Iterator[bytes] = end.value
            return chunks
        return None

    async def _write(self, name: str, header: SnapshotHeader, chunks: Iterator[bytes]) -> None:
        async with opened(self._run, lambda: self._files.create(name)) as file:
            writer = await self._run(lambda: SnapshotWriter(file, header))
            while True:
                started_at = time.monotonic()
                batch = self._encode(chunks)
                spent = time.monotonic() - started_at
                if not batch:
                    break
                await asyncio.sleep(spent * (1 / self._config.snapshot_share - 1))
                await self._run(lambda batch=batch: _add(writer, batch))  # type: ignore[misc]
            await self._run(lambda: _close(self._files, writer, file))

    def _encode(self, chunks: Iterator[bytes]) -> list[bytes]:
        batch: list[bytes] = []
        size, until = 0, time.monotonic() + self._config.snapshot_slice_s
        for chunk in chunks:
            batch.append(chunk)
            size += len(chunk)
            if size >= self._config.snapshot_queue_bytes or time.monotonic() > until:
                break
        return batch

    def _finish(self, temporary: str, header: SnapshotHeader) -> SnapshotPointer:
        """Read back, then give it its name. Runs on the thread."""
        found, pointer = self._files.verify(temporary)
        if found != header:
            raise DecodeError(f"{temporary}: not what was written")
        self._files.publish(temporary, header.name)
        self._files.sync()
        return pointer

    def _discard_trimmed(self) -> None:
        """Delete what was trimmed, slice by slice between the writes of the log."""
        if not self._trimming:
            self._trimming = True
            self._spawn(self._trim(), "lictor-raft-trim")

    async def _trim(self) -> None:
        count = self._config.trim_slice_entries
        try:
            while await self._disk.run(lambda: self._journal.discard_trimmed(count)):
                pass
        except JournalFull as error:
            log.error("trimming the log failed error=%s", error)
        finally:
            self._trimming = False

    # -- installing

    async def _load(
        self, name: str, expected: SnapshotPointer | SnapshotOffer
    ) -> tuple[SnapshotHeader, Loader]:
        return await load(self._files.path(name), expected, self._machine, self._config, self._run)

    def _install(self, header: SnapshotHeader, loader: Loader) -> None:
        """A leader's snapshot replaces the state; the pointer to it is on its way to the disk."""
        if self._taking is not None:
            self._taking.cancel()  # its state is about to be taken apart
            self._replica.engine.applies_held = False
        loader.swap()
        log.info("snapshot installed name=%s index=%d", header.name, header.index)
        self._note(
            "installed", self._journal.snapshot, "the log of the leader no longer reaches us"
        )
        saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._saved[header.name] = saved
        self._spawn(self._tidy(saved, header.name), "lictor-raft-tidy")

    async def _tidy(self, saved: asyncio.Future[None], name: str) -> None:
        await saved
        await self._run(lambda: self._files.discard_old(name))
        self._discard_trimmed()


def _nothing() -> None:
    pass


def _add(writer: SnapshotWriter, batch: list[bytes]) -> None:
    with writing():
        for chunk in batch:
            writer.add(chunk)


def _close(files: SnapshotFiles, writer: SnapshotWriter, file: IO[bytes]) -> None:
    with writing():
        writer.finish()
    files.seal(file)
