"""The constants of the model (docs/balancing.md), and that nothing near the optimum is better."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.balance.optimum import (
    equal_latency_loads,
    mean_latency,
    optimal_loads,
    optimal_rates,
)

A = (0.05, 0.1, 0.1, 0.2, 0.4)
EQUAL = (0.1,) * 5
FLAT = (0.05,) * 5
B = (0.05, 0.05, 0.5, 0.05, 0.05)
C = (1.0, 5.0, 5.0, 50.0, 100.0)


@pytest.mark.parametrize(
    ("t", "d", "best", "mean", "level"),
    [
        (EQUAL, FLAT, [200] * 5, 20.05, [200] * 5),
        (
            A,
            FLAT,
            [421.053, 210.526, 210.526, 105.263, 52.632],
            21.103,
            [421.053, 210.526, 210.526, 105.263, 52.632],
        ),
        (
            A,
            B,
            [422, 211, 208.75, 105.5, 52.75],
            21.197,
            [422.947, 211.474, 206.974, 105.737, 52.868],
        ),
        (EQUAL, C, [321.25, 301.25, 301.25, 76.25, 0], 36.198, [360, 320, 320, 0, 0]),
    ],
    ids=["equal", "A", "B", "C"],
)
def test_the_model_has_these_answers(t, d, best, mean, level) -> None:
    assert optimal_loads(t, d, 1000) == pytest.approx(best, abs=1e-3)
    assert mean_latency(t, d, best) == pytest.approx(mean, abs=1e-3)
    assert equal_latency_loads(t, d, 1000) == pytest.approx(level, abs=1e-3)


def test_the_seeds_numbers_and_what_is_wrong_with_them() -> None:
    """Its sum cannot rank splits when all hosts are alike, and 110.2 is a slip for 110.25."""

    def summed(t, d, loads):
        return sum(a * load + b for a, b, load in zip(t, d, loads, strict=True))

    assert summed(EQUAL, FLAT, [200] * 5) == pytest.approx(100.25)
    assert summed(EQUAL, FLAT, [300, 200, 200, 200, 200]) == pytest.approx(110.25)
    assert summed(EQUAL, FLAT, [300, 175, 175, 175, 175]) == pytest.approx(100.25)
    assert summed(A, FLAT, [1000, 0, 0, 0, 0]) == pytest.approx(50.25)
    assert mean_latency(A, FLAT, [1000, 0, 0, 0, 0]) == pytest.approx(50.05)
    assert mean_latency(A, FLAT, [200] * 5) == pytest.approx(34.05)


hosts = st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 50)), min_size=1, max_size=8)


@given(hosts, st.floats(1, 1000), st.integers(0, 1 << 32))
def test_no_other_split_is_better(made, total: float, seed: int) -> None:
    t, d = [each[0] for each in made], [each[1] for each in made]
    best = optimal_loads(t, d, total)
    assert sum(best) == pytest.approx(total)
    assert min(best) >= 0
    rng = random.Random(seed)
    other = [load * rng.uniform(0.5, 1.5) + rng.random() for load in best]
    other = [load * total / sum(other) for load in other]
    assert mean_latency(t, d, best) <= mean_latency(t, d, other) + 1e-9
    level = equal_latency_loads(t, d, total)
    assert mean_latency(t, d, level) <= 4 / 3 * mean_latency(t, d, best) + 1e-9


@pytest.mark.parametrize(
    ("rate", "shares"),
    [
        (225, [0.719, 0.140, 0.140, 0, 0]),
        (475, [0.535, 0.204, 0.204, 0.057, 0]),
        (712, [0.460, 0.209, 0.209, 0.089, 0.034]),
    ],
)
def test_queues_have_these_answers(rate: float, shares: list[float]) -> None:
    best = optimal_rates((400, 200, 200, 100, 50), rate)
    assert [each / rate for each in best] == pytest.approx(shares, abs=1e-3)


def test_more_than_all_can_serve_is_refused() -> None:
    with pytest.raises(ValueError, match="more comes in"):
        optimal_rates((10, 20), 30)
