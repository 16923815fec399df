"""What is heard of whom."""

from __future__ import annotations

import pytest

from raftstore.raft.frames import (
    Append,
    AppendReply,
    Message,
    Probe,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from raftstore.raft.lost_disk import DiskIs
from raftstore.raft.members import Disk
from raftstore.raft.strangers import is_heard, is_impostor

APPEND = Append(term=1, seq=1, prev_index=1, prev_term=1, commit=1, entries=())
VOTE = VoteRequest(term=1, last_index=1, last_term=1, transfer=False)
ANSWERS = [
    AppendReply(term=1, seq=1, ok=True, index=1),
    VoteReply(1, True),
    Probe(1, 1),
    TimeoutNow(1),
]


@pytest.mark.parametrize("message", [APPEND, VOTE, *ANSWERS])
def test_members_are_heard(message: Message) -> None:
    assert is_heard(message, configured=True, member=True)


def test_of_strangers_only_what_a_newer_configuration_may_send() -> None:
    assert is_heard(APPEND, configured=True, member=False)
    assert is_heard(VOTE, configured=True, member=False)
    assert not any(is_heard(each, configured=True, member=False) for each in ANSWERS)


def test_without_a_configuration_the_log_is_taken_and_nothing_voted() -> None:
    assert is_heard(APPEND, configured=False, member=False)
    assert not any(is_heard(each, configured=False, member=False) for each in [VOTE, *ANSWERS])


@pytest.mark.parametrize("configured", [True, False])
def test_everybody_may_say_which_disk_he_is_on(configured: bool) -> None:
    assert is_heard(DiskIs(Disk(founding=True)), configured=configured, member=False)


@pytest.mark.parametrize(
    ("peer", "term", "leader", "configured", "member", "claims"),
    [
        ("x", 5, "a", True, False, True),
        ("x", 5, "a", True, True, False),  # that is a violation of safety: see _heed_leader
        ("x", 5, "x", True, False, False),
        ("x", 5, None, True, False, False),
        ("x", 6, "a", True, False, False),
        ("x", 5, "a", False, False, False),
    ],
)
def test_a_stranger_may_not_claim_a_term_whose_leader_is_known(
    peer: str, term: int, leader: str | None, configured: bool, member: bool, claims: bool
) -> None:
    told = is_impostor(
        peer, term, our_term=5, leader_id=leader, configured=configured, member=member
    )
    assert told is claims
