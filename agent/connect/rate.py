"""A token bucket with a bounded wait: how fast certificates are signed (mesh contract A.6)."""

from __future__ import annotations


class TokenBucket:
    """``rate`` tokens a second, at most ``burst`` kept. A rate of 0 is no limit at all.

    Tokens may be taken ahead of time: a caller is told how long to wait for its own.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float | None = None) -> None:
        assert rate >= 0
        self._rate = rate
        self._burst = max(1.0, rate if burst is None else burst)
        self._tokens = self._burst
        self._at: float | None = None

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._rate

    def take(self, *, now: float, wait_max_s: float) -> float | None:
        """Take a token: seconds until it is there, or None when that is longer than allowed."""
        if not self._rate:
            return 0.0
        if self._at is not None:
            gained = max(0.0, now - self._at) * self._rate
            self._tokens = min(self._burst, self._tokens + gained)
        self._at = now if self._at is None else max(now, self._at)
        wait_s = max(0.0, (1.0 - self._tokens) / self._rate)
        if wait_s > wait_max_s:
            return None
        self._tokens -= 1.0
        return wait_s
