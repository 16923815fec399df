"""What a proxy counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.authz import Policy
from proxy.http1 import head
from proxy.source import MeshState
from proxy.telemetry.connections import ConnectionMetrics

#: Whether this is the compiled form of the proxy (ADR 102).
COMPILED = not head.__file__.endswith(".py")


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
    #: States that were worked by, and what could not be: certificates, parts of a state.
    config_version: int = 0
    config_rejects: int = 0
    source_rejects: int = 0
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Of all connections, with requests or without.
    connections: ConnectionMetrics = field(default_factory=ConnectionMetrics)


@dataclass(slots=True)
class HttpStats:
    """Of connections with requests: counters since start, and how many are open."""

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
    handshakes: int,
    roots: int,
    now: float,
) -> tuple[dict[str, float], dict[str, float]]:
    """Gauges and counters of the whole proxy by name."""
    gauges = {
        "handshakes_active": float(handshakes),
        "workers": 1.0,
        "compiled": float(COMPILED),
        "config_age_seconds": found.source_age_s,
        "config_version": float(found.config_version),
        "leaf_expiry_seconds": max(0.0, found.leaf_not_after_at - now),
        "root_count": float(roots),
    }
    counters: dict[str, float] = {
        "config_rejects": found.config_rejects + found.source_rejects,
        "leaf_rotations": found.leaf_rotations,
        "permissive_connections": found.events["permissive", "clear"],
    }
    return gauges, counters
