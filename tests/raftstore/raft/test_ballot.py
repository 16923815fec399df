"""Who has won a vote, and which answers count."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.ballot import PreVotes, is_majority, log_is_current

#: The other voters.
OTHERS = "bcde"


@given(st.integers(0, 8))
def test_two_majorities_always_share_a_voter(others):
    voters = others + 1
    least = min(n for n in range(voters + 1) if is_majority(range(n), others))
    assert 2 * least > voters
    assert 2 * (least - 1) <= voters


@given(
    st.integers(1, len(OTHERS)),
    st.lists(st.tuples(st.sampled_from(OTHERS), st.sampled_from([-1, 0]))),
)
def test_a_round_is_won_once_by_the_voters_who_granted_this_one(others, answers):
    votes = PreVotes(41)
    votes.begin("a")
    said = [votes.grant(peer, votes.round + age, others) for peer, age in answers]
    gave: list[int] = []  # how many had granted this round, ourselves included, at each answer
    known = {"a"}
    for peer, age in answers:
        known |= {peer} if age == 0 else set()
        gave.append(len(known))
    enough = [2 * count > others + 1 for count in gave]
    assert said == [now and not before for before, now in itertools.pairwise([False, *enough])]


def test_nobody_is_counted_before_the_first_round_or_after_it_is_won():
    votes = PreVotes(0)
    assert not votes.grant("b", 0, 2)
    votes.begin("a")
    assert votes.grant("b", votes.round, 2)
    assert not votes.grant("c", votes.round, 2)
    assert votes.granted == {"a", "b"}
    votes.begin("a")
    assert votes.granted == {"a"}


def test_the_last_term_counts_before_the_length():
    assert log_is_current((2, 1), (1, 9))
    assert log_is_current((1, 9), (1, 9))
    assert not log_is_current((1, 8), (1, 9))
    assert not log_is_current((1, 99), (2, 1))
