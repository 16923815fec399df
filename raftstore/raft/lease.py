"""A leader's lease: for how long no other leader can exist (Raft thesis, 6.4.1).

A voter that answers a lease probe promises neither to campaign nor to vote for anybody else until
an election timeout has passed on its own clock. Once a majority of voters, the leader included, has
promised, the leader may serve reads without asking until a little before the first promise can end,
counted from when the probe was *sent*. That rests on clocks that run at about the same pace and, on
the leader, count the time a machine was suspended. A changed configuration needs new promises. An
ordered election breaks all promises, so that after one the lease is gone for the rest of the term.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

ROUNDS_MAX = 64


class Lease:
    """The promises made to one leader. ``now`` is the suspend-aware clock."""

    __slots__ = ("_answers", "_length_s", "_number", "_revoked", "_sent")

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._number = 0
        self._sent: deque[tuple[int, float]] = deque(maxlen=ROUNDS_MAX)
        self._answers: dict[str, int] = {}
        self._revoked = False

    def begin(self, now: float) -> int:
        """A round of probes leaves now; its number."""
        self._number += 1
        self._sent.append((self._number, now))
        return self._number

    def answered(self, peer: str, number: int) -> None:
        """A voter has promised upon the probe of that number (of the current term)."""
        if number <= self._number and number > self._answers.get(peer, 0):
            self._answers[peer] = number

    def left_s(self, now: float, peers: Sequence[str]) -> float:
        """Seconds until the lease ends, at most 0 when there is none. ``peers``: other voters."""
        if self._revoked or not peers:
            return 0.0
        numbers = sorted((self._answers.get(peer, 0) for peer in peers), reverse=True)
        confirmed = numbers[(len(numbers) + 1) // 2 - 1]
        while self._sent and self._sent[0][0] < confirmed:
            self._sent.popleft()
        if not self._sent or self._sent[0][0] != confirmed:
            return 0.0
        return self._sent[0][1] + self._length_s - now

    def forget(self) -> None:
        """The configuration has changed: what was promised was promised by another set."""
        self._sent.clear()
        self._answers.clear()

    def revoke(self) -> None:
        """An election is ordered: nothing promised holds any more in this term."""
        self._revoked = True

    def reset(self) -> None:
        """Role or term have changed. Numbers go on, so that an old answer fits no new round."""
        self.forget()
        self._revoked = False
