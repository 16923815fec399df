"""Smooth weighted round robin: each host as often as its weight says, spread as evenly as can be.

As in nginx: every host gains its weight, the one with most is taken and pays the sum of all.
Weights 5, 1, 1 give a a b a c a a; every window as long as the sum of the weights is exact.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from proxy.balance.hosts import Counted, Host


class WeightedRoundRobin(Counted):
    """Takes turns by weight."""

    def __init__(self) -> None:
        super().__init__()
        self._credit: dict[tuple[str, str], float] = {}

    def update(self, hosts: Sequence[Host], now: float) -> None:
        super().update(hosts, now)
        self._credit = {host.key: self._credit.get(host.key, 0.0) for host in self.hosts}

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None = None,
        excluded: Collection[Host] = (),
    ) -> Host | None:
        usable = self.usable(excluded)
        if not usable:
            return None
        credit, total = self._credit, 0.0
        for host in usable:
            credit[host.key] += host.weight
            total += host.weight
        chosen = max(usable, key=lambda host: credit[host.key])
        credit[chosen.key] -= total
        return chosen


class Random(Counted):
    """Draws a host, the more often the more it weighs."""

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None = None,
        excluded: Collection[Host] = (),
    ) -> Host | None:
        usable = self.usable(excluded)
        if not usable:
            return None
        return rng.choices(usable, [host.weight for host in usable])[0]
