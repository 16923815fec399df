"""Where a tunnel connection goes to."""

from __future__ import annotations

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
