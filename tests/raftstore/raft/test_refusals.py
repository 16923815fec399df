"""Refusals: counted from zero, kept in bounds, logged in measure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.refusals import (
    KEPT_PER_REASON,
    LOG_INTERVAL_S,
    TEXT_CHARS_MAX,
    Refusal,
    Refusals,
)


def refusal(reason="a", address="1", at=0.0, **changes):
    return Refusal(reason=reason, address=address, at=at, **changes)


def test_every_reason_is_there_at_zero_and_no_other_is_taken():
    refusals = Refusals(["a", "b"])
    assert refusals.counts == {"a": 0, "b": 0}
    with pytest.raises(AssertionError):
        refusals.note(refusal("c"))


def test_a_reason_is_logged_once_in_an_interval_with_those_that_were_not():
    refusals = Refusals(["a", "b"])
    at = [0.0, 1.0, 2.0, LOG_INTERVAL_S, LOG_INTERVAL_S + 1]
    assert [refusals.note(refusal(at=t)) for t in at] == [0, None, None, 2, None]
    assert refusals.note(refusal("b", at=1.0)) == 0
    assert refusals.note(refusal(at=3 * LOG_INTERVAL_S)) == 1
    assert refusals.note(refusal(at=0.0)) == 0  # a clock that was set back silences nothing


def test_equal_ones_in_a_row_are_one():
    refusals = Refusals(["a"])
    for at in (1.0, 2.0, 3.0):
        refusals.note(refusal(at=at))
    assert refusals.last() == [refusal(at=3.0, count=3)]


def test_texts_of_others_are_cut():
    refusals = Refusals(["a"])
    refusals.note(refusal(claims="x" * 9999, certificate="y" * 9999, detail="z" * 9999))
    (kept,) = refusals.last()
    assert {len(kept.claims), len(kept.certificate), len(kept.detail)} == {TEXT_CHARS_MAX}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), max_size=80))
def test_a_flood_of_one_reason_pushes_out_no_other(knocks):
    refusals = Refusals(["a", "b", "rare"])
    refusals.note(refusal("rare", at=-1.0))
    for at, (reason, address) in enumerate(knocks):
        refusals.note(refusal(reason, str(address), float(at)))
    last = refusals.last()
    assert len(last) <= 2 * KEPT_PER_REASON + 1 and last[-1].reason == "rare"
    assert [r.at for r in last] == sorted((r.at for r in last), reverse=True)
    assert sum(refusals.counts.values()) == len(knocks) + 1
