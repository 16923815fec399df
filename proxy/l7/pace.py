"""How slowly a client may send a body (contract D.5). Pure.

A client that sends a byte now and then keeps within every time between two pieces, and holds what
a request holds for as long as it likes. Only the time counts in which we wait for it: while the
next hop takes no more, it cannot be faster.
"""

from __future__ import annotations

from proxy.l7.limits import HttpLimits


class Pace:
    """Of one body."""

    __slots__ = ("_limits", "_size", "_waited_s")

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._size = 0
        self._waited_s = 0.0

    def too_slow(self, size: int, waited_s: float) -> bool:
        """So many bytes have come after so long a wait: whether all of it was too slow so far."""
        self._size += size
        self._waited_s += waited_s
        return (
            self._waited_s > self._limits.body_rate_after_s
            and self._size < self._limits.body_rate_least * self._waited_s
        )
