"""What a proxy counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.authz import Policy
from proxy.source import MeshState


@dataclass(slots=True)
class ProxyStats:
    """Counters since start. ``events`` counts records by (event, reason)."""

    inbound_total: int = 0
    outbound_total: int = 0
    inbound_active: int = 0
    outbound_active: int = 0
    downstream_bytes: int = 0
    upstream_bytes: int = 0
    leaf_rotations: int = 0
    source_age_s: float = 0.0
    leaf_not_after_at: float = 0.0
    events: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(slots=True)
class HttpStats:
    """Of connections with requests: counters since start, and how many are open."""

    inbound_connections: int = 0
    outbound_connections: int = 0
    violations: int = 0
    denied: int = 0
    audited: int = 0
    open: int = 0
    #: Of them those from the mesh.
    inbound_open: int = 0


class Door(Protocol):
    """What there is to say of a listener."""

    on: Any
    error: str

    @property
    def is_open(self) -> bool: ...


def shown(state: MeshState, listeners: Mapping[str, Door], policy: Policy | None) -> dict[str, Any]:
    """What a proxy knows and where it listens, for people."""
    return {
        "listeners": {
            name: {"on": str(each.on), "open": each.is_open, "error": each.error}
            for name, each in listeners.items()
        },
        "rules": [str(rule) for rule in (policy.rules if policy else ())],
        "default_allow": policy.default_allow if policy else None,
        "endpoints": {
            key: [f"{each.address}:{each.port}" for each in endpoints]
            for key, endpoints in state.endpoints.items()
        },
    }


def counted(
    found: ProxyStats,
    *,
    open_now: int,
    handshakes: int,
    roots: int,
    tunnels: tuple[int, int],
    now: float,
) -> tuple[dict[str, float], dict[str, float]]:
    """Gauges and counters of the whole proxy by name; ``tunnels`` are connections and streams."""
    gauges = {
        "connections_active": float(open_now),
        "handshakes_active": float(handshakes),
        "workers": 1.0,
        "config_age_seconds": found.source_age_s,
        "leaf_expiry_seconds": max(0.0, found.leaf_not_after_at - now),
        "root_count": float(roots),
        "tunnel_connections": float(tunnels[0]),
        "tunnel_streams_active": float(tunnels[1]),
    }
    counters: dict[str, float] = {
        "connections_inbound": found.inbound_total,
        "connections_outbound": found.outbound_total,
        "leaf_rotations": found.leaf_rotations,
        "permissive_connections": found.events["permissive", "clear"],
    }
    return gauges, counters
