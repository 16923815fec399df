"""Which outcomes are remembered, and when they are forgotten."""

from __future__ import annotations

import pytest

from raftstore.commands import Applied, Rejected, RequestId
from raftstore.config import StateLimits
from raftstore.state.dedupe import Dedupe

LIMITS = StateLimits(outcomes_max=3, senders_max=2, sender_idle_s=10.0)


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
