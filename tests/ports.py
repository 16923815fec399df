"""Ports for programs that tests start: below the range that the system gives to connections.

A port that was free for a moment (bound to 0 and closed) may be taken by any outgoing connection
before the program binds it, and several test processes run at once. So each process walks a part
of a range of its own that no connection is given from.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

FIRST, COUNT = 22_000, 10_000
#: Where this process begins; neighbours in process id begin far from each other.
_walk = itertools.count(os.getpid() * 613)


def free_port(host: str = "127.0.0.1") -> int:
    """A port free for UDP and TCP, which this process has not given out before."""
    for _ in range(COUNT):
        port = FIRST + next(_walk) % COUNT
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                tcp.bind((host, port))
                udp.bind((host, port))
                return port
    raise AssertionError("no port is free")


def free_ports(count: int) -> list[int]:
    """So many of them, all different."""
    return [free_port() for _ in range(count)]


def three_ports() -> tuple[int, int, int]:
    """Those of three servers."""
    return free_port(), free_port(), free_port()
