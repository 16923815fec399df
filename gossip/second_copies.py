"""Answers that are sent a second time, a moment later, because the asker reckons with loss. Pure.

With k relays an answer is lost when its direct copy is, and one of two packets on each relay's
way: p (1 - (1 - p)^2)^k of them at a loss of p, 2.1 % at a quarter with three relays. A second
direct copy makes that p times as much, 0.5 %, for one packet more beside the 1 + 2k; the asker
takes an answer once. It goes a gossip interval later, for losses come in bursts.
"""

from __future__ import annotations

import math
from collections import deque

from gossip.effects import Address

WAITING_MAX = 256


class SecondCopies:
    """What is to be sent again, in order; beyond ``WAITING_MAX`` an answer goes only once."""

    __slots__ = ("_after_s", "_waiting")

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._waiting: deque[tuple[float, Address, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def deadline(self) -> float:
        """When the next one goes."""
        return self._waiting[0][0] if self._waiting else math.inf

    def add(self, to: Address, payload: bytes, now: float) -> None:
        """It has been sent now."""
        if len(self._waiting) < WAITING_MAX:
            last = self._waiting[-1][0] if self._waiting else -math.inf
            self._waiting.append((max(last, now + self._after_s), to, payload))

    def take_due(self, now: float) -> list[tuple[Address, bytes]]:
        """Those that go now."""
        due = []
        while now >= self.deadline:
            _, to, payload = self._waiting.popleft()
            due.append((to, payload))
        return due
