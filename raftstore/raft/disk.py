"""The thread that writes batches, one at a time, and how long that takes. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from raftstore.raft.log import Batch, Journal
from raftstore.raft.replica import Work

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
        slow_s: float,
        done: Callable[[Work, BaseException | None], None],
    ) -> None:
        """``done`` is called on the loop with the work and, if it failed, why."""
        self._journal = journal
        self._slow_s = slow_s
        self._done = done
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="lictor-raft-disk")
        self._started_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.writing: Work | None = None
        self.stats = DiskStats()

    def persist(self, work: Work, batch: Batch) -> None:
        """Write in the background; nothing may be on its way already."""
        assert self.writing is None
        self.writing = work
        self._started_at = time.monotonic()
        self._idle.clear()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, self._journal.persist, batch)
        future.add_done_callback(self._finished)

    def waited_s(self) -> float:
        """How long the present write has taken so far."""
        return time.monotonic() - self._started_at

    async def close(self) -> None:
        """Wait for a write that runs, and end the thread."""
        await self._idle.wait()
        self._executor.shutdown(wait=False)

    def _finished(self, future: asyncio.Future[None]) -> None:
        work, self.writing = self.writing, None
        assert work is not None
        self._idle.set()
        error = future.exception() if not future.cancelled() else RuntimeError("cancelled")
        if error is None:
            took, stats = self.waited_s(), self.stats
            stats.syncs += 1
            stats.sync_last_s = took
            stats.sync_max_s = max(stats.sync_max_s, took)
            if took > self._slow_s:
                stats.slow_syncs += 1
                log.warning("slow disk write seconds=%.3f", took)
        self._done(work, error)
