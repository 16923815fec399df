"""The thread that writes batches, one at a time, and how long that takes.

A write that found no room has changed nothing, so it is tried again until there is some; to the
rest of the node that is a disk that takes very long. Any other failure is for good. Decides nothing
else.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from raftstore.errors import JournalFull
from raftstore.raft.config import RaftConfig
from raftstore.raft.latencies import Latencies, LatencySummary
from raftstore.raft.log import Batch, Journal
from raftstore.raft.replica import Work

T = TypeVar("T")
_Job = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None], Callable[[], object]]
"""What to do there, who is told on the loop what came of it, and what to do after that."""

log = logging.getLogger("lictor.raftstore.raft.disk")


@dataclass(slots=True)
class DiskStats:
    """Counts since start, and durations in seconds."""

    syncs: int = 0
    slow_syncs: int = 0
    sync_last_s: float = 0.0
    sync_max_s: float = 0.0


class DiskThread:
    """Saves the batch of one step. ``writing`` is that step's work while it runs."""

    def __init__(
        self,
        journal: Journal,
        *,
        config: RaftConfig,
        done: Callable[[Work, BaseException | None], None],
    ) -> None:
        """``done`` is called on the loop with the work and, if it failed, why."""
        self._journal = journal
        self._slow_s = config.slow_sync_s
        self._sync_begin_s = config.sync_begin_s
        self._full_retry_s = config.full_retry_s
        self._retry: asyncio.TimerHandle | None = None
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._not_syncing = threading.Lock()
        journal.on_sync = self._syncs
        self._started_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.writing: Work | None = None
        self.stats = DiskStats()
        self._latencies = Latencies()

    def persist(self, work: Work, batch: Batch) -> None:
        """Write in the background; nothing may be on its way already."""
        assert self.writing is None
        self.writing = work
        self._started_at = time.monotonic()
        self._write(batch)

    def _write(self, batch: Batch) -> None:
        self._idle.clear()
        self._not_syncing.acquire(blocking=False)
        write = functools.partial(self._journal.persist, batch)
        self._hand_over((write, self._finished, self._journal.preallocate))

    def let_sync_begin(self) -> None:
        """Leave the interpreter to the thread until what it writes is being synced, which needs
        none. Without that it would wait for it until the loop's thread is idle, and the sync with
        it. It is some 50 us, and never longer than ``sync_begin_s``."""
        if self.writing is not None and self._not_syncing.acquire(timeout=self._sync_begin_s):
            self._syncs()

    def _syncs(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is known already
            self._not_syncing.release()

    def _hand_over(self, job: _Job) -> None:
        # A queue of its own costs a third of an executor's futures, and a batch is written hundreds
        # of times a second.
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="lictor-raft-disk", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done, afterwards = job
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # whatever it is, the loop has to hear of it
                error = raised
            self._syncs()  # whether it came to that or not
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(done, result, error)
            afterwards()

    def waited_s(self) -> float:
        """How long the present write has taken so far."""
        return time.monotonic() - self._started_at

    def recent(self) -> LatencySummary:
        """How long the last writes took."""
        return self._latencies.summary(time.monotonic())

    async def close(self) -> None:
        """Wait for what runs, and end the thread."""
        if self._retry is not None:
            self._retry.cancel()
        await self._idle.wait()
        if self._thread is not None:
            await self.run(_nothing)  # the end of what was begun by ``run``
            self._jobs.put(None)

    async def run(self, work: Callable[[], T]) -> T:
        """Do something else on this thread, between writes."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._hand_over((work, functools.partial(_settle, future), _nothing))
        return await future

    def _finished(self, _: None, error: BaseException | None) -> None:
        self._idle.set()
        work = self.writing
        assert work is not None
        if isinstance(error, JournalFull) and work.batch is not None:
            # Nothing has happened, so the same write may be tried again; no step is taken before.
            log.error("no room for the log, trying again error=%s", error)
            self._retry = asyncio.get_running_loop().call_later(
                self._full_retry_s, self._write, work.batch
            )
            return
        self.writing = None
        if error is None:
            took, stats = self.waited_s(), self.stats
            stats.syncs += 1
            self._latencies.add(time.monotonic(), took)
            stats.sync_last_s = took
            stats.sync_max_s = max(stats.sync_max_s, took)
            if took > self._slow_s:
                stats.slow_syncs += 1
                log.warning("slow disk write seconds=%.3f", took)
        self._done(work, error)


def _nothing() -> None:
    pass


def _settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
