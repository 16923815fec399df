"""Snapshot files and a journal whose process dies by its own kill -9 at a named point."""

from __future__ import annotations

import os
import signal
from typing import Any

from raftstore.raft import LmdbJournal, SnapshotFiles

#: In the order in which a server that takes a snapshot, or is sent one, goes through them.
PHASES = ("written", "sealed", "verified", "renamed", "synced", "pointed", "discarded", "trimmed")
#: What one that is sent a snapshot goes through: it reads the file while it loads it.
INSTALLING = ("written", "sealed", "renamed", "synced", "pointed", "discarded")


class Fate:
    """Where the process is to die; nowhere while ``phase`` is empty."""

    def __init__(self) -> None:
        self.phase = ""

    def reached(self, phase: str) -> None:
        if phase == self.phase:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingFiles(SnapshotFiles):
    fate = Fate()

    def seal(self, file: Any) -> None:
        self.fate.reached("written")
        super().seal(file)
        self.fate.reached("sealed")

    def verify(self, name: str) -> Any:
        found = super().verify(name)
        self.fate.reached("verified")
        return found

    def publish(self, temporary: str, name: str) -> None:
        super().publish(temporary, name)
        self.fate.reached("renamed")

    def sync(self) -> None:
        super().sync()
        self.fate.reached("synced")

    def discard_old(self, current: str) -> None:
        self.fate.reached("pointed")
        super().discard_old(current)
        self.fate.reached("discarded")


class DyingJournal(LmdbJournal):
    fate = DyingFiles.fate

    def discard_trimmed(self, count_max: int) -> bool:
        more = super().discard_trimmed(count_max)
        if more:
            self.fate.reached("trimmed")
        return more
