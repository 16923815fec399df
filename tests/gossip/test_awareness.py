"""The local health score."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossip.awareness import Awareness


@given(st.lists(st.integers(-9, 9)))
def test_the_score_stays_within_its_bounds(deltas: list[int]) -> None:
    awareness = Awareness(8)
    for delta in deltas:
        awareness.add(delta)
        assert 0 <= awareness.score <= 7


def test_the_interval_stretches_up_to_eight_times() -> None:
    awareness = Awareness(8)
    assert awareness.scale(1.0) == 1.0
    awareness.add(100)
    assert awareness.scale(1.0) == 8.0
    awareness.add(-1)
    assert awareness.score == 6
