"""Handing leadership over (Raft thesis, 3.10): wait until the target has everything, then order.

While a transfer runs no proposal enters the log, so that the target can reach its end under any
load. Phases: *catching up* until the target's log equals ours, *ordered* once it has been told to
campaign at once, *awaiting* after we have stepped down and until a new leader is known. The first
two may each take one election timeout; then the transfer has failed and work goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftstore.raft.log import Journal

CATCHING_UP = "catching up"
ORDERED = "ordered"
AWAITING = "awaiting"


@dataclass(slots=True, eq=False, kw_only=True)
class Transfer:
    """One attempt. ``due`` is when its present phase has taken too long."""

    ticket: object
    target: str
    term: int
    due: float
    phase_max_s: float
    phase: str = CATCHING_UP

    def caught_up(self, match: int, last: int, now: float) -> bool:
        """The target's match has moved: is it time to give the order?"""
        if self.phase != CATCHING_UP or match < last:
            return False
        self.phase = ORDERED
        self.due = now + self.phase_max_s
        return True

    def stepped_down(self, now: float) -> None:
        """A newer term is there; its leader will be known soon."""
        if self.phase != AWAITING:
            self.phase = AWAITING
            self.due = now + self.phase_max_s

    def failure(self, now: float) -> str:
        """Why it has failed, or nothing while it may still succeed."""
        if now < self.due:
            return ""
        if self.phase == CATCHING_UP:
            return f"{self.target} did not catch up in time"
        if self.phase == ORDERED:
            return f"{self.target} did not take over in time"
        return "no leader is known yet"


class Yielding:
    """When a leader whose journal is full should give way.

    Once, and again only after it has had room itself: so full servers do not pass it around.
    """

    __slots__ = ("_armed", "count")

    def __init__(self) -> None:
        self._armed = True
        self.count = 0

    def due(self, journal: Journal) -> bool:
        """Is the journal full, and was there room since we last gave way?"""
        if not journal.pressed:
            self._armed = True
            return False
        return self._armed and journal.full

    def done(self) -> None:
        """We have given way."""
        self._armed = False
        self.count += 1
