"""Failing hosts are left alone for a while, never all of them (contract D.9)."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.l7.outliers import OutlierConfig, Outliers


def made(count: int = 5, **config: float) -> Outliers:
    outliers = Outliers(OutlierConfig(**config), 0.0)  # type: ignore[arg-type]
    outliers.update(range(count))
    return outliers


def fail(outliers: Outliers, key: int, now: float, times: int = 5) -> bool:
    return [outliers.ended(key, now, failed=True) for _ in range(times)][-1]


def test_failures_in_a_row_eject_each_time_for_longer() -> None:
    outliers = made()
    assert not fail(outliers, 1, 0.0, 4)
    outliers.ended(1, 0.0, failed=False)
    assert not fail(outliers, 1, 0.0, 4)
    assert fail(outliers, 1, 0.0, 1)
    assert outliers.ejected(29.9) == {1}
    assert outliers.ejected(30.1) == frozenset()
    outliers.started(1, 31.0)
    assert outliers.ejected(31.0) == {1}  # the trial is under way
    assert outliers.ended(1, 31.5, failed=True)  # one failure is enough now
    assert outliers.ejected(31.5 + 59.0) == {1}
    assert outliers.ejected(31.5 + 61.0) == frozenset()


def test_a_trial_that_works_brings_a_host_back() -> None:
    outliers = made()
    fail(outliers, 1, 0.0)
    outliers.started(1, 31.0)
    assert not outliers.ended(1, 31.1, failed=False)
    assert outliers.ejected(31.2) == frozenset()
    assert not fail(outliers, 1, 32.0, 4)


def test_the_last_host_is_never_ejected_and_one_of_two_may_be() -> None:
    alone = made(1)
    assert not fail(alone, 0, 0.0)
    pair = made(3)
    assert fail(pair, 0, 0.0)
    assert not fail(pair, 1, 0.0)  # a second one would be more than its share


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 12))
def test_some_host_always_remains(seed: int, count: int) -> None:
    rng, outliers, now = random.Random(seed), made(count, max_ejection_percent=50), 0.0
    for _ in range(300):
        now += rng.random() * 3
        key = rng.randrange(count)
        outliers.started(key, now)
        outliers.ended(key, now, failed=rng.random() < 0.9)
        assert len(outliers.ejected(now)) < max(count, 1) or count == 0
