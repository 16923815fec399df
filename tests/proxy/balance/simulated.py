"""Requests to hosts that are not alike, on a virtual clock: the experiment of docs/balancing.md."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy.balance.adaptive import Adaptive
from proxy.balance.ewma import PeakEWMA
from proxy.balance.hosts import Host, Policy
from proxy.balance.least import LeastConnections, LeastRequest
from proxy.balance.turns import Random, WeightedRoundRobin

POLICIES: dict[str, Callable[[], Policy]] = {
    "round robin": WeightedRoundRobin,
    "random": Random,
    "least request, 2 choices": LeastRequest,
    "least request, all": LeastConnections,
    "p2c ewma": PeakEWMA,
    "adaptive": Adaptive,
}

#: Case A of the model: seconds for each request under way, and of delay.
SLOPES, DELAYS = (0.05, 0.1, 0.1, 0.2, 0.4), (0.05,) * 5
#: Requests a second that each queue can serve, and its delay.
RATES, QUEUE_DELAY_S = (400.0, 200.0, 200.0, 100.0, 50.0), 0.001


@dataclass(slots=True)
class Result:
    """What a run showed: latencies of the requests that count, mean load and picks of each host."""

    latencies: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    picks: list[int] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def mean_s(self) -> float:
        return sum(self.latencies) / len(self.latencies)

    def quantile_s(self, share: float) -> float:
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))]

    @property
    def load_shares(self) -> list[float]:
        return [each / sum(self.load) for each in self.load]

    @property
    def pick_shares(self) -> list[float]:
        return [each / sum(self.picks) for each in self.picks]


def hosts(count: int = 5, weights: Sequence[float] = ()) -> list[Host]:
    weights = weights or [1.0] * count
    return [Host((f"n{n}", "web"), f"10.0.0.{n}", 80, weights[n]) for n in range(count)]


class _Clock:
    """Loads of the hosts over time, from a moment on."""

    def __init__(self, size: int) -> None:
        self.active = [0] * size
        self.area = [0.0] * size
        self.since = 0.0

    def advance(self, now: float) -> None:
        for number, active in enumerate(self.active):
            self.area[number] += active * (now - self.since)
        self.since = now


def affine(
    policy: Policy,
    *,
    seed: int,
    clients: int,
    requests: int,
    slopes: Sequence[float] = SLOPES,
    changed_slopes: Sequence[float] | None = None,
) -> Result:
    """Closed loop: ``clients`` each send the next request when the last is answered, in
    d + t x (under way, this one too) seconds, 10 % more or less. The first quarter does not count.
    With ``changed_slopes`` hosts change at half of the run, and only its last quarter counts."""
    rng, among = random.Random(seed), hosts(len(slopes))
    number = {host: n for n, host in enumerate(among)}
    policy.update(among, 0.0)
    result, clock = Result(picks=[0] * len(among)), _Clock(len(among))
    count_from = requests * 3 // 4 if changed_slopes else requests // 4
    ends: list[tuple[float, int, Host, float]] = []
    order = itertools.count()
    now, begun_at = 0.0, 0.0
    for sent in range(requests):
        if sent >= clients:
            now, _, host, started = heapq.heappop(ends)
            clock.advance(now)
            clock.active[number[host]] -= 1
            policy.finished(host, now, now - started, False)
            if sent >= count_from:
                result.latencies.append(now - started)
        if sent == count_from:
            clock.area, begun_at = [0.0] * len(among), now
        chosen = policy.pick(now, rng)
        assert chosen is not None
        at = number[chosen]
        policy.started(chosen, now)
        clock.active[at] += 1
        result.picks[at] += sent >= count_from
        t = (changed_slopes if changed_slopes and sent > requests // 2 else slopes)[at]
        latency = (DELAYS[at % len(DELAYS)] + t * clock.active[at]) * rng.uniform(0.9, 1.1)
        heapq.heappush(ends, (now + latency, next(order), chosen, now))
    result.load = clock.area
    result.duration_s = now - begun_at
    return result


def queues(policy: Policy, *, seed: int, arrival_rate: float, requests: int) -> Result:
    """Open loop: requests come at random (Poisson) to hosts that serve one at a time, exponential
    times. The first fifth does not count."""
    rng, among = random.Random(seed), hosts(len(RATES))
    number = {host: n for n, host in enumerate(among)}
    policy.update(among, 0.0)
    result, clock = Result(picks=[0] * len(among)), _Clock(len(among))
    free_at = [0.0] * len(among)
    ends: list[tuple[float, int, Host, float]] = []
    now = 0.0
    for sent in range(requests):
        now += rng.expovariate(arrival_rate)
        while ends and ends[0][0] <= now:
            ended, _, host, started = heapq.heappop(ends)
            clock.advance(ended)
            clock.active[number[host]] -= 1
            policy.finished(host, ended, ended - started, False)
        chosen = policy.pick(now, rng)
        assert chosen is not None
        at = number[chosen]
        policy.started(chosen, now)
        clock.advance(max(now, clock.since))
        clock.active[at] += 1
        free_at[at] = max(free_at[at], now) + rng.expovariate(RATES[at])
        ended = free_at[at] + QUEUE_DELAY_S
        heapq.heappush(ends, (ended, sent, chosen, now))
        if sent >= requests // 5:
            result.latencies.append(ended - now)
            result.picks[at] += 1
    result.load = clock.area
    result.duration_s = now
    return result
