"""Policies on hosts that are not alike land where the mathematics says (docs/balancing.md)."""

import pytest

from proxy.balance.adaptive import Adaptive
from proxy.balance.optimum import mean_latency, optimal_loads
from tests.proxy.balance.simulated import DELAYS, POLICIES, SLOPES, affine, queues


def over_optimum(name: str, clients: int, seed: int) -> float:
    best = mean_latency(SLOPES, DELAYS, optimal_loads(SLOPES, DELAYS, clients))
    result = affine(POLICIES[name](), seed=seed, clients=clients, requests=16_000)
    loads = [share * clients for share in result.load_shares]
    return mean_latency(SLOPES, DELAYS, loads) / best - 1


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("round robin", 5.0, 40.0),
        ("least request, all", 0.5, 0.7),
        ("p2c ewma", 0.2, 0.45),
        ("adaptive", -0.001, 0.05),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_affine_hosts(name: str, least: float, most: float, seed: int) -> None:
    assert least <= over_optimum(name, 50, seed) <= most


def test_adaptive_shares_are_the_optimum() -> None:
    best = optimal_loads(SLOPES, DELAYS, 50)
    shares = affine(Adaptive(), seed=3, clients=50, requests=16_000).load_shares
    assert shares == pytest.approx([load / 50 for load in best], abs=0.02)


def test_adaptive_follows_a_host_that_gets_slow() -> None:
    slower = (SLOPES[0] * 3, *SLOPES[1:])
    result = affine(Adaptive(), seed=1, clients=50, requests=16_000, changed_slopes=slower)
    loads = [share * 50 for share in result.load_shares]
    best = mean_latency(slower, DELAYS, optimal_loads(slower, DELAYS, 50))
    assert mean_latency(slower, DELAYS, loads) <= 1.15 * best


@pytest.mark.parametrize(
    ("rate", "theory_s", "p2c", "adaptive"),
    [(475, 0.00941, 1.15, 0.8), (712, 0.01918, 1.0, 0.6)],
)
def test_queues(rate: float, theory_s: float, p2c: float, adaptive: float) -> None:
    """The best static split is beaten, because the queue of the moment is seen too."""
    two = queues(POLICIES["p2c ewma"](), seed=1, arrival_rate=rate, requests=30_000)
    assert two.mean_s <= p2c * theory_s * 1.05
    one = queues(Adaptive(), seed=1, arrival_rate=rate, requests=30_000)
    assert one.mean_s <= adaptive * theory_s
    assert one.quantile_s(0.99) < two.quantile_s(0.99)
    turns = queues(POLICIES["round robin"](), seed=1, arrival_rate=rate, requests=10_000)
    assert one.quantile_s(0.99) <= 0.5 * turns.quantile_s(0.99)
