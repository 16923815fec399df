"""What DNS asks that nobody else does; numbered with queries.py."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass

from raftstore.queries import Footprint, Query, numbered
from raftstore.records import Node, Service


@functools.lru_cache(maxsize=4096)
def canonical_address(text: str) -> str:
    """An IP address in its one form (mapped IPv6 as IPv4), "" for a host name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


@dataclass(frozen=True, slots=True)
class AddressHolder:
    """Who lives at an address: the first node by name, and the first instance that has it as its
    own, by node and id. None where there is none."""

    node: Node | None
    service: Service | None


@numbered(105, AddressHolder)
@dataclass(frozen=True, slots=True)
class WhoHasAddress(Query[AddressHolder]):
    """Who is registered with an IP address (``canonical_address``)."""

    address: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("address", self.address),)
