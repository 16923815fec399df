"""Pauses of our own event loop: whoever did not run cannot say that others did not answer.

Pure: the time and the moment at which we wanted to be woken come in. A stall is a stretch in which
the timer was due and nothing was taken in either, as under SIGSTOP, a paused virtual machine, or a
callback that holds the loop. What follows from one is gossip.swim's: the running probe is void, the
suspicions wait that much longer, and our health score takes the blame.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stall:
    """A pause of ours that ended at ``at`` and had lasted for ``length_s``."""

    at: float
    length_s: float


class Stalls:
    """Finds stalls of at least ``min_s`` (0: none), excuses at most ``excuses_max`` in a row."""

    __slots__ = ("_excused", "_excuses_max", "_min_s", "_seen_at", "last")

    def __init__(self, *, min_s: float, excuses_max: int) -> None:
        self._min_s = min_s
        self._excuses_max = excuses_max
        self._seen_at = 0.0
        self._excused = 0
        self.last: Stall | None = None

    def quiet(self, now: float) -> bool:
        """Whether there is no need to ask for the deadline: too little time has gone by."""
        if self._min_s <= 0 or now - self._seen_at < self._min_s:
            self._seen_at = max(self._seen_at, now)
            return True
        return False

    def found(self, due: float, now: float) -> Stall | None:
        """We run at ``now`` and wanted to at ``due``, the first time since the last call."""
        late_s = now - max(due, self._seen_at)
        self._seen_at = max(self._seen_at, now)
        if self._min_s <= 0 or late_s < self._min_s:
            return None
        self.last = Stall(now, late_s)
        return self.last

    def excuse(self) -> bool:
        """Whether a probe that a stall interrupted is void. A loop that always stalls is not
        excused for ever: then what it sees has to do."""
        if self._excused >= self._excuses_max:
            return False
        self._excused += 1
        return True

    def done(self) -> None:
        """A probe had its whole time: the row of excuses is over."""
        self._excused = 0
