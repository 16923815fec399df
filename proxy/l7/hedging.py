"""When a request that is slow gets a second chance at another host (contract D.7). Pure.

Only for requests that change nothing; one extra try, paid for from the retry budget.
"""

from __future__ import annotations

from collections import deque

from proxy.l7.settings import Hedging

#: Answers whose times are kept, and how many there must be before a percentile says anything.
KEPT_MAX = 512
SAMPLES_MIN = 32
#: A percentile is computed again after so many new answers.
RENEW_AFTER = 32
HEDGED = frozenset({"GET", "HEAD"})


class Latencies:
    """How long the answers of one group of hosts took, the newest of them."""

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=KEPT_MAX)
        self._sorted: list[float] = []
        self._new = 0

    def add(self, latency_s: float) -> None:
        """One answer took so long."""
        self._kept.append(latency_s)
        self._new += 1

    def percentile_s(self, share: float) -> float | None:
        """The time within which this share of the answers came; None while too few are known."""
        if len(self._kept) < SAMPLES_MIN:
            return None
        if not self._sorted or self._new >= RENEW_AFTER:
            self._sorted, self._new = sorted(self._kept), 0
        return self._sorted[min(len(self._sorted) - 1, int(share * len(self._sorted)))]


def after_s(hedging: Hedging | None, method: str, latencies: Latencies) -> float | None:
    """After which time a second request is sent; None for never."""
    if hedging is None or method not in HEDGED:
        return None
    if hedging.after_s > 0:
        return hedging.after_s
    return latencies.percentile_s(hedging.percentile)
