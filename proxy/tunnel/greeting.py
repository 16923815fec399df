"""How a tunnel connection begins: HTTP/2's preface and the first settings (RFC 9113, 3.4)."""

from __future__ import annotations

from proxy.tunnel import frames
from proxy.tunnel.frames import TunnelViolation
from proxy.tunnel.limits import TunnelLimits


def opening(limits: TunnelLimits, *, client: bool) -> list[bytes]:
    """What one end says first."""
    told = {
        frames.HEADER_TABLE_SIZE: 0,
        frames.MAX_CONCURRENT_STREAMS: 0 if client else limits.streams_max,
        frames.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
        frames.MAX_FRAME_SIZE: limits.frame_max_bytes,
        frames.MAX_HEADER_LIST_SIZE: limits.headers_max_bytes,
    }
    if client:
        told[frames.ENABLE_PUSH] = 0
    if limits.own_streams_max:
        told[frames.TAKES_OFFERS] = 1
    more = limits.connection_window_bytes - frames.WINDOW_FIRST
    said = [frames.settings(told), frames.window_update(0, more)]
    return [frames.PREFACE, *said] if client else said


def take_off(data: bytes, wanted: bytes) -> tuple[bytes, bytes]:
    """What follows what is wanted of the preface, and what is still wanted. Raises
    TunnelViolation."""
    if data[: len(wanted)] != wanted[: len(data)]:
        raise TunnelViolation(frames.PROTOCOL_ERROR, "no preface")
    return data[len(wanted) :], wanted[len(data) :]
