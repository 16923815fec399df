"""Coordinates of a made-up network: how near the estimates come to the truth."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from gossip import coordinates
from gossip.coordinates import CoordinateClient
from tests.gossip_lab.report import median, quantile

Spot = tuple[float, float, float]
SHAPES = ("plane", "two clusters", "plane with jitter")


@dataclass(slots=True)
class Fit:
    """Relative errors of the estimated round trips between random pairs."""

    updates: int
    median: float
    p95: float
    resets: int


def fit(seed: int, size: int, shape: str, updates: tuple[int, ...]) -> list[Fit]:
    """Every member measures random others; looked at after so many updates of each."""
    dice = random.Random(f"places-{seed}-{size}-{shape}")
    spots = [_spot(dice, shape) for _ in range(size)]
    clients = [CoordinateClient(random.Random(f"{seed}-{i}")) for i in range(size)]
    jitter = 0.2 if "jitter" in shape else 0.0
    found, done = [], 0
    for wanted in updates:
        for _ in range(wanted - done):
            for here in range(size):
                there = (here + dice.randrange(1, size)) % size
                rtt_s = _round_trip(spots[here], spots[there]) * (1 + dice.uniform(0, jitter))
                clients[here].observe(f"n{there}", clients[there].local, rtt_s)
        done = wanted
        errors = [_error(dice, spots, clients) for _ in range(2000)]
        assert all(map(math.isfinite, errors))
        resets = sum(client.resets for client in clients)
        found.append(Fit(done, median(errors), quantile(errors, 0.95), resets))
    return found


def _spot(dice: random.Random, shape: str) -> Spot:
    """A place in seconds of round trip, and what its access line adds."""
    x, y = dice.uniform(0, 0.05), dice.uniform(0, 0.05)
    if shape == "two clusters":
        x, y = x / 25 + dice.choice((0.0, 0.08)), y / 25
    return x, y, dice.uniform(0.0005, 0.002)


def _round_trip(a: Spot, b: Spot) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1]) + a[2] + b[2]


def _error(dice: random.Random, spots: list[Spot], clients: list[CoordinateClient]) -> float:
    here, there = dice.sample(range(len(spots)), 2)
    truth = _round_trip(spots[here], spots[there])
    return abs(coordinates.distance(clients[here].local, clients[there].local) - truth) / truth
