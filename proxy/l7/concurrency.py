"""How many requests an application can take at once, found out as it goes (contract D.9). Pure.

The gradient rule: as long as answers come about as fast as they do when the application is idle,
more are let in, and fewer when they come slower. The idle time is measured again each minute, with
very few requests at once. What is over the limit is refused quickly instead of slowly.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from proxy.median import median


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyConfig:
    """``lictor_adaptive_concurrency``. Times in seconds."""

    limit_first: int = 20
    limit_min: int = 3
    limit_max: int = 1000
    window_s: float = 0.1
    samples_min: int = 10
    #: Between two measurements of the idle time, and the samples that one takes.
    idle_every_s: float = 60.0
    idle_samples: int = 25
    #: Share by which answers may be slower than idle before the limit falls.
    tolerance: float = 0.25


@dataclass(slots=True)
class Concurrency:
    """The limit and what it rests on."""

    config: ConcurrencyConfig
    now: float
    rng: random.Random
    limit: float = 0.0
    active: int = 0
    refused: int = 0
    idle_s: float = 0.0
    _samples: list[float] = field(default_factory=list)
    _window_at: float = 0.0
    _measuring: bool = True
    _measure_at: float = 0.0

    def __post_init__(self) -> None:
        self.limit = float(self.config.limit_first)
        self._window_at = self.now + self.config.window_s

    @property
    def bound(self) -> int:
        """Requests that may be under way now."""
        return self.config.limit_min if self._measuring else int(self.limit)

    def enter(self, now: float) -> bool:
        """Whether one more may begin; it then counts."""
        if not self._measuring and now >= self._measure_at:
            self._measuring, self._samples = True, []
        if self.active >= self.bound:
            self.refused += 1
            return False
        self.active += 1
        return True

    def leave(self, now: float, latency_s: float | None) -> None:
        """One ended after so long; None when its time says nothing."""
        self.active -= 1
        if latency_s is not None:
            self._samples.append(latency_s)
        if self._measuring:
            if len(self._samples) >= self.config.idle_samples:
                self._measured(now)
        elif now >= self._window_at and len(self._samples) >= self.config.samples_min:
            self._adapt(now)

    def _measured(self, now: float) -> None:
        self.idle_s = max(1e-6, median(self._samples))
        self._measuring, self._samples = False, []
        self._window_at = now + self.config.window_s
        # Not all sidecars of a service at the same time.
        self._measure_at = now + self.config.idle_every_s * self.rng.uniform(0.85, 1.15)

    def _adapt(self, now: float) -> None:
        seen_s = max(1e-6, median(self._samples))
        self._samples = []
        self._window_at = now + self.config.window_s
        gradient = min(1.0, max(0.5, self.idle_s * (1 + self.config.tolerance) / seen_s))
        room = math.sqrt(self.limit)
        wanted = self.limit * gradient + room
        self.limit = min(float(self.config.limit_max), max(float(self.config.limit_min), wanted))
