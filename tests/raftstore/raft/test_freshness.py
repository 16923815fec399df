"""What a follower may say about its age is never too young, whatever gets lost or comes late."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.raft.freshness import WAITING_MAX, Freshness, majority_silent_s


def test_the_state_is_as_old_as_the_answer_that_the_leader_had() -> None:
    fresh = Freshness()
    assert fresh.fresh_at(10) is None
    fresh.answering(1, 5.0)
    fresh.heard(0, 10, 10)
    assert fresh.fresh_at(10) is None  # the leader has not seen the answer yet
    fresh.answering(2, 6.0)
    fresh.heard(1, 10, 10)
    assert fresh.fresh_at(10) == 5.0


def test_what_is_not_applied_is_not_known() -> None:
    fresh = Freshness()
    fresh.answering(1, 5.0)
    fresh.heard(1, 20, 10)
    assert fresh.fresh_at(19) is None
    assert fresh.fresh_at(20) == 5.0


def test_answers_to_an_earlier_leader_prove_nothing() -> None:
    fresh = Freshness()
    fresh.answering(7, 5.0)
    fresh.follow()
    fresh.heard(9, 10, 10)
    assert fresh.fresh_at(10) is None


def test_memory_is_bounded_while_much_is_behind() -> None:
    fresh = Freshness()
    for number in range(1, 10 * WAITING_MAX):
        fresh.answering(number, float(number))
        fresh.heard(number, 100 + number, 0)
    assert len(fresh._waiting) == WAITING_MAX
    assert fresh.fresh_at(101) == 1.0


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_everything_committed_before_the_claimed_moment_is_in_the_state(seed: int) -> None:
    """A leader that commits, a follower that applies late, and a link that loses and delays."""
    rng = random.Random(seed)
    fresh, now, seq, commit, applied, answered = Freshness(), 0.0, 0, 0, 0, 0
    committed_at: list[float] = []
    to_follower: list[tuple[int, int, int]] = []
    to_leader: list[int] = []
    known = 0
    for _ in range(rng.randint(1, 150)):
        now += rng.random()
        step = rng.randrange(6)
        if step == 0:
            commit += 1
            committed_at.append(now)
        elif step == 1:
            seq += 1
            to_follower.append((seq, answered, commit))
        elif step == 2 and to_follower:
            number, heard, so_far = to_follower.pop(0)
            if rng.random() < 0.8:
                known = max(known, so_far)
                fresh.heard(heard, so_far, applied)
                fresh.answering(number, now)
                to_leader.append(number)
        elif step == 3 and to_leader:
            number = to_leader.pop(0)
            if rng.random() < 0.8:
                answered = max(answered, number)
        elif step == 4 and applied < known:
            applied += 1
        claimed = fresh.fresh_at(applied)
        if claimed is not None:
            assert all(at > claimed for at in committed_at[applied:])


def test_a_leader_counts_its_majority() -> None:
    assert majority_silent_s([], 9.0) == 0.0
    assert majority_silent_s([1.0, 8.0], 9.0) == 1.0
    assert majority_silent_s([1.0, 2.0, 3.0, 8.0], 9.0) == 6.0
