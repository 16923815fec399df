"""How load is best shared among hosts that are not alike: the answers that policies strive for.

Host i answers in t_i L_i + d_i seconds with L_i requests under way (affine), or is one queue that
serves mu_i requests a second (exponential). See docs/balancing.md for the mathematics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_STEPS = 200


def mean_latency(slopes: Sequence[float], delays: Sequence[float], loads: Sequence[float]) -> float:
    """Mean seconds over requests, when each host has so many of them under way."""
    total = sum(loads)
    pairs = zip(slopes, delays, loads, strict=True)
    return sum(load * (slope * load + delay) for slope, delay, load in pairs) / total


def optimal_loads(slopes: Sequence[float], delays: Sequence[float], total: float) -> list[float]:
    """The loads with the least mean latency: marginal cost 2 t L + d is equal on all used hosts,
    and unused ones begin above it (Karush, Kuhn and Tucker)."""
    return _levelled([2 * slope for slope in slopes], delays, total)


def equal_latency_loads(
    slopes: Sequence[float], delays: Sequence[float], total: float
) -> list[float]:
    """The loads at which all used hosts answer equally fast: where "go where it is faster now"
    ends. At most a third worse than the optimum for affine latencies (Roughgarden, Tardos 2002)."""
    return _levelled(slopes, delays, total)


def _levelled(slopes: Sequence[float], delays: Sequence[float], total: float) -> list[float]:
    """Loads with ``slope L + delay`` at one level on all used hosts: water filled into vessels."""
    used = set(range(len(slopes)))
    while True:
        level = (total + sum(delays[i] / slopes[i] for i in used)) / sum(
            1 / slopes[i] for i in used
        )
        dry = {i for i in used if delays[i] >= level}
        if not dry:
            break
        used -= dry
    return [(level - delays[i]) / slopes[i] if i in used else 0.0 for i in range(len(slopes))]


def optimal_rates(service_rates: Sequence[float], arrival_rate: float) -> list[float]:
    """Requests a second for each queue (M/M/1) with the least mean time in the system. Raises
    ValueError when all together are too slow."""
    if arrival_rate >= sum(service_rates):
        raise ValueError("more comes in than all hosts can serve")
    low, high = 1.0 / max(service_rates), _price(service_rates, arrival_rate)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if sum(_rates_at(service_rates, middle)) < arrival_rate:
            low = middle
        else:
            high = middle
    return _rates_at(service_rates, high)


def _price(service_rates: Sequence[float], arrival_rate: float) -> float:
    """A marginal cost at which certainly enough is taken."""
    price = 1.0 / max(service_rates)
    while sum(_rates_at(service_rates, price)) < arrival_rate:
        price *= 2
    return price


def _rates_at(service_rates: Sequence[float], price: float) -> list[float]:
    """d/dx (x / (mu - x)) = mu / (mu - x)^2 equals the price on every used queue."""
    return [max(0.0, rate - math.sqrt(rate / price)) for rate in service_rates]
