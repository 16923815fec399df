"""Two choices by expected wait: a moving average of latency that believes bad news at once.

The cost of a host is its average times the requests under way there, one more included, for its
weight. A sample above the average replaces it (peak), one below pulls it down by the time that has
passed (Finagle's peak EWMA); it also falls while a host is idle, so that one bad moment is not held
against it for ever. A host that fails fast would look best, so failures count as a long wait.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from proxy.balance.hosts import Counted, Host, draw_two
from proxy.median import median

#: Time in which a good sample takes back all but a third of a bad one.
DECAY_S = 10.0
#: A failure counts as at least so long a wait.
PENALTY_S = 5.0


@dataclass(slots=True)
class _Average:
    value_s: float
    at: float

    def now_s(self, now: float) -> float:
        return self.value_s * math.exp(-max(0.0, now - self.at) / DECAY_S)

    def add(self, sample_s: float, now: float) -> None:
        decayed = self.now_s(now)
        if sample_s > decayed:
            self.value_s = sample_s
        else:
            kept = math.exp(-max(0.0, now - self.at) / DECAY_S)
            self.value_s = self.value_s * kept + sample_s * (1 - kept)
        self.at = now


class PeakEWMA(Counted):
    """The cheaper of two drawn hosts. A new host starts at the median of those that are known."""

    def __init__(self) -> None:
        super().__init__()
        self._averages: dict[tuple[str, str], _Average] = {}

    def update(self, hosts: Sequence[Host], now: float) -> None:
        super().update(hosts, now)
        kept = {h.key: self._averages[h.key] for h in self.hosts if h.key in self._averages}
        start = median([a.now_s(now) for a in kept.values()]) if kept else 0.0
        self._averages = {h.key: kept.get(h.key) or _Average(start, now) for h in self.hosts}

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None = None,
        excluded: Collection[Host] = (),
    ) -> Host | None:
        drawn = draw_two(self.usable(excluded), rng)
        return min(drawn, key=lambda host: self.cost(host, now), default=None)

    def averages(self, now: float) -> Mapping[tuple[str, str], float]:
        return {key: average.now_s(now) for key, average in self._averages.items()}

    def cost(self, host: Host, now: float) -> float:
        """Expected seconds of waiting, for its weight."""
        average_s = self._averages[host.key].now_s(now)
        return average_s * (self.active[host.key] + 1) / host.weight

    def finished(self, host: Host, now: float, latency_s: float, failed: bool) -> None:
        super().finished(host, now, latency_s, failed)
        average = self._averages.get(host.key)
        if average is not None:
            average.add(max(latency_s, PENALTY_S) if failed else latency_s, now)
