"""How requests are shared among near and far hosts (contract D.9). Pure.

Envoy's arithmetic: a level is as healthy as its usable share times 1.4, at most wholly. The first
level takes that share of the requests, what is left goes on to the next. So a zone keeps all its
traffic until more than 2 in 7 of its hosts are gone, and never breaks down under what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OVERPROVISIONING = 1.4
#: Levels: same zone, same region, the rest.
LEVELS = 3


@dataclass(frozen=True, slots=True)
class Locality:
    """Where a host stands."""

    region: str = ""
    zone: str = ""


def level(own: Locality, other: Locality) -> int:
    """How far away a host is: 0 for the same zone, 1 for the same region, 2 for elsewhere."""
    if not own.region or own.region != other.region:
        return 2
    return 0 if own.zone == other.zone else 1


def shares(levels: Sequence[tuple[int, int]]) -> list[float]:
    """The share of requests of each level, from how many of its hosts are usable and how many
    there are. They sum to 1, or are all 0 when no host is usable."""
    healths = [
        min(1.0, OVERPROVISIONING * usable / whole) if whole else 0.0 for usable, whole in levels
    ]
    total = sum(healths)
    if total <= 0:
        return [0.0] * len(levels)
    left, found = 1.0, []
    for health in healths:
        # When all together cannot take everything, each takes its part of it.
        mine = min(left, health) if total >= 1.0 else health / total
        found.append(mine)
        left = max(0.0, left - mine)
    return found


def drawn(levels: Sequence[tuple[int, int]], draw: float, *, local_min: int = 0) -> int | None:
    """The level for one request; ``draw`` in [0, 1). A first level of fewer than ``local_min``
    usable hosts is not used by itself: None is then all levels alike."""
    first = next(((usable, at) for at, (usable, whole) in enumerate(levels) if whole), None)
    if first is None or first[0] < local_min:
        return None
    last = None
    for at, share in enumerate(shares(levels)):
        if share > 0:
            last = at
            if draw < share:
                return at
            draw -= share
    return last
