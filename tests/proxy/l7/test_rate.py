"""Token buckets: never more than burst and rate, for the instance and for routes."""

import re

from hypothesis import given
from hypothesis import strategies as st

from proxy.l7.rate import Bucket, RateLimit


def full_match(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


@given(st.floats(0.5, 50), st.integers(0, 20), st.lists(st.floats(0, 2), max_size=60))
def test_no_window_has_more_than_burst_and_rate(
    rate: float, burst: int, steps: list[float]
) -> None:
    bucket, now, passed = Bucket(rate, burst), 100.0, []
    for step in steps:
        now += step
        left_s = bucket.take(now)
        if left_s == 0.0:
            passed.append(now)
        else:
            assert 0 < left_s <= 1 / rate + 1e-6
    for first in range(len(passed)):
        span = passed[-1] - passed[first]
        assert len(passed) - first <= bucket.burst + rate * span + 1e-6


def test_a_route_has_its_own_bucket() -> None:
    limit = RateLimit(
        {"InstanceLevel": {
            "RequestsPerSecond": 1, "RequestsMaxBurst": 2,
            "Routes": [{"PathPrefix": "/slow", "RequestsPerSecond": 1, "RequestsMaxBurst": 1},
                       {"PathRegex": "/x[0-9]", "RequestsPerSecond": 1}]}}
    )  # fmt: skip
    assert limit.is_set
    assert limit.wait_s("/slow/a", 0.0, full_match) == 0.0
    assert limit.wait_s("/slow/a", 0.0, full_match) == 1.0
    assert limit.wait_s("/x1", 0.0, full_match) == 0.0
    assert [limit.wait_s("/", 0.0, full_match) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert limit.refused.total() == 2
    assert limit.wait_s("/", 1.0, full_match) == 0.0


def test_nothing_set_is_no_limit() -> None:
    limit = RateLimit(None)
    assert not limit.is_set
    assert limit.wait_s("/", 0.0, full_match) == 0.0
