"""Delays between attempts."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from proxy.backoff import Backoff


@given(st.integers(), st.floats(0.0, 1.0), st.integers(1, 80))
def test_a_delay_doubles_up_to_its_bound_and_jitter_only_shortens_it(
    seed: int, jitter: float, attempts: int
) -> None:
    backoff = Backoff(1.0, 30.0, rng=random.Random(seed), jitter=jitter)
    for attempt in range(attempts):
        ceiling = min(30.0, 2.0**attempt)
        assert ceiling * (1.0 - jitter) <= backoff.failed_s() <= ceiling
    backoff.succeeded()
    assert backoff.failed_s() <= 1.0
