"""Where a tunnel connection goes to."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from proxy.spiffe import SpiffeId


@dataclass(frozen=True, slots=True)
class Far:
    """The other end: where it is, whose identity it must have, what it is asked for. Our own
    identity is part of the pool: all connections speak for one leaf, and end with it."""

    address: str
    port: int
    expected: frozenset[SpiffeId]
    authority: str
    #: Of the service's instances; a gateway stands for each of its own.
    subset: str = ""


#: Places of services that are remembered: their hosts, seldom more.
_KNOWN_MAX = 4096


@functools.lru_cache(maxsize=_KNOWN_MAX)
def of_service(address: str, port: int, who: SpiffeId, subset: str = "") -> Far:
    """Where one instance of a service is."""
    return Far(address, port, frozenset({who}), f"{who.name}.{who.datacenter}", subset)
