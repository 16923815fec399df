"""Balancing among hosts that are not alike, against the computed optimum (docs/balancing.md).

A simulation on a virtual clock: the same figures on every machine. Also what one choice costs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from statistics import median

from proxy.balance.hosts import Policy
from proxy.balance.optimum import mean_latency, optimal_loads
from tests.proxy.balance.simulated import DELAYS, POLICIES, SLOPES, affine, hosts, queues

SEEDS = (1, 2, 3, 4, 5)
CLIENTS, REQUESTS = 50, 60_000
RATES = (225.0, 475.0, 712.0)
QUEUE_REQUESTS = 100_000
CHOICES = 20_000


def lines() -> Iterator[str]:
    """Tables in Markdown."""
    best = mean_latency(SLOPES, DELAYS, optimal_loads(SLOPES, DELAYS, CLIENTS))
    yield f"| affine, {CLIENTS} clients, optimum {best:.3f} s | shares of the load | over optimum |"
    yield "|---|---|---|"
    for name, make in POLICIES.items():
        runs = [
            affine(make(), seed=seed, clients=CLIENTS, requests=REQUESTS).load_shares
            for seed in SEEDS
        ]
        over = median(
            mean_latency(SLOPES, DELAYS, [s * CLIENTS for s in shares]) / best - 1
            for shares in runs
        )
        shown = " ".join(f"{share:.3f}" for share in runs[0])
        yield f"| {name} | {shown} | {over:+.1%} |"
    yield ""
    yield "| queues, mean / p99 ms | " + " | ".join(f"{rate:g}/s" for rate in RATES) + " |"
    yield "|---|" + "---|" * len(RATES)
    for name, make in POLICIES.items():
        cells = []
        for rate in RATES:
            if name in ("round robin", "random") and rate > RATES[0]:
                cells.append("unstable")
                continue
            result = queues(make(), seed=1, arrival_rate=rate, requests=QUEUE_REQUESTS)
            cells.append(f"{result.mean_s * 1000:.2f} / {result.quantile_s(0.99) * 1000:.1f}")
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""
    yield "| one choice among 20 hosts | us |"
    yield "|---|---|"
    for name, make in POLICIES.items():
        yield f"| {name} | {cost_us(make()):.1f} |"


def cost_us(chooser: Policy) -> float:
    """Processor time of choosing, beginning and ending one request, in microseconds."""
    rng, now = random.Random(1), 0.0
    chooser.update(hosts(20), now)
    began = time.process_time()
    for _ in range(CHOICES):
        now += 0.001
        host = chooser.pick(now, rng)
        assert host is not None
        chooser.started(host, now)
        chooser.finished(host, now, 0.01, False)
    return (time.process_time() - began) / CHOICES * 1e6
