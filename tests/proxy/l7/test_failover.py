"""Which group of hosts is asked: at once away, back after the delay."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.l7.failover import Failover


def test_away_at_once_and_back_after_the_delay() -> None:
    failover = Failover(5.0)
    assert failover.choose([True, True], 0.0) == 0
    assert failover.choose([False, True], 1.0) == 1
    assert failover.choose([True, True], 2.0) == 1
    assert failover.choose([True, True], 6.9) == 1
    assert failover.choose([True, True], 7.0) == 0


def test_a_group_that_comes_and_goes_begins_again() -> None:
    failover = Failover(5.0)
    failover.choose([False, True], 0.0)
    failover.choose([True, True], 1.0)
    failover.choose([False, True], 5.0)
    assert failover.choose([True, True], 7.0) == 1
    assert failover.choose([True, True], 12.0) == 0


def test_without_the_standin_the_first_is_used_at_once() -> None:
    failover = Failover(60.0)
    assert failover.choose([False, True, False], 0.0) == 1
    assert failover.choose([True, False, False], 1.0) == 0
    assert failover.choose([False, False, False], 2.0) is None


@given(st.lists(st.tuples(st.lists(st.booleans(), min_size=3, max_size=3), st.floats(0, 5))),
       st.floats(0, 10))  # fmt: skip
def test_never_an_unusable_group_and_never_none_while_there_is_one(
    steps: list[tuple[list[bool], float]], delay_s: float
) -> None:
    failover, now = Failover(delay_s), 0.0
    for usable, passed in steps:
        now += passed
        chosen = failover.choose(usable, now)
        assert (chosen is None) == (not any(usable))
        if chosen is not None:
            assert usable[chosen]
            if delay_s == 0:
                assert chosen == usable.index(True)
