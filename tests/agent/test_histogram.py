"""Buckets add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.histogram import Histogram


@given(st.lists(st.floats(0, 5, allow_nan=False)))
def test_buckets_count_up_to_their_end(values: list[float]) -> None:
    histogram = Histogram((0.5, 1.0, 2.0))
    for value in values:
        histogram.observe(value)
    assert histogram.buckets() == [
        *((str(end), sum(value <= end for value in values)) for end in (0.5, 1.0, 2.0)),
        ("+Inf", len(values)),
    ]
    assert histogram.count == len(values)
    assert histogram.highest == max(values, default=0.0)
    assert abs(histogram.total - sum(values)) < 1e-6
