"""How old a follower's state may be, by what the leader's messages prove.

Having heard the leader says little: the message may have been long on its way, and the state may be
far behind what it speaks of. So a follower notes when it answered each append, and the leader says
with every append which answer it had (``answered``). Its commit index is then not older than that
answer, and neither is the state once it has applied so far.

A leader that was deposed without knowing it commits nothing more but goes on saying so until it
misses its majority: for that time (one election timeout) the bound may be too low.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

#: Answers that the leader has not spoken of yet; more than a window of appends holds.
ANSWERS_MAX = 4096
#: Commit indexes that wait to be applied. Beyond it new ones are left out: the bound stays true and
#: gets coarse while much is behind.
WAITING_MAX = 256


class Freshness:
    """One follower's knowledge; times are seconds of the caller's clock."""

    __slots__ = ("_answers", "_fresh_at", "_waiting")

    def __init__(self) -> None:
        self._answers: deque[tuple[int, float]] = deque(maxlen=ANSWERS_MAX)
        self._waiting: deque[tuple[int, float]] = deque()
        self._fresh_at: float | None = None

    def follow(self) -> None:
        """Another leader, or another term: it numbers its appends anew."""
        self._answers.clear()

    def answering(self, seq: int, now: float) -> None:
        """An append of this number is being answered."""
        self._answers.append((seq, now))

    def heard(self, answered: int, commit: int, applied: int) -> None:
        """The leader had this answer when it said that all up to ``commit`` is committed."""
        at: float | None = None
        while self._answers and self._answers[0][0] <= answered:
            at = self._answers.popleft()[1]
        self._settle(applied)
        if at is None:
            return
        if commit <= applied:
            self._fresh_at = max(at, self._fresh_at or at)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append((commit, at))

    def fresh_at(self, applied: int) -> float | None:
        """When everything committed was certainly in the state; None if that is not known."""
        self._settle(applied)
        return self._fresh_at

    def _settle(self, applied: int) -> None:
        while self._waiting and self._waiting[0][0] <= applied:
            at = self._waiting.popleft()[1]
            self._fresh_at = max(at, self._fresh_at or at)


def majority_silent_s(heard: Sequence[float], now: float) -> float:
    """For how long a leader has not heard its majority: ``heard`` is when each other voter last
    answered. A leader alone is its own majority."""
    needed = (len(heard) + 1) // 2
    return now - sorted(heard, reverse=True)[needed - 1] if needed else 0.0
