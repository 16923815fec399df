"""The median, beside the library's."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from proxy.median import median


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40))
def test_it_is_the_median(values: list[float]) -> None:
    assert median(values) == statistics.median(values)
