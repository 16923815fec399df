"""Bounds of a tunnel, as configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelLimits:
    """What a peer may take. Sizes in bytes."""

    #: Streams under way on one connection.
    streams_max: int = 1024
    #: What may be on its way to a stream that does not read; grows while the stream keeps up.
    stream_window_bytes: int = 65_536
    stream_window_max_bytes: int = 4 << 20
    #: All windows of one connection together grow to this and no further.
    windows_max_bytes: int = 128 << 20
    #: What may be on its way on a whole connection.
    connection_window_bytes: int = 16 << 20
    #: The largest frame that is taken, and the largest that waiting streams send in turn.
    frame_max_bytes: int = 65_536
    slice_bytes: int = 16_384
    #: The headers of one stream, encoded.
    headers_max_bytes: int = 8_192
    #: In ten seconds: frames that only make work (SETTINGS, PING, empty DATA), and streams that
    #: are given up before they were answered.
    idle_frames_max: int = 100
    rapid_resets_max: int = 1000
    #: A stream that has moved so much gets its connection for itself: new streams go elsewhere.
    bulk_bytes: int = 4 << 20
    #: One that moves so much within this time goes on over a connection of its own, which two
    #: threads serve; so many at most (0: never), and what a thread reads at once.
    own_bytes: int = 16 << 20
    own_within_s: float = 2.0
    own_streams_max: int = 8
    own_block_bytes: int = 262144
    #: How long such a connection may wait for the stream that it belongs to, or be dialled.
    own_wait_s: float = 5.0
    #: Connections to one peer: so many from these numbers of streams on, and never more than this.
    second_lane_streams: int = 64
    all_lanes_streams: int = 512
    lanes: int = 4
    connections_max: int = 8
    #: How long a connection without streams is kept, and a peer taken for one without a tunnel.
    idle_s: float = 300.0
    plain_s: float = 60.0
    #: What is still to be written on a connection that ends may take so long.
    linger_s: float = 5.0
