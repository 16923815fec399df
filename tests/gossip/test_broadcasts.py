"""What is piggybacked next."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.broadcasts import BroadcastQueue, retransmit_limit
from tests.gossip import vectors
from tests.strategies import scaled


def queue(limit: int = 100) -> BroadcastQueue:
    return BroadcastQueue(limit=limit, overhead_bytes=2)


@pytest.mark.parametrize("row", vectors.load()["retransmit_limits"], ids=lambda r: str(r["n"]))
def test_the_retransmit_limits_equal_the_recorded_ones(row: dict[str, Any]) -> None:
    assert retransmit_limit(4, row["n"]) == row["mult4"]
    assert retransmit_limit(2, row["n"]) == row["mult2"]


def test_a_message_is_sent_exactly_as_often_as_the_limit_says() -> None:
    q = queue()
    q.add(b"x", token="t")
    for _ in range(4):
        assert not q.finished
        assert q.take(100, transmits_max=4) == [b"x"]
    assert q.finished == ["t"]
    assert q.take(100, transmits_max=4) == []


def test_uncounted_takes_do_not_use_a_message_up() -> None:
    q = queue()
    q.add(b"x")
    for _ in range(9):
        assert q.take(100, transmits_max=2, counted=False) == [b"x"]
    assert len(q) == 1


def test_the_least_sent_come_first_then_the_longest_then_the_newest() -> None:
    q = queue()
    q.add(b"old")
    q.take(100, transmits_max=9)
    for message in (b"aa", b"dddd", b"bb", b"ccc"):
        q.add(message)
    assert q.take(100, transmits_max=9) == [b"dddd", b"ccc", b"bb", b"aa", b"old"]


def test_the_longest_that_still_fits_is_taken() -> None:
    q = queue()
    for size in (50, 30, 20, 10):
        q.add(bytes(size))
    assert [len(m) for m in q.take(64, transmits_max=9)] == [50, 10]


def test_a_message_above_the_budget_is_never_taken() -> None:
    q = queue()
    q.add(bytes(99))
    assert q.take(100, transmits_max=4) == []
    assert len(q) == 1


def test_a_newer_message_about_a_subject_replaces_the_older_and_ends_its_wait() -> None:
    q = queue()
    q.add(b"suspect", subject="n1", token="first")
    q.add(b"alive", subject="n1")
    assert q.finished == ["first"]
    assert q.take(100, transmits_max=4) == [b"alive"]


def test_over_the_limit_the_most_sent_is_dropped() -> None:
    q = queue(limit=2)
    q.add(b"sent")
    q.take(100, transmits_max=9)
    q.add(b"new1")
    q.add(b"new2")
    assert sorted(q.take(100, transmits_max=9)) == [b"new1", b"new2"]
    assert q.dropped == 1


@settings(max_examples=scaled(100))
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 60), st.sampled_from([None, "a", "b"])),
            st.tuples(st.just("take"), st.integers(0, 150), st.integers(1, 5)),
        ),
        max_size=60,
    )
)
def test_the_budget_and_the_invariants_hold(steps: list[tuple[str, int, Any]]) -> None:
    q = queue(limit=12)
    for verb, number, other in steps:
        if verb == "add":
            q.add(bytes(number), subject=other)
        else:
            taken = q.take(number, transmits_max=other)
            assert sum(len(message) + 2 for message in taken) <= number
        q.check()
