"""What the peer has said of itself (RFC 9113, section 6.5.2)."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.tunnel import frames
from proxy.tunnel.channel import Channel
from proxy.tunnel.frames import TunnelViolation
from proxy.tunnel.limits import TunnelLimits


class PeerSettings:
    """Values that hold for what we send."""

    __slots__ = ("_limits", "first_window", "frame_max", "streams_max", "takes_offers")

    def __init__(self, limits: TunnelLimits) -> None:
        self._limits = limits
        self.first_window = frames.WINDOW_FIRST
        self.frame_max = frames.FRAME_FIRST
        self.streams_max = 100  # until the peer says more
        #: Whether a stream may be offered a connection of its own.
        self.takes_offers = False

    def read(self, payload: bytes, channels: Iterable[Channel]) -> None:
        """A SETTINGS frame; windows of streams that stand move with it. Raises TunnelViolation."""
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._new_first_window(value, channels)
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.FRAME_FIRST <= value < 1 << 24:
                    raise TunnelViolation(frames.PROTOCOL_ERROR, "bad size of frames")
                self.frame_max = min(value, self._limits.frame_max_bytes)
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.streams_max = value
            elif name == frames.TAKES_OFFERS:
                self.takes_offers = bool(value and self._limits.own_streams_max)

    def _new_first_window(self, value: int, channels: Iterable[Channel]) -> None:
        if value > frames.WINDOW_MAX:
            raise TunnelViolation(frames.FLOW_CONTROL_ERROR, "window too large")
        more, self.first_window = value - self.first_window, value
        for channel in channels:
            channel.send_left += more
            if channel.send_left > frames.WINDOW_MAX:
                raise TunnelViolation(frames.FLOW_CONTROL_ERROR, "window too large")
