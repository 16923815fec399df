"""Which services a transparent proxy reaches without naming them (mesh contract D.4). Pure.

All that have a virtual address and that an intention could let us reach: one that allows, or one
that decides by request. Who is really let in is decided at the destination, as always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from raftstore.definitions import VirtualAddress
from raftstore.entries.central import UPSTREAMS_MAX
from raftstore.records import Intention, Service, Upstream


def addresses(held: Iterable[VirtualAddress]) -> dict[str, str]:
    """The address of each service that has one and still exists, by its name."""
    return {each.service: each.address for each in held if each.service and each.freed_at is None}


def reachable(
    own: str,
    intentions: Sequence[Intention],
    held: Mapping[str, str],
    *,
    default_allow: bool,
) -> tuple[str, ...]:
    """The services by name. ``intentions`` are those with our service as source, winner first."""
    found = []
    for name in sorted(held):
        if name == own.lower():
            continue
        winner = next(
            (one for one in intentions if one.destination in ("*", name)
             or one.destination.lower() == name),
            None,
        )  # fmt: skip
        may = default_allow
        if winner is not None:
            may = bool(winner.source.permissions) or winner.source.action == "allow"
        if may:
            found.append(name)
    return tuple(found)


def extended(service: Service, names: Iterable[str]) -> Service:
    """A registration with upstreams of these names beside those that it names itself."""
    proxy = service.proxy
    there = {one.destination_name.lower() for one in proxy.upstreams}
    more = tuple(Upstream(destination_name=name) for name in names if name not in there)
    more = more[: max(0, UPSTREAMS_MAX - len(proxy.upstreams))]
    return replace(service, proxy=replace(proxy, upstreams=proxy.upstreams + more))
