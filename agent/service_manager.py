"""Tells the service manager that started this process how it is (sd_notify(3)).

A unit of `Type=notify`, as those written for Consul are, is started when the agent says so; without
a word it would be taken for hung. Nothing is said where nobody asked.
"""

from __future__ import annotations

import contextlib
import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


def tell(*lines: str) -> None:
    """Say these things; what cannot be said is left."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there,
    ):
        there.connect(address)
        there.sendall("\n".join(lines).encode())
