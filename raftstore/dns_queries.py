"""What DNS asks that nobody else does; numbered with queries.py."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass

from raftstore.definitions import VirtualAddress
from raftstore.queries import Footprint, HealthEntry, HealthService, Query, numbered
from raftstore.records import Node, Service, ServiceName


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


_VIRTUAL = "virtual-addresses"


@numbered(106, VirtualAddress | None)
@dataclass(frozen=True, slots=True)
class GetVirtualAddress(Query[VirtualAddress | None]):
    """The virtual address of a service (compared without case); None if it never had one."""

    service: ServiceName

    def footprint(self) -> tuple[Footprint, ...]:
        return ((_VIRTUAL, self.service.lower()),)


@numbered(107, VirtualAddress | None)
@dataclass(frozen=True, slots=True)
class VirtualAddressAt(Query[VirtualAddress | None]):
    """Whose virtual address this is."""

    address: str

    def footprint(self) -> tuple[Footprint, ...]:
        return ((f"{_VIRTUAL}:address", self.address),)


@numbered(108, tuple[VirtualAddress, ...])
@dataclass(frozen=True, slots=True)
class ListVirtualAddresses(Query[tuple[VirtualAddress, ...]]):
    """All virtual addresses, by service; the switch is among them under an empty name."""

    def footprint(self) -> tuple[Footprint, ...]:
        return ((_VIRTUAL, ""),)


@dataclass(frozen=True, slots=True)
class Sample:
    """Instances that may be given out; ``partial`` says that there are others among those that
    were asked about, ``total`` how many the service has, fit or not."""

    entries: tuple[HealthEntry, ...]
    partial: bool
    total: int = 0


@numbered(171, Sample)
@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSample(Query[Sample]):
    """At most ``most`` instances without a critical check, or with ``only_passing`` with nothing
    but passing ones: all of them, or as many drawn by ``seed``, each as likely as any other.

    What a service of thousands costs is what is drawn of it. With a ``stop`` only those are asked
    about that stand from ``start`` to before ``stop`` in an order that stays while none comes or
    goes.
    """

    service: ServiceName
    tags: tuple[str, ...] = ()
    connect: bool = False
    only_passing: bool = False
    most: int
    seed: int
    start: int = 0
    stop: int = 0

    @property
    def whole(self) -> HealthService:
        """The question after all of them, which changes with the same things."""
        return HealthService(service=self.service, tags=self.tags, connect=self.connect)

    def footprint(self) -> tuple[Footprint, ...]:
        return self.whole.footprint()
