"""Which datacenters are known and how near they are, and who is missing in the pool of servers."""

from __future__ import annotations

import math
from typing import Protocol

from agent.wan.members import bare_name
from gossip import Member
from gossip.coordinates import Coordinate
from raftstore.records import Json


class Pool(Protocol):
    """The pool as it is asked (agent/wan/pool.py)."""

    joins_failed: int
    last_error: str
    stopped: str

    def servers(self) -> dict[str, list[Member]]: ...
    def datacenters(self) -> list[str]: ...
    def distance_s(self, datacenter: str) -> float: ...
    def missing(self) -> tuple[str, ...]: ...
    def coordinate(self, name: str = "") -> Coordinate | None: ...


def explain_datacenters(pool: Pool | None, own: str) -> Json:
    """The datacenters, the nearest first. ``pool`` is None on an agent that is not in it."""
    if pool is None:
        return {
            "Datacenter": own,
            "Pool": "none: only servers are in it, where ports.serf_wan is set",
            "Datacenters": [],
        }
    servers = pool.servers()
    return {
        "Datacenter": own,
        "Pool": pool.stopped or "running",
        "NotJoinedYet": list(pool.missing()),
        "JoinsFailed": pool.joins_failed,
        "LastError": pool.last_error,
        "Datacenters": [
            {
                "Name": name,
                "RoundTrip_s": _seconds(pool.distance_s(name)),
                "Servers": [_server(pool, each, name) for each in servers.get(name, ())],
            }
            for name in pool.datacenters()
        ],
    }


def _server(pool: Pool, member: Member, datacenter: str) -> Json:
    return {
        "Name": bare_name(member.name, datacenter),
        "Address": f"{member.address}:{member.port}",
        "Status": member.status.name.lower(),
        "Measured": pool.coordinate(member.name) is not None,
    }


def _seconds(value: float) -> Json:
    return value if math.isfinite(value) else None
