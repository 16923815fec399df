"""When is each check due: the next run of what is probed, the expiry of what reports itself.

Decides times only (agent contract 1.2): the first run after a random part of the interval, the
next one ``interval`` after the previous ended, so that no check ever runs twice at once. Running
probes is runner.py's, judging their results thresholds.py's.

A stalled event loop (a paused process, a starved machine) is not the checked application's fault:
``forgive`` gives TTL checks the time back during which their updates could not be read.

A probe whose target just changed is not left to its interval: after ``hasten`` it runs at once, and
again soon, until ``settle`` says that it passed.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from raftstore.records import CheckId

#: Shorter intervals are raised to this (agent contract 1.2), in seconds.
INTERVAL_MIN_S = 1.0
#: A hastened probe runs again after this many seconds, or after this part of the time it has been
#: hastened for; so it is late by a quarter at most, and ends in its own interval by itself.
HASTE_MIN_S = 0.2
HASTE_PART = 0.25


@dataclass(slots=True)
class _Entry:
    """``at`` is when it is next due, None while its probe runs; ``hastened_at`` since when it is
    in a hurry, None if it is not."""

    period_s: float
    ttl: bool
    at: float | None
    hastened_at: float | None = None

    def wait_s(self, now: float) -> float:
        """From the end of a run to the next one."""
        if self.hastened_at is None:
            return self.period_s
        return min(self.period_s, max(HASTE_MIN_S, (now - self.hastened_at) * HASTE_PART))


class Schedule:
    """Due times of all checks of this host."""

    __slots__ = ("_entries", "_heap", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._entries: dict[CheckId, _Entry] = {}
        # (time, id, entry's identity): what does not match its entry any more is passed over.
        self._heap: list[tuple[float, CheckId, int]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add_probe(self, check_id: CheckId, interval_s: float, now: float) -> None:
        """Run a check every ``interval_s``; one with the same id is replaced."""
        interval = max(INTERVAL_MIN_S, interval_s)
        self._put(check_id, _Entry(interval, ttl=False, at=now + self._rng.random() * interval))

    def add_ttl(self, check_id: CheckId, ttl_s: float, now: float, left_s: float = 0.0) -> None:
        """Expect an update within ``ttl_s``, the first one within ``left_s`` if that is given."""
        self._put(check_id, _Entry(ttl_s, ttl=True, at=now + (left_s or ttl_s)))

    def remove(self, check_id: CheckId) -> None:
        """Forget a check; a probe of it that still runs may end without being heard."""
        self._entries.pop(check_id, None)

    def refresh(self, check_id: CheckId, now: float) -> None:
        """A TTL check reported: its time starts anew. Others are left alone."""
        entry = self._entries.get(check_id)
        if entry is None or not entry.ttl:
            return
        expired = entry.at is None
        entry.at = now + entry.period_s
        if expired:  # else its place in the heap is earlier than needed, and moves when it is met
            self._push(check_id, entry)

    def ended(self, check_id: CheckId, now: float, *, again: bool = False) -> None:
        """A probe ended; with ``again`` its result was worthless and it is repeated at once."""
        entry = self._entries.get(check_id)
        if entry is None or entry.ttl or entry.at is not None:
            return
        entry.at = now if again else now + entry.wait_s(now)
        self._push(check_id, entry)

    def hasten(self, check_id: CheckId, now: float) -> None:
        """Probe a check at once, and soon again until ``settle``. TTL checks are left alone."""
        entry = self._entries.get(check_id)
        if entry is None or entry.ttl:
            return
        entry.hastened_at = now
        if entry.at is not None and entry.at > now:  # a probe that runs is followed by one soon
            entry.at = now
            self._push(check_id, entry)

    def settle(self, check_id: CheckId, started: float) -> None:
        """A probe that began at ``started`` passed: from now on the interval counts again, unless
        the check was hastened since, so that the probe may have seen what is no more."""
        entry = self._entries.get(check_id)
        if entry is not None and entry.hastened_at is not None and started >= entry.hastened_at:
            entry.hastened_at = None

    def forgive(self, stalled_s: float, now: float) -> None:
        """The process stood still for ``stalled_s``: TTL checks get as much time back."""
        for check_id, entry in self._entries.items():
            if entry.ttl and entry.at is not None and entry.at <= now:
                entry.at = now + min(stalled_s, entry.period_s)
                self._push(check_id, entry)

    @property
    def deadline(self) -> float | None:
        """When the next check is due, None if none is."""
        while self._heap:
            at, check_id, identity = self._heap[0]
            entry = self._entries.get(check_id)
            if entry is None or id(entry) != identity or entry.at is None:
                heapq.heappop(self._heap)
            elif entry.at > at:
                heapq.heapreplace(self._heap, (entry.at, check_id, identity))
            else:
                return entry.at
        return None

    def due(self, now: float) -> tuple[list[CheckId], list[CheckId]]:
        """The checks to probe now, and the TTL checks that expired. Neither is due again until
        ``ended`` or ``refresh``."""
        probes: list[CheckId] = []
        expired: list[CheckId] = []
        while (at := self.deadline) is not None and at <= now:
            _, check_id, _ = heapq.heappop(self._heap)
            entry = self._entries[check_id]
            entry.at = None
            (expired if entry.ttl else probes).append(check_id)
        return probes, expired

    def _put(self, check_id: CheckId, entry: _Entry) -> None:
        self._entries[check_id] = entry
        self._push(check_id, entry)

    def _push(self, check_id: CheckId, entry: _Entry) -> None:
        assert entry.at is not None
        heapq.heappush(self._heap, (entry.at, check_id, id(entry)))
