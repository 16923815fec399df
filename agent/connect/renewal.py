"""When a leaf certificate is renewed (mesh contract A.7) and retried (A.5, A.6).

Pure: times are Unix seconds, the dice come in.
"""

from __future__ import annotations

import random

from proxy.backoff import Backoff

#: The soft window as shares of a certificate's life, and the life below which there is none.
WINDOW = (0.6, 0.9)
LIFE_MIN_S = 600.0
#: On a new root everybody asks; spread over this time or what the signing rate needs.
ROOT_SPREAD_S = 30.0
ROOT_SPREAD_SLACK = 1.2
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
RATE_WINDOW_S = 30.0


def renew_at(
    valid_after_at: float, valid_before_at: float, *, now: float, rng: random.Random
) -> float:
    """The moment of the first attempt: drawn from the window, or now when that is past.

    A life under ten minutes is renewed at once; the caller's pause between two certificates keeps
    that from becoming a loop.
    """
    life_s = valid_before_at - valid_after_at
    if life_s < LIFE_MIN_S:
        return now
    drawn = valid_after_at + life_s * rng.uniform(*WINDOW)
    return max(now, drawn)


def root_spread_s(leaves: int, csr_max_per_second: float) -> float:
    """The window over which ``leaves`` renewals are spread after a root change."""
    needed_s = leaves / csr_max_per_second * ROOT_SPREAD_SLACK if csr_max_per_second else 0.0
    return max(ROOT_SPREAD_S, needed_s)


class Retry:
    """When to ask again after a failure."""

    __slots__ = ("_backoff", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._backoff = Backoff(RETRY_FIRST_S, RETRY_MAX_S, rng=rng)

    def failed_s(self) -> float:
        """Seconds to wait after a failure: full jitter, 1 s to 60 s."""
        return self._backoff.failed_s()

    def limited_s(self, *, now: float) -> float:
        """Seconds to wait after a rate limit: to a random point of the next 30 s window."""
        rest_s = RATE_WINDOW_S - now % RATE_WINDOW_S
        return rest_s + self._rng.uniform(0.0, RATE_WINDOW_S)

    def succeeded(self) -> None:
        """Begin again."""
        self._backoff.succeeded()
