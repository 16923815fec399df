"""What one connection of HTTP/2 may take, as configuration."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How often, within ``window_s``, a peer may do what makes work for us.

    Control frames count only while nothing of a message comes between them: pings that follow data
    measure a path, as clients of gRPC do, and cost the peer something.
    """

    window_s: float = 10.0
    resets_max: int = 1000
    controls_max: int = 100
    continuation_max_bytes: int = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one connection may take. Every stream may hold its whole window, so the window of the
    connection is that of all streams: a slow one never stops the others."""

    streams_max: int = 100
    stream_window_bytes: int = 131_072
    header_bytes_max: int = 61_440
    rates: Rates = field(default_factory=Rates)
