"""What is done to sockets of relayed connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from proxy.config import ProxyConfig

_INET = (socket.AF_INET, socket.AF_INET6)
#: struct linger: whether, and for how many seconds (socket(7)).
_LINGER = struct.Struct("ii")


def tune(transport: asyncio.Transport, config: ProxyConfig, *, accepted: bool) -> None:
    """A bounded buffer, and keepalive for what we dialled: what is ``accepted`` has it from its
    listener. Nagle's algorithm is turned off by both loops for every TCP connection."""
    transport.set_write_buffer_limits(high=config.write_buffer_high_bytes)
    if not accepted:
        keep_alive(transport.get_extra_info("socket"), config)


def keep_alive(of: socket.socket | None, config: ProxyConfig) -> None:
    """Probe a silent TCP connection; of a listener, every one that it accepts (Linux hands these
    options on). ``of`` is what a transport or server calls its socket."""
    if of is None or of.family not in _INET or of.fileno() < 0:
        return
    try:
        # Each call on a transport's own makes a socket anew: one of ours costs that once.
        raw = socket.socket(of.family, of.type, of.proto, fileno=of.fileno())
    except OSError:
        return
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, config.keepalive_idle_s)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, config.keepalive_interval_s)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, config.keepalive_probes)
    except OSError:  # the peer is gone already; reading will tell
        pass
    finally:
        raw.detach()


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
