"""Answers that go twice: a moment later, in order, and bounded."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gossip.effects import Address
from gossip.second_copies import WAITING_MAX, SecondCopies

TO = Address(bytes((10, 0, 0, 1)), 7946)


def test_each_goes_once_more_after_a_moment() -> None:
    core = SecondCopies(0.2)
    assert core.deadline == math.inf
    core.add(TO, b"a", 1.0)
    core.add(TO, b"b", 1.1)
    assert core.take_due(1.1) == []
    assert core.take_due(core.deadline) == [(TO, b"a")]
    assert core.take_due(9.0) == [(TO, b"b")]
    assert core.deadline == math.inf


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=600))
def test_it_is_bounded_and_loses_nothing_else(steps: list[tuple[bool, float]]) -> None:
    core, now, added, taken = SecondCopies(0.2), 0.0, 0, 0
    for adds, pause_s in steps:
        if adds:
            added += len(core) < WAITING_MAX
            core.add(TO, b"x", now)
        else:
            now += pause_s
            due = core.take_due(now)
            taken += len(due)
            assert core.deadline > now
        assert len(core) <= WAITING_MAX
    assert taken + len(core) == added
