"""Whose connection it is: the process that holds the other end, by the kernel's word.

The kernel is asked for the one socket (sock_diag(7)); reading /proc/net/tcp would cost as much as
the whole machine has connections.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Mapping

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_NLM_F_REQUEST = 1
_NO_COOKIE = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_QUESTION = struct.Struct("=BBBxI")  # family, protocol, extensions, states
_ALL_STATES = 0xFFFFFFFF
#: Of the answer: family, state, timer, retransmissions; the 48 bytes of the question's socket;
#: expires, two queues, user; then the inode.
_INODE = struct.Struct("=4x48x16xI")

Address = tuple[str, int]


def owner_of(local: Address, remote: Address, processes: Mapping[int, int]) -> int | None:
    """The host whose process has a connection from ``local`` to ``remote``. ``processes`` are their
    ids by host. None where nobody has one (any more). Raises OSError where the kernel cannot be
    asked."""
    inode = inode_of(local, remote)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    return next((host for host, each in processes.items() if wanted in _held(each)), None)


def inode_of(local: Address, remote: Address) -> int | None:
    """The number by which the kernel knows this end of an IPv4 connection; None without one."""
    ends = struct.pack("!HH", local[1], remote[1])
    hosts = b"".join(socket.inet_aton(host).ljust(16, b"\0") for host in (local[0], remote[0]))
    tail = struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ALL_STATES)
    body = question + ends + hosts + tail
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        size = _HEADER.size + len(body)
        kernel.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body)
        answer = kernel.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None  # an error: there is no such socket
    (inode,) = _INODE.unpack_from(answer, _HEADER.size)
    return int(inode) or None


def _held(process_id: int) -> Iterable[str]:
    folder = f"/proc/{process_id}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                yield os.readlink(f"{folder}/{name}")
