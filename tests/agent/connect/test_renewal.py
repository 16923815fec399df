"""When leaves are renewed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agent.connect.renewal import RATE_WINDOW_S, Retry, renew_at, root_spread_s

HOUR = 3600.0


@given(st.integers(), st.floats(700.0, 1e7), st.floats(0.0, 2e7))
def test_a_leaf_is_renewed_between_60_and_90_percent_of_its_life(
    seed: int, life_s: float, now: float
) -> None:
    due = renew_at(1000.0, 1000.0 + life_s, now=now, rng=random.Random(seed))
    assert due >= now
    assert due == now or 1000.0 + 0.6 * life_s <= due <= 1000.0 + 0.9 * life_s
    if now > 1000.0 + 0.9 * life_s:
        assert due == now


def test_the_default_life_is_renewed_between_hours_43_and_65() -> None:
    rng = random.Random(1)
    dues = [renew_at(0.0, 72 * HOUR, now=0.0, rng=rng) / HOUR for _ in range(1000)]
    assert 43.2 <= min(dues) < 45
    assert 63 < max(dues) <= 64.8


def test_a_life_under_ten_minutes_is_renewed_at_once() -> None:
    assert renew_at(0.0, 599.0, now=1.0, rng=random.Random(1)) == 1.0


def test_a_new_root_spreads_by_what_the_signing_rate_needs() -> None:
    assert root_spread_s(10, 50.0) == 30.0
    assert root_spread_s(5000, 50.0) == 120.0
    assert root_spread_s(5000, 0.0) == 30.0


@given(st.integers(), st.floats(0.0, 1e9))
def test_after_a_rate_limit_one_attempt_falls_into_the_next_window(seed: int, now: float) -> None:
    delay = Retry(random.Random(seed)).limited_s(now=now)
    window = now // RATE_WINDOW_S + 1
    assert window * RATE_WINDOW_S - 1e-3 <= now + delay <= (window + 1) * RATE_WINDOW_S + 1e-3
