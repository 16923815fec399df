"""Which outcomes are remembered, and when they are forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.commands import Applied, Outcome, Rejected, RequestId
from raftstore.config import StateLimits
from raftstore.state.dedupe import ANSWER_GONE, Dedupe

LIMITS = StateLimits(outcomes_max=3, outcomes_bytes_max=5000, senders_max=2, sender_idle_s=10.0)


@pytest.fixture
def dedupe() -> Dedupe:
    return Dedupe(LIMITS)


def remember(dedupe: Dedupe, sender: str, counter: int, floor: int = 0, at: float = 0.0) -> None:
    dedupe.remember(at, RequestId(sender, counter, floor), Applied(counter))
    dedupe.check()


def known(dedupe: Dedupe, sender: str, counter: int):
    return dedupe.recall(99, RequestId(sender, counter))


def test_an_outcome_is_given_to_the_same_sender_and_counter_only(dedupe):
    remember(dedupe, "a", 1)
    assert known(dedupe, "a", 1) == Applied(1)
    assert known(dedupe, "a", 2) is None
    assert known(dedupe, "b", 1) is None


@pytest.mark.parametrize("floor", [3, 10**15])
def test_what_is_finished_is_forgotten_and_never_applied_again(dedupe, floor):
    remember(dedupe, "a", 1)
    remember(dedupe, "a", 2)
    remember(dedupe, "a", floor, floor=floor)
    assert len(dedupe) == 1
    assert isinstance(known(dedupe, "a", 2), Rejected)
    assert known(dedupe, "a", floor) == Applied(floor)


def test_a_floor_never_sinks(dedupe):
    remember(dedupe, "a", 5, floor=5)
    remember(dedupe, "a", 6, floor=1)
    assert isinstance(known(dedupe, "a", 4), Rejected)


def test_a_sender_with_too_many_outcomes_loses_its_oldest(dedupe):
    for counter in (1, 2, 3, 4):
        remember(dedupe, "a", counter)
    assert len(dedupe) == 3
    assert isinstance(known(dedupe, "a", 1), Rejected)
    assert known(dedupe, "a", 2) == Applied(2)


def test_the_longest_silent_of_too_many_senders_is_forgotten(dedupe):
    remember(dedupe, "a", 1)
    remember(dedupe, "b", 1)
    remember(dedupe, "a", 2)
    remember(dedupe, "c", 1)
    assert known(dedupe, "b", 1) is None
    assert known(dedupe, "a", 1) == Applied(1)


def test_a_sender_that_is_silent_too_long_is_forgotten(dedupe):
    remember(dedupe, "a", 1, at=0.0)
    remember(dedupe, "b", 1, at=10.0)
    assert known(dedupe, "a", 1) == Applied(1)
    remember(dedupe, "b", 2, at=10.5)
    assert known(dedupe, "a", 1) is None


def remember_answer(
    dedupe: Dedupe, sender: str, counter: int, index: int, size: int, at: float = 0.0
) -> None:
    dedupe.remember(at, RequestId(sender, counter), Applied(index, b"x" * size))
    dedupe.check()


def test_of_large_answers_the_oldest_are_let_go_and_never_applied_again(dedupe):
    remember_answer(dedupe, "a", 1, index=11, size=2000)
    remember_answer(dedupe, "b", 1, index=12, size=2000)
    remember_answer(dedupe, "a", 2, index=13, size=1000)
    assert known(dedupe, "a", 1) == Applied(11, b"x" * 2000)
    remember_answer(dedupe, "b", 2, index=14, size=300)
    assert known(dedupe, "a", 1) == Rejected(11, ANSWER_GONE)
    assert known(dedupe, "b", 1) == Applied(12, b"x" * 2000)
    assert known(dedupe, "a", 2) == Applied(13, b"x" * 1000)


def test_what_is_finished_makes_room_for_other_answers(dedupe):
    remember_answer(dedupe, "a", 1, index=11, size=4000)
    remember(dedupe, "a", 2, floor=2)
    remember_answer(dedupe, "b", 1, index=12, size=4000)
    remember(dedupe, "c", 1, at=20.0)  # a and b are forgotten
    remember_answer(dedupe, "c", 2, index=13, size=4000, at=20.0)
    assert known(dedupe, "c", 2) == Applied(13, b"x" * 4000)


def test_an_answer_larger_than_all_that_is_kept_is_not_kept(dedupe):
    remember_answer(dedupe, "a", 1, index=11, size=5001)
    assert known(dedupe, "a", 1) == Rejected(11, ANSWER_GONE)


outcomes = st.integers(0, 3000).map(lambda size: Applied(0, b"x" * size)) | st.integers(0, 600).map(
    lambda size: Rejected(0, "x" * size)
)
requests = st.builds(
    RequestId, sender=st.sampled_from("abc"), counter=st.integers(0, 9), floor=st.integers(0, 7)
)
steps = st.lists(st.tuples(st.integers(0, 12), requests, outcomes), max_size=20)


def carry_out(
    dedupe: Dedupe, index: int, stamp: float, request: RequestId, outcome: Outcome
) -> Outcome:
    """As the state machine does it, for one whose outcome would be this."""
    earlier = dedupe.recall(index, request)
    if earlier is not None:
        return earlier
    fresh = (
        Applied(index, outcome.value)
        if isinstance(outcome, Applied)
        else Rejected(index, outcome.reason)
    )
    dedupe.remember(stamp, request, fresh)
    dedupe.check()
    return fresh


@settings(deadline=None)
@given(before=steps, after=steps)
def test_a_server_that_was_sent_a_snapshot_remembers_and_forgets_the_same(before, after):
    one, stamp = Dedupe(LIMITS), 0.0
    for index, (later, request, outcome) in enumerate(before):
        stamp += later
        carry_out(one, index, stamp, request, outcome)
    other = Dedupe(LIMITS)
    for row in list(one.rows()):
        other.load(*row)
    other.check()
    for index, (later, request, outcome) in enumerate(after, start=len(before)):
        stamp += later
        assert carry_out(one, index, stamp, request, outcome) == carry_out(
            other, index, stamp, request, outcome
        )
    assert list(one.rows()) == list(other.rows())
