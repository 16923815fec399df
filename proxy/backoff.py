"""How long to wait before trying again: exponential, with jitter, bounded."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from ``first_s`` to ``max_s``.

    ``jitter`` is the share of each delay that is random: 1.0 is full jitter (a uniform draw from 0
    to the delay), 0.5 draws from its upper half.
    """

    __slots__ = ("_attempts", "_first_s", "_jitter", "_max_s", "_rng")

    def __init__(
        self, first_s: float, max_s: float, *, rng: random.Random, jitter: float = 1.0
    ) -> None:
        assert 0 < first_s <= max_s
        assert 0.0 <= jitter <= 1.0
        self._first_s = first_s
        self._max_s = max_s
        self._jitter = jitter
        self._rng = rng
        self._attempts = 0

    def failed_s(self) -> float:
        """The delay after one more failure."""
        ceiling = min(self._max_s, self._first_s * 2.0 ** min(self._attempts, 62))
        self._attempts += 1
        return ceiling * (1.0 - self._jitter * self._rng.random())

    def succeeded(self) -> None:
        """Begin again at ``first_s``."""
        self._attempts = 0
