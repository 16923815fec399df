"""Accounts of accusers: what quarantines, what releases, and that nothing grows."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.accusers import SUBJECTS_MAX, Accusers, Outcome
from gossip.config import GossipConfig

CONFIG = dataclasses.replace(GossipConfig.lan("me"), accusers_max=4)
RING = 20


def refute(accusers: Accusers, accuser: str, *subjects: str, at: float = 100.0) -> bool:
    found = [accusers.refuted(accuser, s, ring_size=RING, now=at) for s in subjects]
    accusers.check()
    return found[-1]


def test_three_different_subjects_that_refute_quarantine_an_accuser_for_a_time() -> None:
    accusers = Accusers(CONFIG)
    assert not refute(accusers, "a", "x", "y", "x", "y", "x"), "one subject counts once"
    assert refute(accusers, "a", "z")
    assert accusers.quarantined("a", 100.0)
    assert accusers.quarantined("a", 159.9)
    assert not accusers.quarantined("a", 160.0)
    account = accusers.get("a")
    assert account is not None
    assert [e.subject for e in account.grounds] == ["y", "x", "z"]


def test_old_evidence_does_not_count() -> None:
    accusers = Accusers(CONFIG)
    refute(accusers, "a", "x", "y", at=100.0)
    assert not refute(accusers, "a", "z", at=221.0)


def test_who_is_often_right_may_be_wrong_at_times() -> None:
    accusers = Accusers(CONFIG)
    for subject in ("d1", "d2"):
        accusers.proved("a", subject, 100.0)
    assert not refute(accusers, "a", "x", "y", "z", "u")
    assert refute(accusers, "a", "v")


def test_the_first_accusation_that_proves_right_ends_it() -> None:
    accusers = Accusers(CONFIG)
    refute(accusers, "a", "x", "y", "z")
    accusers.doubt("a", "d", 7, 110.0)
    assert accusers.open_accuser("d", 7) == "a"
    assert accusers.open_accuser("d", 8) == "", "refuted meanwhile"
    assert accusers.checked("d", alive=False, ring_size=RING, now=111.0) == []
    assert not accusers.quarantined("a", 111.0)
    assert accusers.open_accuser("d", 7) == ""
    accusers.check()


def test_what_is_found_wrong_in_quarantine_brings_it_back_at_the_next_mistake() -> None:
    accusers = Accusers(CONFIG)
    refute(accusers, "a", "x", "y", "z")
    for subject in ("u", "v", "w"):
        accusers.doubt("a", subject, 1, 110.0)
        accusers.checked(subject, alive=True, ring_size=RING, now=111.0)
    assert not accusers.quarantined("a", 160.0)
    assert refute(accusers, "a", "x", at=161.0)


def test_a_part_of_the_ring_only_is_in_quarantine_at_a_time() -> None:
    accusers = Accusers(CONFIG)
    for accuser in ("a", "b"):
        for subject in ("x", "y", "z"):
            accusers.refuted(accuser, subject, ring_size=9, now=100.0)
    assert accusers.count_quarantined(100.0) == 1
    tiny = Accusers(CONFIG)
    for subject in ("x", "y", "z"):
        tiny.refuted("a", subject, ring_size=4, now=100.0)
    assert tiny.count_quarantined(100.0) == 0, "too few to tell"


def test_it_can_be_turned_off() -> None:
    accusers = Accusers(dataclasses.replace(CONFIG, quarantine_s=0.0))
    assert not refute(accusers, "a", "x", "y", "z", "u")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refuted", "proved", "doubt", "alive", "dead"]),
        st.sampled_from("abcdefgh"),
        st.integers(0, 30),
        st.floats(0, 50),
    ),
    max_size=80,
)


@settings(max_examples=60)
@given(STEPS, st.integers(2, 30))
def test_bounds_hold_whatever_is_claimed(
    steps: list[tuple[str, str, int, float]], ring_size: int
) -> None:
    accusers = Accusers(CONFIG)
    now = 0.0
    for verb, accuser, number, wait_s in steps:
        now += wait_s
        subject = f"s{number}"
        before = accusers.quarantined(accuser, now)
        if verb == "refuted":
            accusers.refuted(accuser, subject, ring_size=ring_size, now=now)
        elif verb == "proved":
            accusers.proved(accuser, subject, now)
            assert not accusers.quarantined(accuser, now)
        elif verb == "doubt" and before:
            accusers.doubt(accuser, subject, 1, now)
        else:
            accusers.checked(subject, alive=verb == "alive", ring_size=ring_size, now=now)
        accusers.check()
        assert accusers.count_quarantined(now) <= max(1, CONFIG.quarantine_share_max * ring_size)
        for name in accusers:
            account = accusers.get(name)
            assert account is not None
            assert len(account.evidence) <= SUBJECTS_MAX
            assert account.quarantined_until <= account.quarantined_at + CONFIG.quarantine_s
            if account.quarantined_until:
                wrong = [e for e in account.grounds if e.outcome is Outcome.REFUTED]
                assert len({e.subject for e in wrong}) >= CONFIG.quarantine_refuted_min


@pytest.mark.parametrize("held", [True, False])
def test_a_newcomer_displaces_the_one_not_heard_of_for_longest_but_none_in_quarantine(
    held: bool,
) -> None:
    accusers = Accusers(CONFIG)
    if held:
        refute(accusers, "a", "x", "y", "z")
    for name in ("a", "b", "c", "d", "e"):
        accusers.proved(name, "q", 99.0) if not held or name != "a" else None
    assert (accusers.get("a") is not None) is held
    assert len(accusers) == 4
