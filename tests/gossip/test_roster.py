"""Serf's statuses: what intents and ends make of a member."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gossip.config import GossipConfig
from gossip.members import VERSIONS
from gossip.roster import MemberEventKind, MemberStatus, Particulars, Roster, address_text

KNOWN = Particulars(ip=bytes((10, 0, 0, 1)), port=1, tags={"a": "b"}, versions=VERSIONS)


@pytest.fixture
def roster() -> Roster:
    roster = Roster(GossipConfig.lan("me"))
    assert roster.joined("n", KNOWN).kind is MemberEventKind.JOIN
    return roster


def status(roster: Roster) -> MemberStatus:
    return roster.entries["n"].status


def test_an_end_without_an_intent_is_a_failure(roster: Roster) -> None:
    event = roster.ended("n", 5.0)
    assert event is not None
    assert event.kind is MemberEventKind.FAILED
    assert event.member.status is MemberStatus.FAILED
    assert roster.ended("n", 6.0) is None


def test_an_end_after_an_intent_is_a_leave(roster: Roster) -> None:
    assert roster.leave_intent("n", 1, prune=False, now=4.0) == (True, [])
    assert status(roster) is MemberStatus.LEAVING
    event = roster.ended("n", 5.0)
    assert event is not None
    assert event.kind is MemberEventKind.LEAVE
    assert roster.left_names() == ("n",)


def test_a_late_intent_turns_failed_into_left(roster: Roster) -> None:
    roster.ended("n", 5.0)
    news, events = roster.leave_intent("n", 1, prune=False, now=9.0)
    assert news
    assert [event.kind for event in events] == [MemberEventKind.LEAVE]
    assert roster.entries["n"].ended_at == 5.0, "the time of the failure stays"


def test_an_old_intent_is_ignored(roster: Roster) -> None:
    assert roster.join_intent("n", 5, 1.0)
    assert not roster.join_intent("n", 5, 1.0)
    assert roster.leave_intent("n", 5, prune=False, now=1.0) == (False, [])
    assert status(roster) is MemberStatus.ALIVE


def test_a_join_intent_takes_back_a_leave(roster: Roster) -> None:
    roster.leave_intent("n", 3, prune=False, now=1.0)
    assert roster.join_intent("n", 4, 1.0)
    assert status(roster) is MemberStatus.ALIVE


@pytest.mark.parametrize("leave", [True, False])
def test_an_intent_about_a_stranger_waits_for_it(leave: bool) -> None:
    roster = Roster(GossipConfig.lan("me"))
    if leave:
        assert roster.leave_intent("n", 7, prune=False, now=1.0) == (True, [])
        assert not roster.leave_intent("n", 6, prune=False, now=1.0)[0]
    else:
        assert roster.join_intent("n", 7, 1.0)
    roster.joined("n", KNOWN)
    assert roster.entries["n"].status_ltime == 7
    assert status(roster) is (MemberStatus.LEAVING if leave else MemberStatus.ALIVE)
    roster.check()


def test_buffered_intents_are_bounded_and_forgotten() -> None:
    roster = Roster(GossipConfig.lan("me", intents_max=2))
    assert [roster.join_intent(f"n{i}", 1, 0.0) for i in range(3)] == [True, True, False]
    roster.reap(400.0)
    assert roster.join_intent("n2", 1, 400.0)


def test_prune_forgets_the_failed_at_once_and_the_live_not_yet(roster: Roster) -> None:
    assert roster.leave_intent("n", 1, prune=True, now=1.0) == (True, [])
    roster.ended("n", 2.0)
    _, events = roster.leave_intent("n", 2, prune=True, now=3.0)
    assert [event.kind for event in events] == [MemberEventKind.REAP]
    assert roster.member("n") is None


def test_the_long_failed_and_the_long_left_are_reaped() -> None:
    roster = Roster(GossipConfig.lan("me", reconnect_timeout_s=100.0, tombstone_timeout_s=50.0))
    for name in ("failed", "left", "alive"):
        roster.joined(name, KNOWN)
    roster.leave_intent("left", 1, prune=False, now=0.0)
    roster.ended("left", 0.0)
    roster.ended("failed", 0.0)
    assert roster.reap(50.0) == []
    assert [event.member.name for event in roster.reap(51.0)] == ["left"]
    assert [event.member.name for event in roster.reap(101.0)] == ["failed"]
    assert list(roster.entries) == ["alive"]


def test_a_failed_member_may_have_asked_for_its_own_time() -> None:
    config = GossipConfig.lan(
        "me",
        reconnect_timeout_s=100.0,
        reconnect_timeout_of=lambda tags: float(tags["own"]) if "own" in tags else None,
    )
    roster = Roster(config)
    for name, tags in (("sooner", {"own": "10"}), ("later", {"own": "500"}), ("usual", {})):
        roster.joined(name, replace(KNOWN, tags=tags))
        roster.ended(name, 0.0)
    assert [event.member.name for event in roster.reap(11.0)] == ["sooner"]
    assert [event.member.name for event in roster.reap(101.0)] == ["usual"]
    assert [event.member.name for event in roster.reap(501.0)] == ["later"]


def test_reconnects_are_as_frequent_as_the_ring_is_troubled() -> None:
    roster = Roster(GossipConfig.lan("me"))
    for index in range(10):
        roster.joined(f"n{index}", KNOWN)
    rng = random.Random(1)
    assert roster.reconnect_choice(rng) is None
    roster.ended("n0", 1.0)
    chosen = sum(roster.reconnect_choice(rng) is not None for _ in range(900))
    assert 60 <= chosen <= 140  # one in nine
    for index in range(1, 6):
        roster.ended(f"n{index}", 1.0)
    assert all(roster.reconnect_choice(rng) is not None for _ in range(50))


def test_addresses_are_shown_as_people_write_them() -> None:
    assert address_text(bytes((127, 0, 0, 1))) == "127.0.0.1"
    assert address_text(bytes(10) + b"\xff\xff\x7f\x00\x00\x01") == "127.0.0.1"
    assert address_text(bytes(15) + b"\x01") == "::1"
    assert address_text(b"abc") == ""
