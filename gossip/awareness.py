"""The local health score: how much we trust our own probes (Lifeguard's multiplier).

Gossip wire contract, section 3.7. What raises and lowers it is decided in gossip.probe and
gossip.swim; this only keeps it within bounds and scales.
"""

from __future__ import annotations


class Awareness:
    """0 is healthy; ``limit - 1`` is the worst."""

    __slots__ = ("_limit", "score")

    def __init__(self, limit: int) -> None:
        assert limit >= 1
        self._limit = limit
        self.score = 0

    def add(self, delta: int) -> None:
        """Worse by a positive, better by a negative delta; saturates at both ends."""
        self.score = min(max(self.score + delta, 0), self._limit - 1)

    def scale(self, interval_s: float) -> float:
        """The probe interval of a member of this health. Timeouts are never scaled."""
        return interval_s * (self.score + 1)
