"""When a session's TTL is over: what the leader remembers of renewals, and whom to end now. Pure.

Renewals are no writes. The leader alone counts them, in its own monotonic time, and forgets them
with its term: whoever leads next gives every session its whole TTL again. So a session never ends
before its TTL has passed since the last renewal that anybody confirmed, and while a leader stays it
ends within ten percent after that.

A renewal costs a dictionary look-up: a session stays filed under the end that it had, and is filed
anew when that comes. Ends are worked off in order, so the cost is that of the sessions that end and
one step per TTL of each that lives.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sortedcontainers import SortedList

#: A session is ended this share of its TTL after the TTL: the middle of the promised ten percent.
#: Below it lie the way of the last reply to the client and a client whose clock is slow, above it
#: the way of the end through the log and a leader whose clock is slow.
MARGIN = 0.05
#: An end that failed is tried again after so many seconds.
RETRY_S = 0.2
#: Renewals remembered for those who ask.
RECENT_MAX = 4
#: A loop that looked up so often, never more than so many seconds apart, has read its sockets.
CALM_LOOKS = 4
CALM_GAP_MAX_S = 0.1


class Standing(enum.Enum):
    """How a session's TTL stands."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    #: Its end is on its way through the log and may happen: too late for a renewal.
    ENDING = "ending"


class Since(enum.Enum):
    """What the TTL was last counted from."""

    CREATED = "created"
    LED = "leadership began"
    RENEWED = "renewed"


@dataclass(slots=True)
class Timer:
    """One session's TTL. Times are the leader's monotonic seconds, ``recent`` oldest first."""

    ttl_s: float
    ends_at: float
    counted_from: float
    since: Since
    renewals: int = 0
    recent: tuple[float, ...] = ()
    ending: bool = False
    #: Where it is filed in the order of ends; None while its end is on its way.
    filed_at: float | None = None


class Expiry:
    """The TTLs of one term."""

    __slots__ = ("_on_their_way", "_order", "_timers")

    def __init__(self) -> None:
        self._timers: dict[str, Timer] = {}
        self._order: SortedList = SortedList()  # (filed_at, id)
        self._on_their_way = 0

    def __len__(self) -> int:
        return len(self._timers)

    @property
    def on_their_way(self) -> int:
        """Ends that ``due`` gave out and whose outcome was not told yet."""
        return self._on_their_way

    def ids(self) -> tuple[str, ...]:
        """Every session known here, the longest known first."""
        return tuple(self._timers)

    def timer(self, session_id: str) -> Timer | None:
        """How one session's TTL stands; not to be changed."""
        return self._timers.get(session_id)

    # ---- what happens to sessions ----

    def learn(self, session_id: str, ttl_s: float, now: float, since: Since) -> None:
        """A session is there: its TTL counts from now. One that is known already stays as it is."""
        assert ttl_s > 0, "a session without a TTL never runs out"
        if session_id not in self._timers:
            timer = Timer(ttl_s, _end(now, ttl_s), now, since)
            self._timers[session_id] = timer
            self._file(session_id, timer, timer.ends_at)

    def renew(self, session_id: str, now: float) -> Standing:
        """A renewal has arrived: the TTL counts from now, unless the end is on its way already."""
        timer = self._timers.get(session_id)
        if timer is None:
            return Standing.UNKNOWN
        if timer.ending:
            return Standing.ENDING
        timer.counted_from, timer.since = now, Since.RENEWED
        timer.ends_at = max(timer.ends_at, _end(now, timer.ttl_s))
        timer.renewals += 1
        timer.recent = (*timer.recent[1 - RECENT_MAX :], now)
        return Standing.RUNNING

    def forget(self, session_id: str) -> None:
        """A session is not there any more, however it ended."""
        timer = self._timers.pop(session_id, None)
        if timer is None:
            return
        if timer.filed_at is None:
            self._on_their_way -= 1
        else:
            self._order.remove((timer.filed_at, session_id))

    def failed(self, session_id: str, now: float, *, definite: bool) -> None:
        """An end did not go through. If it still may, the session stays one that is ending."""
        timer = self._timers.get(session_id)
        if timer is None or timer.filed_at is not None:
            return
        self._on_their_way -= 1
        timer.ending = not definite
        self._file(session_id, timer, now + RETRY_S)

    # ---- whose time has come ----

    def next_at(self) -> float | None:
        """When to look again; None when no session can end."""
        return self._order[0][0] if self._order else None

    def over(self, now: float, *, looks_max: int) -> bool:
        """Whether the first session's time is really over.

        Those that were renewed are filed anew on the way, ``looks_max`` of them at most; then it
        says False although ``next_at`` has come.
        """
        for _ in range(looks_max):
            if not self._order or self._order[0][0] > now:
                return False
            if self._is_over(self._timers[self._order[0][1]], now):
                return True
            self._file_anew()
        return False

    def due(self, now: float, *, count_max: int, looks_max: int) -> tuple[str, ...]:
        """Sessions to end now, the longest over first. From now on they cannot be renewed.

        Each is to be followed by ``forget`` or ``failed``.
        """
        found: list[str] = []
        for _ in range(looks_max):
            if len(found) >= count_max or not self._order or self._order[0][0] > now:
                break
            session_id = self._order[0][1]
            timer = self._timers[session_id]
            if self._is_over(timer, now):
                del self._order[0]
                timer.ending, timer.filed_at = True, None
                self._on_their_way += 1
                found.append(session_id)
            else:
                self._file_anew()
        return tuple(found)

    def _is_over(self, timer: Timer, now: float) -> bool:
        return timer.ending or timer.ends_at <= now

    def _file_anew(self) -> None:
        _, session_id = self._order.pop(0)
        timer = self._timers[session_id]
        self._file(session_id, timer, timer.ends_at)

    def _file(self, session_id: str, timer: Timer, at: float) -> None:
        timer.filed_at = at
        self._order.add((at, session_id))


def _end(now: float, ttl_s: float) -> float:
    return now + ttl_s * (1.0 + MARGIN)


class Calm:
    """Whether this process has lately been prompt.

    After a stall the renewals that came meanwhile still lie in the sockets, and clocks say that
    their sessions are over. So nothing is ended before the loop has gone round some times without
    a gap: whatever had arrived has then been read.
    """

    __slots__ = ("_last_at", "_looks")

    def __init__(self) -> None:
        self._last_at = float("-inf")
        self._looks = 0

    def look(self, now: float) -> bool:
        """The loop has come round; is it calm?"""
        self._looks = self._looks + 1 if now - self._last_at <= CALM_GAP_MAX_S else 0
        self._last_at = now
        return self._looks >= CALM_LOOKS
