"""What a proxy counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


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
