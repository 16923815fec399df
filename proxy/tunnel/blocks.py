"""Headers of a stream, which may come in several frames (RFC 9113, sections 4.3, 6.2 and 6.10)."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.tunnel import frames
from proxy.tunnel.flood import Flood
from proxy.tunnel.frames import TunnelViolation


class Blocks:
    """What has come of a block that goes on."""

    __slots__ = ("_begun", "_bytes_max", "_idle_frames")

    def __init__(self, bytes_max: int, idle_frames: Flood) -> None:
        self._bytes_max = bytes_max
        self._idle_frames = idle_frames
        self._begun: tuple[int, int, bytes] | None = None

    @property
    def goes_on(self) -> bool:
        """Whether nothing but the rest of a block may come."""
        return self._begun is not None

    def add(
        self, kind: int, flags: int, stream: int, payload: bytes, now: float
    ) -> tuple[Mapping[str, str], bool] | None:
        """A HEADERS or CONTINUATION frame: all headers and whether the stream ends with them, or
        None while more is to come. Raises TunnelViolation."""
        if kind == frames.CONTINUATION:
            if self._begun is None or self._begun[0] != stream:
                raise TunnelViolation(frames.PROTOCOL_ERROR, "headers go on that did not begin")
            begun, first = self._begun[1], self._begun[2]
            if not payload:
                self._idle_frames.count(now)
            payload = first + payload
            flags |= begun & frames.END_STREAM
        elif flags & frames.PADDED:
            raise TunnelViolation(frames.PROTOCOL_ERROR, "padding is not taken")
        elif flags & frames.PRIORITIZED:
            payload = payload[5:]
        if len(payload) > self._bytes_max:
            raise TunnelViolation(frames.ENHANCE_YOUR_CALM, "headers too long")
        if not flags & frames.END_HEADERS:
            self._begun = (stream, flags, payload)
            return None
        self._begun = None
        return frames.read_block(payload), bool(flags & frames.END_STREAM)
