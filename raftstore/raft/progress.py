"""What a leader knows of one follower: where to send from, and how much is on its way.

A fresh link starts by *probing* (one append, then wait) and goes on *pipelined* once the follower
has confirmed a match. The window bounds what a slow follower may owe. Losing the link, a refusal,
or silence make everything unacknowledged count as lost: sending resumes after the known match.
None of this carries safety: that rests on terms and on the match index, which only verified,
current-term replies move.
"""

from __future__ import annotations

from collections import deque


class Progress:
    """Sending state towards one peer."""

    __slots__ = (
        "_inflight",
        "answered",
        "floor",
        "inflight_bytes",
        "next_index",
        "probing",
        "sent_commit",
    )

    def __init__(self, next_index: int, floor: int) -> None:
        self._inflight: deque[tuple[int, int, float]] = deque()  # seq, bytes, sent at
        self.inflight_bytes = 0
        self.next_index = next_index
        self.probing = True
        self.floor = floor
        """Replies to appends below this sequence number say nothing about where to go on."""
        self.sent_commit = 0
        self.answered = 0
        """The highest sequence number that this peer has answered in our term."""

    @property
    def inflight(self) -> int:
        """Appends with entries that wait for an answer."""
        return len(self._inflight)

    def may_send(self, appends_max: int, bytes_max: int) -> bool:
        """Is the window open?"""
        if self.probing:
            return not self._inflight
        return len(self._inflight) < appends_max and self.inflight_bytes < bytes_max

    def sent(self, seq: int, size: int, next_index: int, now: float) -> None:
        """An append with entries has left; the next one starts at ``next_index``."""
        self._inflight.append((seq, size, now))
        self.inflight_bytes += size
        self.next_index = next_index

    def acknowledged(self, seq: int, match: int) -> None:
        """The follower holds everything up to ``match``."""
        self.answered = max(self.answered, seq)
        if seq >= self.floor:
            self.probing = False
            while self._inflight and self._inflight[0][0] <= seq:
                self.inflight_bytes -= self._inflight.popleft()[1]
        self.next_index = max(self.next_index, match + 1)

    def refused(self, seq: int, hint: int, match: int, next_seq: int) -> None:
        """The follower's log does not reach or fit ours: go back to its hint, never below match."""
        self.answered = max(self.answered, seq)
        if seq >= self.floor:
            self.restart(max(match + 1, min(hint, self.next_index - 1)), next_seq)

    def restart(self, next_index: int, next_seq: int) -> None:
        """Count everything on its way as lost."""
        self._inflight.clear()
        self.inflight_bytes = 0
        self.probing = True
        self.floor = next_seq
        self.next_index = next_index
        self.sent_commit = 0

    def overdue(self, now: float, retry_s: float) -> bool:
        """Has the oldest append waited too long for its answer?"""
        return bool(self._inflight) and now - self._inflight[0][2] > retry_s
