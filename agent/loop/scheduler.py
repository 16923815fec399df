"""The kernel's accounts of this process' threads: how long each stood in line for a processor.

`/proc/self/task/*/schedstat` (Documentation/scheduler/sched-stats): nanoseconds on a processor,
nanoseconds in line, turns. Files are kept open, as opening them costs ten times a reading.
"""

from __future__ import annotations

import contextlib
import os

_TASKS = "/proc/self/task"


class SchedulerAccounts:
    """Reads the accounts. Used by one thread at a time, or harmlessly by two."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def queued(self) -> dict[str, int]:
        """Nanoseconds in line by thread; empty on a system without these accounts."""
        found: dict[str, int] = {}
        try:
            threads = os.listdir(_TASKS)
        except OSError:
            return found
        for thread in threads:
            with contextlib.suppress(OSError, IndexError, ValueError):  # it has ended just now
                found[thread] = int(os.pread(self._file(thread), 96, 0).split()[1])
        for ended in self._files.keys() - found.keys():
            self._drop(ended)
        return found

    def _file(self, thread: str) -> int:
        file = self._files.get(thread)
        if file is None:
            file = os.open(f"{_TASKS}/{thread}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            self._files[thread] = file
        return file

    def _drop(self, thread: str) -> None:
        file = self._files.pop(thread, None)
        if file is not None:
            os.close(file)

    def close(self) -> None:
        """Let go of the files."""
        for thread in list(self._files):
            self._drop(thread)
