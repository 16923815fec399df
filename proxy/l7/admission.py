"""Whether one more request may begin: bounds of an upstream (contract D.9). Pure counting.

Over HTTP/1.1 a request under way has a connection to itself, so the connections in use bound the
requests that run; those beyond wait, so many at most, and the rest are refused at once.
"""

from __future__ import annotations

import enum
from collections import Counter

from proxy.l7.settings import Limits


class Entry(enum.Enum):
    """What becomes of a request that wants to begin."""

    GO = "go"
    WAIT = "wait"
    OVERFLOW = "overflow"


class Admission:
    """Requests of one upstream: how many run and how many wait."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.running = 0
        self.waiting = 0
        #: How many were refused, by the limit.
        self.refused: Counter[str] = Counter()

    @property
    def overflows(self) -> int:
        """How many were refused."""
        return self.refused.total()

    def enter(self) -> Entry:
        """One more wants to begin. WAIT counts it as waiting until ``begin`` or ``give_up``."""
        limits = self.limits
        if self.running + self.waiting >= limits.requests_max:
            self.refused["requests"] += 1
            return Entry.OVERFLOW
        if self.running < limits.connections_max and not self.waiting:
            self.running += 1
            return Entry.GO
        if self.waiting >= limits.pending_max or limits.connections_max == 0:
            self.refused["pending" if limits.connections_max else "connections"] += 1
            return Entry.OVERFLOW
        self.waiting += 1
        return Entry.WAIT

    @property
    def is_free(self) -> bool:
        """Whether ``enter`` would say GO."""
        limits = self.limits
        room = self.running < min(limits.requests_max, limits.connections_max)
        return room and not self.waiting

    def leave(self) -> None:
        """One that ran has ended."""
        self.running -= 1

    def free(self) -> int:
        """How many of those that wait may begin now."""
        return max(0, min(self.waiting, self.limits.connections_max - self.running))

    def begin(self) -> None:
        """One that waited runs."""
        self.waiting -= 1
        self.running += 1

    def give_up(self) -> None:
        """One that waited does so no longer."""
        self.waiting -= 1
