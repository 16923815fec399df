"""Appends events to files, in a thread of its own; requests never wait for a disk.

Best effort, as the name of the guarantee says: what is more than the queue holds is not written,
and counted. Each event is one write, so a crash leaves whole lines and perhaps the half of a last
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from agent.audit import rotation
from agent.audit.config import SinkConfig

log = logging.getLogger("lictor.agent.audit")

#: Seconds that a stop waits for what is queued.
STOP_MAX_S = 5.0
#: How often the writing thread looks whether it is to end.
LOOK_S = 0.2
#: A file that cannot be written is tried again after so many seconds; what comes meanwhile is lost.
RETRY_S = 1.0


@dataclass(slots=True)
class AuditStats:
    """Events written, lost because the queue was full or the disk refused; files put aside."""

    written: int = 0
    lost_queue_full: int = 0
    lost_write_failed: int = 0
    rotated: int = 0
    queue_held: int = 0


class _File:
    """One sink's file, touched by the writing thread only."""

    def __init__(self, config: SinkConfig) -> None:
        self._config = config
        self._handle = -1
        self._size = 0
        self._begun = 0.0
        self._not_before = 0.0
        self.rotated = 0

    def open(self) -> None:
        """Open or make it. Raises OSError."""
        path = self._config.path
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._handle = os.open(path, flags, 0o600)
        os.fchmod(self._handle, 0o600)
        found = os.fstat(self._handle)
        self._size = found.st_size
        self._begun = found.st_mtime if found.st_size else time.time()

    def write(self, line: bytes) -> bool:
        """Append; False when it could not be."""
        now = time.time()
        if now < self._not_before:
            return False
        try:
            if self._handle < 0:
                self.open()
            config = self._config
            if rotation.is_due(config, size=self._size, begun=self._begun, now=now, more=len(line)):
                self._rotate()
            written = os.write(self._handle, line)
        except OSError as error:
            self._not_before = now + RETRY_S
            log.error("audit log cannot be written path=%s error=%s", self._config.path, error)
            self.close()
            return False
        self._size += written
        return written == len(line)

    def _rotate(self) -> None:
        path = self._config.path
        self.close()
        os.rename(path, rotation.aside(path, time.time_ns()))
        self.rotated += 1
        folder = os.path.dirname(path) or "."
        for name in rotation.superfluous(self._config, os.listdir(folder)):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))
        self.open()

    def close(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = -1


class AuditLog:
    """All sinks of an agent."""

    def __init__(self, sinks: Sequence[SinkConfig], *, queue_max: int) -> None:
        self._files = [_File(sink) for sink in sinks]
        self._stopping = threading.Event()
        self._queue: queue.Queue[bytes] = queue.Queue(queue_max)
        self._stats = AuditStats()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Open the files, so that one that cannot be written is known at once. Raises OSError."""
        for file in self._files:
            file.open()
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Have an event written; never waits."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._stats.lost_queue_full += 1

    async def close(self) -> None:
        """Write what is queued, and close the files."""
        self._stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, STOP_MAX_S)
        for file in self._files:
            file.close()

    def stats(self) -> AuditStats:
        """The figures as they stand."""
        self._stats.queue_held = self._queue.qsize()
        self._stats.rotated = sum(file.rotated for file in self._files)
        return self._stats

    def _run(self) -> None:
        while not (self._stopping.is_set() and self._queue.empty()):
            try:
                line = self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            done = [file.write(line) for file in self._files]  # each has its turn
            if all(done):
                self._stats.written += 1
            else:
                self._stats.lost_write_failed += 1
