"""Near hosts first, by Envoy's arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.l7.locality import Locality, drawn, level, shares


def test_levels() -> None:
    own = Locality("eu", "a")
    assert level(own, Locality("eu", "a")) == 0
    assert level(own, Locality("eu", "b")) == 1
    assert level(own, Locality("us", "a")) == 2
    assert level(Locality(), Locality()) == 2


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [
        ([(100, 100), (100, 100)], [1.0, 0.0]),
        ([(72, 100), (100, 100)], [1.0, 0.0]),
        ([(71, 100), (100, 100)], [0.994, 0.006]),
        ([(50, 100), (100, 100)], [0.7, 0.3]),
        ([(25, 100), (25, 100)], [0.5, 0.5]),
        ([(0, 100), (100, 100)], [0.0, 1.0]),
        ([(20, 100), (20, 100)], [0.5, 0.5]),
        ([(0, 10), (0, 10)], [0.0, 0.0]),
        ([(0, 0), (5, 5), (5, 5)], [0.0, 1.0, 0.0]),
    ],
)  # the rows with 71, 50 and 25 are those of Envoy's own documentation
def test_shares_are_envoys(levels: list[tuple[int, int]], wanted: list[float]) -> None:
    assert shares(levels) == pytest.approx(wanted)


COUNTS = st.integers(0, 9).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole)))


@given(st.lists(COUNTS, min_size=1, max_size=4), st.floats(0, 0.999999))
def test_all_traffic_goes_to_levels_that_have_somebody(
    levels: list[tuple[int, int]], draw: float
) -> None:
    found = shares(levels)
    assert sum(found) == pytest.approx(1.0 if any(usable for usable, _ in levels) else 0.0)
    chosen = drawn(levels, draw)
    if chosen is not None:
        assert levels[chosen][0] > 0


def test_a_tiny_zone_is_not_used_by_itself() -> None:
    assert drawn([(1, 1), (5, 5)], 0.0, local_min=2) is None
    assert drawn([(2, 2), (5, 5)], 0.0, local_min=2) == 0
