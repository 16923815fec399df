"""What a server remembers of its elections, so that it can be asked why it leads or does not.

Times are of the engine's own clock, in seconds. Everything is bounded: the oldest is forgotten.
Decides nothing: no vote and no timer depends on what is written down here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

KEPT_MAX = 32
"""Attempts, ends of leading and leaders that are remembered, of each the last so many."""

NO_LEADER_HEARD = "no leader was heard for an election timeout"
LEADER_GONE = "the leader's link closed and did not come back"
ORDERED = "the leader handed over to this server"
ALONE = "the only voter"

OPEN = "open"
WON = "won"
NO_MAJORITY = "no majority voted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to become leader: rounds of pre-votes, and the election if they were granted."""

    at: float
    term: int
    """The term that it is for."""
    reason: str
    pre_vote_rounds: int = 0
    campaigned: bool = False
    """Were votes asked for, after the pre-votes?"""
    votes: tuple[str, ...] = ()
    """Who granted the last round of pre-votes, or voted for us; ourselves included."""
    outcome: str = OPEN
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedDown:
    """One end of leading."""

    at: float
    term: int
    """The term that was led."""
    led_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """Somebody, perhaps we ourselves, was seen to lead."""

    at: float
    term: int
    leader: str


class Elections:
    """The last attempts, ends and leaders of one server."""

    __slots__ = ("_attempts", "_granted", "_leaders", "_led", "_step_downs")

    def __init__(self) -> None:
        self._attempts: deque[Attempt] = deque(maxlen=KEPT_MAX)
        self._step_downs: deque[SteppedDown] = deque(maxlen=KEPT_MAX)
        self._leaders: deque[Led] = deque(maxlen=KEPT_MAX)
        self._granted: Iterable[str] = ()
        self._led: tuple[float, int] | None = None

    def asked(self, now: float, term: int, reason: str, granted: Iterable[str]) -> None:
        """A round of pre-votes for ``term`` begins; who grants it will be in ``granted``.

        Rounds that follow each other are one attempt: a server that is cut off asks for hours.
        """
        if not self._is_open(term) or self._attempts[-1].campaigned:
            self._end(now, NO_MAJORITY)
            self._attempts.append(Attempt(at=now, term=term, reason=reason))
        self._granted = granted
        self._change(pre_vote_rounds=self._attempts[-1].pre_vote_rounds + 1)

    def campaigned(self, now: float, term: int, reason: str, granted: Iterable[str]) -> None:
        """Votes for ``term`` are asked for."""
        if not self._is_open(term) or self._attempts[-1].campaigned:
            self._end(now, NO_MAJORITY)
            self._attempts.append(Attempt(at=now, term=term, reason=reason))
        self._granted = granted
        self._change(campaigned=True)

    def won(self, now: float, term: int, node_id: str) -> None:
        """We lead."""
        self._end(now, WON)
        self._led = (now, term)
        self._leaders.append(Led(at=now, term=term, leader=node_id))

    def led_by(self, now: float, term: int, leader: str) -> None:
        """Another leads."""
        self._end(now, f"{leader} leads term {term}")
        last = self._leaders[-1] if self._leaders else None
        if last is None or (last.term, last.leader) != (term, leader):  # not one that came back
            self._leaders.append(Led(at=now, term=term, leader=leader))

    def overtaken(self, now: float, term: int) -> None:
        """Somebody has told us of a newer term."""
        self._end(now, f"a newer term, {term}, was heard of")

    def stepped_down(self, now: float, reason: str) -> None:
        """We lead no longer."""
        led_at, term = self._led or (now, 0)
        self._led = None
        self._step_downs.append(SteppedDown(at=now, term=term, led_s=now - led_at, reason=reason))

    def attempts(self) -> tuple[Attempt, ...]:
        """The newest first."""
        self._settle()
        return tuple(reversed(self._attempts))

    def step_downs(self) -> tuple[SteppedDown, ...]:
        """The newest first."""
        return tuple(reversed(self._step_downs))

    def leaders(self) -> tuple[Led, ...]:
        """The newest first."""
        return tuple(reversed(self._leaders))

    def _is_open(self, term: int) -> bool:
        last = self._attempts[-1] if self._attempts else None
        return last is not None and last.outcome == OPEN and last.term == term

    def _end(self, now: float, outcome: str) -> None:
        if self._attempts and self._attempts[-1].outcome == OPEN:
            self._settle()
            self._change(outcome=outcome, ended_at=now)
            self._granted = ()

    def _settle(self) -> None:
        """Write down who has granted so far."""
        if self._attempts and self._attempts[-1].outcome == OPEN:
            self._change(votes=tuple(sorted(self._granted)))

    def _change(self, **fields: object) -> None:
        self._attempts[-1] = replace(self._attempts[-1], **fields)  # type: ignore[arg-type]
