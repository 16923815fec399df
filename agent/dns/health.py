"""Which instances are fit to be given out, and the weight they get (DNS contract 3.3 and 4)."""

from __future__ import annotations

from collections.abc import Iterable

from raftstore.queries import HealthEntry
from raftstore.records import CRITICAL, PASSING, WARNING, Check


def obstacle(entry: HealthEntry, *, only_passing: bool) -> Check | None:
    """The check that keeps an instance out: its first critical one, or with ``only_passing`` its
    first that is not passing. None when the instance is fit; one without checks is."""
    for check in entry.checks:
        if check.status != PASSING and (only_passing or check.status == CRITICAL):
            return check
    return None


def fit(entries: Iterable[HealthEntry], *, only_passing: bool) -> list[HealthEntry]:
    """The instances without an obstacle, in the order given."""
    return [entry for entry in entries if obstacle(entry, only_passing=only_passing) is None]


def weight(entry: HealthEntry) -> int:
    """The SRV weight: by the worst state over the node's and the instance's checks."""
    states = {check.status for check in entry.checks}
    weights = entry.service.weights
    if states <= {PASSING}:
        chosen = weights.passing
    elif states <= {PASSING, WARNING}:
        chosen = weights.warning
    else:
        chosen = 0
    return max(0, min(chosen, 0xFFFF))
