"""The host where one more request costs all requests least: marginal cost of a fitted line.

For each host latency is taken as affine in the requests under way, y = t x + d, fitted to what was
seen. The mean latency of all requests is least where the *marginal* cost 2 t L + d is equal on all
hosts that are used (docs/balancing.md); taking the smallest marginal cost for each request gets
there step by step, because the problem is convex and separable. No solver runs, and the total load
need not be known.

A latency-times-active rule equalises t L^2 instead and gives fast hosts too little; two random
choices can give one host at most 2/n of all requests, though the best may need more.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from proxy.balance.ewma import PENALTY_S, PeakEWMA
from proxy.balance.hosts import Host
from proxy.balance.optimum import optimal_loads

#: What one sample takes from the weight of those before it, and what time does.
KEEP_PER_SAMPLE = 0.995
FORGET_S = 30.0
#: Share of requests that go anywhere, so that hosts that are not used are still known.
PROBE_SHARE = 0.01
#: Samples that every host must have before the fits count, and the share of requests that go where
#: they are missing: a host whose first request was slow, because a connection had to be made for
#: it, would otherwise be asked again only when its average had decayed, half a minute later.
SAMPLES_MIN = 20
LEARN_SHARE = 0.1
#: Hosts whose marginal costs differ by no more than this are alike, and share: which of them is
#: ahead is chance, and one host of two equal ones would have nearly all requests of a quiet hour.
ALIKE = 1.1
#: With more hosts, only so many drawn ones are compared.
SCAN_MAX, DRAWN = 64, 8
_SLOPE_MIN_S = 1e-6
_VARIANCE_MIN = 1e-6


@dataclass(slots=True)
class Fit:
    """Weighted least squares of latency (s) over requests under way, in running sums."""

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    at: float = 0.0
    samples: int = 0

    def add(self, active: int, latency_s: float, now: float) -> None:
        """One request that went out as one of ``active`` and took so long."""
        keep = KEEP_PER_SAMPLE * math.exp(-max(0.0, now - self.at) / FORGET_S)
        self.n = self.n * keep + 1.0
        self.x = self.x * keep + active
        self.y = self.y * keep + latency_s
        self.xx = self.xx * keep + active * active
        self.xy = self.xy * keep + active * latency_s
        self.at = now
        self.samples += 1

    def line(self) -> tuple[float, float]:
        """Slope t and intercept d in seconds; (0, 0) without samples."""
        if self.n <= 0.0:
            return 0.0, 0.0
        mean_x, mean_y = self.x / self.n, self.y / self.n
        variance = self.xx / self.n - mean_x * mean_x
        if variance < _VARIANCE_MIN:
            slope = mean_y / mean_x if mean_x > 0 else 0.0
        else:
            slope = (self.xy / self.n - mean_x * mean_y) / variance
        slope = max(_SLOPE_MIN_S, slope)
        return slope, max(0.0, mean_y - slope * mean_x)


class Adaptive(PeakEWMA):
    """Smallest marginal cost. Until every host is known: two choices by moving average, and some
    requests to those that are not."""

    def __init__(self) -> None:
        super().__init__()
        self._fits: dict[tuple[str, str], Fit] = {}
        self._sent_as: dict[tuple[str, str], list[int]] = {}

    def update(self, hosts: Sequence[Host], now: float) -> None:
        super().update(hosts, now)
        self._fits = {h.key: self._fits.get(h.key) or Fit(at=now) for h in self.hosts}
        self._sent_as = {h.key: self._sent_as.get(h.key, []) for h in self.hosts}

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None = None,
        excluded: Collection[Host] = (),
    ) -> Host | None:
        usable = self.usable(excluded)
        if len(usable) < 2:
            return usable[0] if usable else None
        unknown = [host for host in usable if self._fits[host.key].samples < SAMPLES_MIN]
        if unknown and rng.random() < LEARN_SHARE:
            return rng.choice(unknown)
        if unknown:
            return super().pick(now, rng, hash_value=hash_value, excluded=excluded)
        if rng.random() < PROBE_SHARE:
            return rng.choice(usable)
        drawn = usable if len(usable) <= SCAN_MAX else rng.sample(usable, DRAWN)
        costs = [self.marginal_cost(host) for host in drawn]
        limit = min(costs) * ALIKE
        return rng.choice([host for host, cost in zip(drawn, costs, strict=True) if cost <= limit])

    def shares(self) -> Mapping[tuple[str, str], float]:
        """Those of the optimum for one request more than are under way, by the fitted lines."""
        usable = [host for host in self.hosts if host.weight > 0]
        lines = [self._fits[host.key].line() for host in usable]
        if not usable or any(slope <= 0.0 for slope, _ in lines):
            return super().shares()
        slopes = [slope / host.weight for (slope, _), host in zip(lines, usable, strict=True)]
        total = 1.0 + sum(self.active[host.key] for host in usable)
        loads = optimal_loads(slopes, [delay for _, delay in lines], total)
        return {host.key: load / total for host, load in zip(usable, loads, strict=True)}

    def marginal_cost(self, host: Host) -> float:
        """Seconds that one more request there adds to the wait of all, for its weight."""
        slope, intercept = self._fits[host.key].line()
        return (slope * (2 * self.active[host.key] + 1) + intercept) / host.weight

    def started(self, host: Host, now: float) -> None:
        super().started(host, now)
        if host.key in self._sent_as:
            self._sent_as[host.key].append(self.active[host.key])

    def finished(self, host: Host, now: float, latency_s: float, failed: bool) -> None:
        super().finished(host, now, latency_s, failed)
        waiting = self._sent_as.get(host.key)
        if waiting:
            # Which of them it was does not matter to the sums over many; first in is likely.
            active = waiting.pop(0)
            self._fits[host.key].add(
                active, max(latency_s, PENALTY_S) if failed else latency_s, now
            )
