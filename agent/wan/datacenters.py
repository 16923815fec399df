"""The datacenters that the pool of servers knows, their servers, and which are near. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from agent.backend.servers import ServerAddress
from agent.distance import distance_s
from agent.wan.members import is_server, number
from gossip import Member, MemberStatus
from gossip.coordinates import Coordinate

#: Where a member is by its name in the pool; None where that is not known.
Where = Callable[[str], Coordinate | None]
#: A datacenter whose servers have all failed is still one; who has left is not waited for.
_KNOWN = frozenset({MemberStatus.ALIVE, MemberStatus.LEAVING, MemberStatus.FAILED})


def by_datacenter(members: Iterable[Member]) -> dict[str, list[Member]]:
    """The servers that are known, by their datacenters; sorted by both names."""
    found: dict[str, list[Member]] = {}
    for member in sorted(members, key=lambda each: each.name):
        if member.status in _KNOWN and is_server(member):
            found.setdefault(member.tags["dc"], []).append(member)
    return dict(sorted(found.items()))


def nearest_first(
    members: Iterable[Member], own: str, here: Coordinate | None, where: Where
) -> list[str]:
    """The datacenters by the median round trip to their servers; ``own`` first, always there.

    Those of which no coordinate is known stand at the end, by name.
    """
    known = by_datacenter(members)
    known.setdefault(own, [])

    def key(datacenter: str) -> tuple[bool, float, str]:
        return datacenter != own, median_s(known[datacenter], here, where), datacenter

    return sorted(known, key=key)


def median_s(servers: Sequence[Member], here: Coordinate | None, where: Where) -> float:
    """The median estimated round trip to servers, in seconds; infinite where none is known."""
    if here is None:
        return math.inf
    places = [place for server in servers if (place := where(server.name)) is not None]
    trips = sorted(distance_s(here, place) for place in places)
    return trips[len(trips) // 2] if trips else math.inf


def addresses(members: Iterable[Member], datacenter: str) -> list[ServerAddress]:
    """Where the live servers of a datacenter take calls."""
    return [
        ServerAddress(m.tags.get("id", ""), m.name, m.address, number(m.tags["port"]))
        for m in members
        if m.status is MemberStatus.ALIVE and is_server(m, datacenter)
    ]
