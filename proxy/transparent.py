"""Where a connection goes that the kernel led to us (mesh contract D.4). Pure.

A virtual address is the service that has it, and so is an address that the defaults of a service
name, which a terminating gateway stands for. The address of an instance is that instance, where
the service may be dialled directly. Everything else leaves the mesh as it came, unless only
destinations in the mesh are allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proxy.source import Endpoint, MeshState, UpstreamSpec


@dataclass(frozen=True, slots=True)
class ToUpstream:
    """It is for an upstream."""

    upstream: UpstreamSpec


@dataclass(frozen=True, slots=True)
class ToInstance:
    """It is for one instance of an upstream."""

    upstream: UpstreamSpec
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class PassOn:
    """It is for somebody outside the mesh."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """It goes nowhere; ``reason`` is a stable word."""

    reason: str


Way = ToUpstream | ToInstance | PassOn | Refuse


@dataclass(frozen=True, slots=True)
class Destinations:
    """What addresses mean to one proxy now."""

    virtual: Mapping[str, UpstreamSpec] = field(default_factory=dict)
    outside: Mapping[tuple[str, int], UpstreamSpec] = field(default_factory=dict)
    direct: Mapping[tuple[str, int], tuple[UpstreamSpec, Endpoint]] = field(default_factory=dict)
    own: frozenset[tuple[str, int]] = frozenset()
    mesh_only: bool = False

    def way(self, address: str, port: int) -> Way:
        """Where a connection to this address goes."""
        if (address, port) in self.own:
            # Nobody led it here: passing it on would lead to ourselves, again and again.
            return Refuse("own_address")
        upstream = self.virtual.get(address) or self.outside.get((address, port))
        if upstream is not None:
            return ToUpstream(upstream)
        found = self.direct.get((address, port))
        if found is not None:
            return ToInstance(*found)
        if self.mesh_only or address.startswith("240."):
            return Refuse("unknown_destination")  # a virtual address that nobody has (any more)
        return PassOn(address, port)


def destinations(state: MeshState, listens: Iterable[tuple[str, int]] = ()) -> Destinations:
    """What addresses mean by this state. ``listens`` are our own listeners."""
    own = state.own
    if own is None or own.transparent is None:
        return Destinations()
    virtual = {each.virtual_ip: each for each in own.upstreams if each.virtual_ip}
    outside = {
        (address, each.destination_port): each
        for each in own.upstreams
        for address in map(_written, each.destinations)
        if address
    }
    direct: dict[tuple[str, int], tuple[UpstreamSpec, Endpoint]] = {}
    for upstream in own.upstreams:
        if upstream.dialed_directly:
            for endpoint in state.endpoints.get(upstream.key, ()):
                direct[endpoint.address, endpoint.port] = (upstream, endpoint)
    listened = frozenset(listens)
    return Destinations(virtual, outside, direct, listened, state.mesh_destinations_only)


def _written(address: str) -> str:
    """An IP address as the kernel tells it; "" for the name of a host, which it does not know."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""
