"""Addresses as people write them, as the wire carries them, and as sockets want them."""

from __future__ import annotations

import ipaddress

from gossip.effects import Address
from gossip.errors import ConfigError


def parse_join_address(text: str, default_port: int) -> tuple[str, int]:
    """`host`, `host:port`, `[v6]:port`, bare v6, each perhaps with `name/` in front.

    Raises ConfigError.
    """
    rest = text.strip().rpartition("/")[2]
    host, port = rest, ""
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ConfigError(f"invalid address {text!r}")
        port = tail[1:]
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    if not host:
        raise ConfigError(f"invalid address {text!r}")
    if not port:
        return host, default_port
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise ConfigError(f"invalid port in address {text!r}")
    return host, int(port)


def pack_ip(text: str) -> bytes:
    """4 bytes for IPv4, also in its mapped form, 16 for IPv6. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.packed
    return address.packed


def socket_address(to: Address) -> tuple[str, int] | None:
    """Where to send; None for what cannot be an address of a member."""
    if len(to.ip) not in (4, 16) or not 0 < to.port <= 65_535:
        return None
    address = ipaddress.ip_address(to.ip)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast:
        return None
    return str(address), to.port
