"""Holding a request across an election: when to try again, and what to tell the caller in the end.

A failure is retried while there is time. A definite one may be retried by anybody; an indefinite
one too, because a change carries its identity and is applied once. What cannot be repaired is the
last word: if any attempt may have entered a log, the caller is told so.
"""

from __future__ import annotations

import random

from agent.errors import ForwardError, NoClusterLeader, NoServers, RequestError
from raftstore.errors import AnswerGone, JournalFull, QueueFull, StoreError

#: First pause between attempts and the longest one, in seconds. An election is over in about one
#: to two seconds, so a request meets the new leader soon after it is elected.
FIRST_PAUSE_S = 0.02
LAST_PAUSE_S = 0.25

_FINAL_CODES = frozenset(
    {"AnswerGone", "JournalFull", "too-large", "DecodeError", "EncodeError", "internal"}
)


class Attempts:
    """The attempts at one request, up to a deadline."""

    __slots__ = ("_deadline", "_indefinite", "_last", "_pause_s", "_rng")

    def __init__(self, *, deadline: float, rng: random.Random) -> None:
        self._deadline = deadline
        self._rng = rng
        self._pause_s = FIRST_PAUSE_S
        self._indefinite: Exception | None = None
        self._last: Exception | None = None

    def failed(self, error: StoreError | ForwardError, *, now: float, code: str = "") -> float:
        """Seconds until the next attempt; when there is none, raises what the caller gets."""
        self._last = error
        if not error.definite:
            self._indefinite = error
        if isinstance(error, JournalFull | AnswerGone) or code in _FINAL_CODES:
            raise self._verdict()
        pause = self._pause_s * (0.5 + self._rng.random())
        self._pause_s = min(LAST_PAUSE_S, self._pause_s * 2)
        if now + pause >= self._deadline:
            raise self._verdict()
        return pause

    def _verdict(self) -> Exception:
        if self._indefinite is not None:
            return ForwardError(str(self._indefinite), definite=False)
        if isinstance(self._last, NoServers | JournalFull | QueueFull | RequestError):
            return self._last
        code = getattr(self._last, "code", "")
        if code in _FINAL_CODES:
            assert self._last is not None
            return self._last
        return NoClusterLeader()
