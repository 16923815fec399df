"""The autopilot's record: compare-and-set, indexes, and its way through a snapshot."""

from __future__ import annotations

from raftstore.commands import Applied, SetAutopilot
from raftstore.queries import GetAutopilot
from raftstore.records import AutopilotConfig
from raftstore.state import StateMachine

SMALL = AutopilotConfig(min_quorum=3)


def test_nothing_is_there_before_a_leader_has_written():
    assert StateMachine().answer(GetAutopilot()).value is None


def test_the_first_write_of_a_cluster_wins_over_later_first_writes():
    state = StateMachine()
    assert state.apply(4, 0.0, SetAutopilot(config=SMALL, cas=0)) == Applied(4, True)
    assert state.apply(5, 0.0, SetAutopilot(config=AutopilotConfig(), cas=0)) == Applied(5, False)
    stored = state.answer(GetAutopilot())
    assert (stored.index, stored.value.min_quorum) == (4, 3)
    assert (stored.value.create_index, stored.value.modify_index) == (4, 4)


def test_a_write_with_the_right_index_replaces_and_keeps_when_it_was_created():
    state = StateMachine()
    state.apply(4, 0.0, SetAutopilot(config=SMALL))
    state.touched()
    assert state.apply(6, 0.0, SetAutopilot(config=AutopilotConfig(), cas=4)) == Applied(6, True)
    stored = state.answer(GetAutopilot()).value
    assert (stored.min_quorum, stored.create_index, stored.modify_index) == (0, 4, 6)
    assert state.touched() == {("autopilot", ""), ("history", "")}


def test_writing_the_same_again_moves_no_index():
    state = StateMachine()
    state.apply(4, 0.0, SetAutopilot(config=SMALL))
    state.touched()
    assert state.apply(5, 0.0, SetAutopilot(config=SMALL)) == Applied(5, True)
    assert state.answer(GetAutopilot()).index == 4
    assert not state.touched()


def test_it_survives_a_snapshot():
    state, restored = StateMachine(), StateMachine()
    state.apply(4, 0.0, SetAutopilot(config=SMALL))
    restored.restore(state.snapshot())
    assert restored.answer(GetAutopilot()) == state.answer(GetAutopilot())
