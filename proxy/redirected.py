"""Accepts connections that the kernel led here, and finds out where they were meant to go."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

#: getsockopt(2): SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST, of netfilter.
_ORIGINAL = 80
#: Linux: the IPv6 addresses of this network namespace, one a line.
_ADDRESSES_6 = Path("/proc/net/if_inet6")
_LOOPBACK_6 = "0" * 31 + "1"


def has_loopback_6() -> bool:
    """Whether there is an IPv6 loopback address to be led to."""
    try:
        return _LOOPBACK_6 in _ADDRESSES_6.read_text()
    except OSError:
        return False


def original(raw: socket.socket) -> tuple[str, int] | None:
    """The address that a connection was made to; None when the kernel knows of none."""
    try:
        if raw.family == socket.AF_INET6:
            data = raw.getsockopt(socket.IPPROTO_IPV6, _ORIGINAL, 28)
            port, address = struct.unpack("!2xH4x16s4x", data)
            return socket.inet_ntop(socket.AF_INET6, address), port
        data = raw.getsockopt(socket.SOL_IP, _ORIGINAL, 16)
        port, address = struct.unpack("!2xH4s8x", data)
        return socket.inet_ntop(socket.AF_INET, address), port
    except (OSError, struct.error):
        return None


class Redirected(asyncio.Protocol):
    """The first protocol of such a connection: makes way for the one that it is for."""

    def __init__(self, choose: Callable[[str, int], asyncio.Protocol]) -> None:
        self._choose = choose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        raw = transport.get_extra_info("socket")
        meant = original(raw) if raw is not None else None
        if meant is None:
            # Without netfilter's mark somebody dialled the listener itself.
            meant = transport.get_extra_info("sockname")[:2]
        protocol = self._choose(*meant)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
