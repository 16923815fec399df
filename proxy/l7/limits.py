"""Bounds and timings of HTTP, as configuration (contract D.5 and D.7)."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.http2.bounds import Bounds

#: The protocols that a request may always switch to.
UPGRADES = frozenset({"websocket"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a peer may take. Times in seconds, sizes in bytes."""

    #: From the first byte of a head to its end.
    head_timeout_s: float = 10.0
    #: Between two requests of a connection: to us, and from us.
    downstream_idle_s: float = 300.0
    upstream_idle_s: float = 60.0
    #: Between two pieces of a body, and for the next hop to take one.
    body_idle_s: float = 60.0
    write_stall_s: float = 60.0
    #: A client's body must have come at so many bytes a second once we have waited so long for it;
    #: 0 for any pace.
    body_rate_least: float = 240.0
    body_rate_after_s: float = 10.0
    #: Bytes that wait to be read from one connection.
    buffer_bytes: int = 262_144
    #: Of a body that nobody wants, read so that the connection can be used again.
    drain_bytes: int = 65_536
    #: Connections kept for reuse, to one host.
    idle_connections_max: int = 64
    #: One connection of HTTP/2, and how many of them lead to one host.
    http2: Bounds = field(default_factory=Bounds)
    http2_connections_max: int = 16
