"""The network interfaces of this host, read from the C library; decides nothing about them."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
from pathlib import Path

from agent.config.sockaddr import Interface

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_ROUTES = Path("/proc/net/route")


class _Address(ctypes.Structure):
    """The head of struct sockaddr (Linux): family, port, then up to an IPv6 address."""

    _fields_ = (
        ("family", ctypes.c_uint16),
        ("port", ctypes.c_uint16),
        ("body", ctypes.c_uint8 * 24),
    )


class _Entry(ctypes.Structure):
    """struct ifaddrs, getifaddrs(3)."""


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.POINTER(_Address)),
    ("netmask", ctypes.POINTER(_Address)),
    ("destination", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
]


def host_interfaces() -> list[Interface]:
    """All IP addresses of this host. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    head = ctypes.POINTER(_Entry)()
    if libc.getifaddrs(ctypes.byref(head)) != 0:
        raise OSError(ctypes.get_errno(), "getifaddrs failed")
    default = _default_interface()
    found = []
    try:
        entry = head
        while entry:
            interface = _interface(entry.contents, default)
            if interface is not None:
                found.append(interface)
            entry = entry.contents.next
    finally:
        libc.freeifaddrs(head)
    return found


def _interface(entry: _Entry, default: str) -> Interface | None:
    address = _text(entry.address)
    if address is None:
        return None
    name = entry.name.decode(errors="replace")
    mask = _text(entry.netmask)
    bits = 0 if mask is None else int(ipaddress.ip_address(mask)).bit_count()
    return Interface(
        name=name,
        address=address,
        prefix_length=bits,
        up=bool(entry.flags & _IFF_UP),
        loopback=bool(entry.flags & _IFF_LOOPBACK),
        default=name == default,
    )


def _text(pointer: ctypes._Pointer[_Address]) -> str | None:
    if not pointer:
        return None
    body = bytes(pointer.contents.body)
    if pointer.contents.family == socket.AF_INET:
        return str(ipaddress.IPv4Address(body[:4]))
    if pointer.contents.family == socket.AF_INET6:
        # Behind the port stand four bytes of flow label.
        return str(ipaddress.IPv6Address(body[4:20]))
    return None


def _default_interface() -> str:
    """The interface of the IPv4 default route, "" when there is none."""
    try:
        lines = _ROUTES.read_text().splitlines()[1:]
    except OSError:
        return ""
    for line in lines:
        name, destination, *_ = line.split()
        if destination == "00000000":
            return name
    return ""
