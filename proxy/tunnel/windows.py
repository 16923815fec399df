"""How much a peer may send: the connection's window, and windows of streams that grow.

A stream whose reader keeps up, and that used half of its window in less time than a long round
trip takes, gets twice the window, until all windows together are at their bound. So what can pile
up before slow readers is bounded, and one fast stream is not held back by the distance.
"""

from __future__ import annotations

from proxy.tunnel.channel import Channel
from proxy.tunnel.frames import FLOW_CONTROL_ERROR, TunnelViolation
from proxy.tunnel.limits import TunnelLimits

#: Half of a window used in less than this asks for a larger one: a round trip around the world.
GROW_BELOW_S = 0.3


class Receiving:
    """What was granted on one connection."""

    __slots__ = ("_left", "_limits", "_owed", "windows")

    def __init__(self, limits: TunnelLimits) -> None:
        self._limits = limits
        self._left = limits.connection_window_bytes
        self._owed = 0
        #: The sum of all streams' windows.
        self.windows = 0

    def took(self, size: int) -> int:
        """A frame of this size has come; what to grant again, 0 for nothing yet.

        The connection's window moves whether streams read or not: what waits is bounded by their
        own windows, and a slow reader must not hold up the others. Raises TunnelViolation.
        """
        self._left -= size
        if self._left < 0:
            raise TunnelViolation(FLOW_CONTROL_ERROR, "more than the connection's window")
        self._owed += size
        if self._owed * 2 < self._limits.connection_window_bytes:
            return 0
        more, self._owed = self._owed, 0
        self._left += more
        return more

    def credit(self, channel: Channel, now: float) -> int:
        """What to grant on a stream that is read."""
        more = channel.owed
        if not more:
            return 0
        limits = self._limits
        grown = min(channel.window * 2, limits.stream_window_max_bytes) - channel.window
        quick = more * 2 >= channel.window and now - channel.credited_at < GROW_BELOW_S
        if quick and grown > 0 and self.windows + grown <= limits.windows_max_bytes:
            channel.window += grown
            self.windows += grown
            more += grown
        channel.owed = 0
        channel.receive_left += more
        channel.credited_at = now
        return more
