"""Frames that cost their sender nothing are counted (mesh contract D.5, 14)."""

from __future__ import annotations

from proxy.tunnel.frames import ENHANCE_YOUR_CALM, TunnelViolation

WINDOW_S = 10.0


class Flood:
    """So many of a kind in ten seconds, and no more."""

    __slots__ = ("_count", "_most", "_since")

    def __init__(self, most: int, now: float) -> None:
        self._most = most
        self._since = now
        self._count = 0

    def count(self, now: float) -> None:
        """One more. Raises TunnelViolation when it is one too many."""
        if now - self._since >= WINDOW_S:
            self._since, self._count = now, 0
        self._count += 1
        if self._count > self._most:
            raise TunnelViolation(ENHANCE_YOUR_CALM, "too many frames that only make work")
