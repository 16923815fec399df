"""Callers are told once, and their deadlines pass late by a step at most, never early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftstore.errors import ProposalTimeout, Refused, Superseded
from raftstore.raft.callers import STEP_S, Deadlines, Waiting
from raftstore.raft.requests import Outcome, Proposal


def test_the_first_word_counts() -> None:
    heard: list[object] = []
    waiting = Waiting(heard.append)
    waiting.settle(Outcome(7))
    waiting.settle(Refused("too late"))
    assert heard == [Outcome(7)]


def test_a_deadline_takes_back_what_is_queued_and_leaves_open_what_is_in_the_log() -> None:
    read, queued, entered = (Waiting(lambda _: None) for _ in range(3))
    queued.proposal, entered.proposal = Proposal(queued, b"x"), Proposal(entered, b"y")
    entered.proposal.index = 9
    assert type(read.too_late()) is Refused
    assert type(queued.too_late()) is Superseded and queued.proposal.withdrawn
    assert type(entered.too_late()) is ProposalTimeout and not entered.proposal.withdrawn


times = st.floats(0.0, 20.0, allow_nan=False)


@given(st.lists(times, max_size=30), st.sets(st.integers(0, 29)), times)
def test_who_is_due_has_passed_and_who_has_passed_is_due(
    at: list[float], answered: set[int], now: float
) -> None:
    deadlines = Deadlines()
    waiting = [Waiting(lambda _: None) for _ in at]
    for each, when in zip(waiting, at, strict=True):
        deadlines.add(each, when)
    for number in answered:
        if number < len(waiting):
            deadlines.drop(waiting[number])
            deadlines.drop(waiting[number])
    due = deadlines.due(now)
    for number, (each, when) in enumerate(zip(waiting, at, strict=True)):
        if number in answered or when > now:
            assert each not in due
        elif when <= now - STEP_S:
            assert each in due
    assert len(deadlines) == len(at) - len(due) - len([n for n in answered if n < len(at)])
    deadlines.due(100.0)
    assert len(deadlines) == 0
