"""How long a server waits, and that those left take turns."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.patience import HURRIED_ROUNDS_MAX, Patience, turn
from tests.sim.raft_cluster import sim_config

CONFIG = sim_config("a")


@given(st.sets(st.sampled_from("abcdefg"), min_size=2), st.data())
def test_those_left_have_turns_one_after_the_other(names, data):
    lost = data.draw(st.sampled_from(sorted(names)))
    left = sorted(names - {lost})
    assert [turn(name, names - {name}, lost) for name in left] == list(range(len(left)))


def test_hurried_waits_of_neighbouring_turns_begin_one_turn_apart():
    waits = [Patience(CONFIG).after_loss(number) for number in range(4)]
    for (before, _), (after, _) in itertools.pairwise(waits):
        assert abs(after - before - CONFIG.lost_leader_turn_s) < 1e-9


def test_hurry_ends_after_so_many_rounds_or_when_a_leader_is_heard():
    patience = Patience(CONFIG)
    calm = patience.for_pre_votes(1)
    assert not patience.hurried
    patience.after_loss(1)
    for _ in range(HURRIED_ROUNDS_MAX):
        assert patience.hurried
        assert patience.for_pre_votes(1) < calm
    assert not patience.hurried
    assert patience.for_pre_votes(1) == calm
    patience.after_loss(1)
    patience.calm()
    assert not patience.hurried
    assert patience.for_pre_votes(1) == calm


def test_votes_are_waited_for_longer_than_pre_votes_and_no_longer_than_a_leader():
    patience = Patience(CONFIG)
    for _ in range(2):
        votes = patience.for_votes(0)
        pre_votes = patience.for_pre_votes(0)
        assert votes[0] >= pre_votes[0] and votes[1] > pre_votes[1]
        assert votes[1] <= patience.for_leader()[1]
        patience.after_loss(0)
