"""The token bucket of certificate signing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.connect.rate import TokenBucket


def test_a_burst_passes_and_the_rest_waits_its_turn() -> None:
    bucket = TokenBucket(10.0)
    assert [bucket.take(now=5.0, wait_max_s=0.5) for _ in range(10)] == [0.0] * 10
    waits = [bucket.take(now=5.0, wait_max_s=0.5) for _ in range(6)]
    assert [round(wait, 3) for wait in waits[:5] if wait is not None] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert waits[5] is None
    assert bucket.take(now=7.0, wait_max_s=0.0) == 0.0


def test_a_rate_of_nothing_is_no_limit() -> None:
    bucket = TokenBucket(0.0)
    assert {bucket.take(now=1.0, wait_max_s=0.0) for _ in range(1000)} == {0.0}


@given(st.floats(0.5, 100.0), st.lists(st.floats(0.0, 0.2), min_size=1, max_size=200))
def test_no_window_gives_more_than_rate_and_burst(rate: float, gaps: list[float]) -> None:
    bucket, now, given_at = TokenBucket(rate), 0.0, []
    for gap in gaps:
        now += gap
        wait = bucket.take(now=now, wait_max_s=0.5)
        if wait is not None:
            given_at.append(now + wait)
    for first in range(len(given_at)):
        for last in range(first, len(given_at)):
            span = given_at[last] - given_at[first]
            assert last - first + 1 <= max(1.0, rate) + rate * span + 1.0 + 1e-6
