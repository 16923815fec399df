"""What to piggyback next: transmit limits, invalidation by subject, the byte budget.

Gossip wire contract, sections 3.9 and 3.10. The queue knows messages as bytes only; who receives
them is gossip.swim's choice.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sized
from dataclasses import dataclass


def retransmit_limit(mult: int, ring_size: int) -> int:
    """Times each broadcast is sent by one member."""
    return mult * math.ceil(math.log10(ring_size + 1))


@dataclass(slots=True, eq=False)
class Broadcast:
    """One queued message. ``token`` comes back when it is used up or replaced."""

    serial: int
    message: bytes
    subject: str | None
    token: str | None
    transmits: int = 0


class BroadcastQueue:
    """Fewest transmits first, then the longest that still fits, then the newest."""

    __slots__ = (
        "_by_subject",
        "_entries",
        "_limit",
        "_overhead",
        "_serial",
        "_tiers",
        "dropped",
        "finished",
    )

    def __init__(self, *, limit: int, overhead_bytes: int) -> None:
        self._limit = limit
        self._overhead = overhead_bytes  # per message, in the packet
        self._serial = 0
        self._entries: dict[int, Broadcast] = {}  # one object for life: see ``waiting``
        self._by_subject: dict[str, Broadcast] = {}
        # Per number of transmits: sorted (-length, -serial), so that the first is the best.
        self._tiers: dict[int, list[tuple[int, int]]] = {}
        self.dropped = 0  # over the limit, so far
        self.finished: list[str] = []  # tokens, until the owner takes them

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def waiting(self) -> Sized:
        """A view that is empty when nothing is queued, for owners that ask at every event."""
        return self._entries

    def add(self, message: bytes, *, subject: str | None = None, token: str | None = None) -> None:
        """Queue a message; an older one about the same subject, of whatever kind, is replaced."""
        if subject is not None:
            older = self._by_subject.get(subject)
            if older is not None:
                self._remove(older)
        self._serial += 1
        broadcast = Broadcast(self._serial, message, subject, token)
        self._entries[broadcast.serial] = broadcast
        if subject is not None:
            self._by_subject[subject] = broadcast
        self._insert(broadcast)
        if len(self._entries) > self._limit:
            self._drop_most_sent()

    def take(self, budget_bytes: int, *, transmits_max: int, counted: bool = True) -> list[bytes]:
        """The next messages within the budget; a counted take is one transmit of each."""
        if not self._entries:
            return []
        taken: list[Broadcast] = []
        free = budget_bytes
        for tier in sorted(self._tiers):
            row = self._tiers[tier]
            while row:
                # Lengths are negative: the first entry not longer than what is free.
                index = bisect_left(row, (self._overhead - free, -self._serial - 1))
                if index >= len(row):
                    break
                _, serial = row.pop(index)
                broadcast = self._entries[-serial]
                taken.append(broadcast)
                free -= len(broadcast.message) + self._overhead
        for tier in [tier for tier, row in self._tiers.items() if not row]:
            del self._tiers[tier]
        for broadcast in taken:
            broadcast.transmits += counted
            if broadcast.transmits >= transmits_max:
                self._forget(broadcast)
            else:
                self._insert(broadcast)
        return [broadcast.message for broadcast in taken]

    def _insert(self, broadcast: Broadcast) -> None:
        row = self._tiers.setdefault(broadcast.transmits, [])
        insort(row, (-len(broadcast.message), -broadcast.serial))

    def _remove(self, broadcast: Broadcast) -> None:
        row = self._tiers[broadcast.transmits]
        row.remove((-len(broadcast.message), -broadcast.serial))
        if not row:
            del self._tiers[broadcast.transmits]
        self._forget(broadcast)

    def _forget(self, broadcast: Broadcast) -> None:
        del self._entries[broadcast.serial]
        if broadcast.subject is not None:
            self._by_subject.pop(broadcast.subject, None)
        if broadcast.token is not None:
            self.finished.append(broadcast.token)

    def _drop_most_sent(self) -> None:
        """Over the limit, the one that others most likely know already goes first."""
        self.dropped += 1
        _, serial = self._tiers[max(self._tiers)][-1]
        self._remove(self._entries[-serial])

    def check(self) -> None:
        """Assert the queue's invariants."""
        assert len(self._entries) <= self._limit
        listed = sorted(-serial for row in self._tiers.values() for _, serial in row)
        assert listed == sorted(self._entries)
        for subject, broadcast in self._by_subject.items():
            assert broadcast.subject == subject
            assert self._entries[broadcast.serial] is broadcast
