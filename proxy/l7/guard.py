"""What an application is spared: requests over its rate, and more at once than it can take. Pure.

Rate limits come from service-defaults (``RateLimits``), the limit of requests at once from
``lictor_adaptive_concurrency`` in the proxy's Config and is off without it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.durations import seconds
from proxy.l7.concurrency import Concurrency, ConcurrencyConfig
from proxy.l7.rate import RateLimit
from proxy.permissions import FullMatch


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """What is set."""

    rate_limits: Mapping[str, Any] = field(default_factory=dict)
    concurrency: ConcurrencyConfig | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a request that is not let in."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...]


class Guard:
    """Counts the requests to one application."""

    def __init__(self, config: GuardConfig, now: float, rng: random.Random) -> None:
        self.config = config
        self.rate = RateLimit(config.rate_limits)
        self.crowded = 0
        self.concurrency = Concurrency(config.concurrency, now, rng) if config.concurrency else None

    @property
    def is_set(self) -> bool:
        """Whether anything is limited."""
        return self.concurrency is not None or self.rate.is_set

    def succeed(self, before: Guard) -> None:
        """Go on with the counts of the one before, as far as its routes are still there."""
        self.crowded = before.crowded
        for route in self.rate.refused:
            self.rate.refused[route] = before.rate.refused[route]

    def enter(self, path: str, now: float, full_match: FullMatch) -> Refused | None:
        """Why a request is not let in; None when it is, and then ``leave`` must follow."""
        wait_s = self.rate.wait_s(path, now, full_match)
        if wait_s > 0:
            after = str(max(1, math.ceil(wait_s)))
            return Refused(429, "local rate limit", (("Retry-After", after),))
        if self.concurrency is not None and not self.concurrency.enter(now):
            self.crowded += 1
            return Refused(503, "too many requests at once", (("Retry-After", "1"),))
        return None

    def leave(self, now: float, began_at: float, *, answered: bool) -> None:
        """A request that was let in has ended; only times of answers say anything."""
        if self.concurrency is not None:
            self.concurrency.leave(now, now - began_at if answered else None)


def read(rate_limits: Any, config: Mapping[str, Any]) -> GuardConfig:
    """The settings of a service. What cannot be read is not set."""
    given = config.get("lictor_adaptive_concurrency")
    concurrency = None
    if given is True:
        concurrency = ConcurrencyConfig()
    elif isinstance(given, Mapping):
        default = ConcurrencyConfig()
        concurrency = ConcurrencyConfig(
            limit_first=_count(given.get("first"), default.limit_first),
            limit_min=_count(given.get("min"), default.limit_min),
            limit_max=_count(given.get("max"), default.limit_max),
            idle_every_s=seconds(given.get("idle_every"), default.idle_every_s),
        )
    return GuardConfig(
        rate_limits=rate_limits if isinstance(rate_limits, Mapping) else {},
        concurrency=concurrency,
    )


def _count(given: Any, default: int) -> int:
    honest = isinstance(given, int) and not isinstance(given, bool) and 0 < given <= 100_000
    return given if honest else default
