"""How long the last writes to the disk took: a window of them, and its percentiles. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

WINDOW_WRITES = 1024
"""Writes that the percentiles are taken over: under load some seconds, at rest minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Of the writes in the window. All zero where there was none."""

    writes: int = 0
    window_s: float = 0.0
    """Since the oldest of them ended."""
    p50_s: float = 0.0
    p99_s: float = 0.0
    max_s: float = 0.0


class Latencies:
    """When the last writes ended and how long each took, in seconds."""

    __slots__ = ("_recent",)

    def __init__(self, writes: int = WINDOW_WRITES) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=writes)

    def add(self, now: float, took_s: float) -> None:
        """A write ends now."""
        self._recent.append((now, took_s))

    def summary(self, now: float) -> LatencySummary:
        """Percentiles by nearest rank."""
        if not self._recent:
            return LatencySummary()
        took = sorted(took for _, took in self._recent)
        return LatencySummary(
            writes=len(took),
            window_s=now - self._recent[0][0],
            p50_s=_rank(took, 0.5),
            p99_s=_rank(took, 0.99),
            max_s=took[-1],
        )


def _rank(ordered: list[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]
