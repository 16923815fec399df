"""When a sidecar that has ended is started again (mesh contract D.1): 1 s, doubling to 30 s.

Pure: the time comes in.
"""

from __future__ import annotations

import random

from proxy.backoff import Backoff

FIRST_S, MAX_S = 1.0, 30.0
#: A child that lived this long has recovered: its next restart is quick again.
HEALTHY_S = 60.0


class Restarts:
    """The restarts of one child."""

    __slots__ = ("_backoff", "_started_at", "count")

    def __init__(
        self, *, rng: random.Random, first_s: float = FIRST_S, max_s: float = MAX_S
    ) -> None:
        self._backoff = Backoff(first_s, max_s, rng=rng, jitter=0.2)
        self._started_at = 0.0
        self.count = 0

    def started(self, *, now: float) -> None:
        """The child runs."""
        self._started_at = now

    def ended_s(self, *, now: float) -> float:
        """The child has ended: seconds until it is started again."""
        if now - self._started_at >= HEALTHY_S:
            self._backoff.succeeded()
        self.count += 1
        return self._backoff.failed_s()
