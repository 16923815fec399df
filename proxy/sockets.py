"""What is done to sockets of relayed connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from proxy.config import ProxyConfig

#: struct linger: whether, and for how many seconds (socket(7)).
_LINGER = struct.Struct("ii")


def tune(transport: asyncio.Transport, config: ProxyConfig) -> None:
    """No Nagle (it stalls a connection for 40 ms now and then), keepalive, a bounded buffer."""
    transport.set_write_buffer_limits(high=config.write_buffer_high_bytes)
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # What uvloop gives out makes a socket for each call: one does for all of them.
    with contextlib.suppress(OSError):  # the peer is gone already; reading will tell
        one = socket.socket(raw.family, raw.type, raw.proto, raw.fileno())
        try:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, config.keepalive_idle_s)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, config.keepalive_interval_s)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, config.keepalive_probes)
        finally:
            one.detach()


def address_of(transport: asyncio.Transport) -> str:
    """The other end of a socket."""
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""


def write_eof(transport: asyncio.Transport) -> None:
    """Say that nothing more is sent, if anybody is still there."""
    if transport.is_closing():
        return
    with contextlib.suppress(
        OSError, RuntimeError
    ):  # the peer may be gone: connection_lost follows
        transport.write_eof()


def reset_when_closed(raw: socket.socket, wanted: bool) -> None:
    """Whether closing the socket, also by the end of the process, resets the connection: nobody can
    take that for a whole stream. The socket may be closed already, for which uvloop has a
    ValueError."""
    if raw.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(wanted, 0))


def reset(transport: asyncio.Transport) -> None:
    """End a connection so that nobody takes it for one that ended in order."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is not None:
        reset_when_closed(raw, True)
    transport.abort()
