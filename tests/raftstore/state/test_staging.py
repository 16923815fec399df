"""An archive goes through the log in parts and takes the place of the state, or nothing happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore import commands as c
from raftstore import queries as q
from raftstore.commands import Applied, Rejected, RequestId
from raftstore.config import StateLimits
from raftstore.errors import DecodeError, NotInHistory
from raftstore.queries import At
from raftstore.records import Actor, Session
from raftstore.restore_queries import GetRestore
from raftstore.state import StateMachine, staging
from raftstore.state.snapshots import Loading
from tests.raftstore.state.archives import (
    frozen,
    indexes,
    restore_commands,
    said,
    without_indexes,
)
from tests.raftstore.state.commands import POPULATED, any_commands
from tests.strategies import scaled

ACTOR = Actor("t1", "10.0.0.9:1", "n9")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """So that a small state has many."""
    monkeypatch.setattr(staging, "PART_BYTES_MAX", 300)
    monkeypatch.setattr(staging, "PART_BYTES", 300)


def populated() -> StateMachine:
    state = StateMachine()
    run(state, POPULATED)
    return state


def run(state: StateMachine, commands: list[Any], **identity: Any) -> list[Any]:
    """Apply in order; gives the outcomes."""
    found = []
    for command in commands:
        index = state.index + 1 if state.index else 2
        found.append(state.apply(index, float(index), command, **identity))
    return found


def reloaded(state: StateMachine) -> StateMachine:
    """The same by way of a snapshot of the log."""
    fresh = StateMachine(state._limits)
    loading = Loading(fresh)
    for chunk in frozen(state):
        loading.feed_bytes(chunk)
    loading.finish()
    return fresh


def draw_some(data: st.DataObject, state: StateMachine, most: int) -> None:
    for _ in range(data.draw(st.integers(0, most))):
        index = state.index + 1
        state.apply(index, float(index), data.draw(any_commands(index)))


@settings(max_examples=scaled(6), deadline=None)
@given(data=st.data())
def test_what_was_saved_is_in_force_and_no_index_ever_falls(data):
    source = populated()
    draw_some(data, source, 12)
    saved = said(source)
    state = populated() if data.draw(st.booleans()) else StateMachine()
    run(state, [c.KVSet(key="other", value=b"1")])
    draw_some(data, state, 8)
    highest = indexes(state)
    for command in restore_commands(source):
        if data.draw(st.integers(0, 3)) == 0:
            draw_some(data, state, 1)
            highest = {query: max(highest[query], i) for query, i in indexes(state).items()}
        assert isinstance(run(state, [command])[0], Applied)
        state.check()
    assert said(state) == saved
    now = indexes(state)
    assert all(now[query] == state.index > highest[query] for query in now)
    for _ in range(8):
        draw_some(data, state, 1)
        state.check()
        before, now = now, indexes(state)
        assert all(now[query] >= before[query] for query in now), "an index fell"


@settings(max_examples=scaled(6), deadline=None)
@given(data=st.data())
def test_a_server_that_starts_again_between_two_parts_is_like_the_others(data):
    source = populated()
    draw_some(data, source, 6)
    state = populated()
    other = reloaded(state)
    steps = restore_commands(source)
    again = data.draw(st.sets(st.integers(0, len(steps)), max_size=3))
    for number, command in enumerate(steps):
        if number in again:
            other = reloaded(other)
        index = state.index + 1
        between = data.draw(st.none() | any_commands(index))
        for each in (state, other):
            if between is not None:
                each.apply(index, float(index), between)
            each.apply(index + 1, float(index + 1), command)
    if len(steps) in again:
        other = reloaded(other)
    other.check()
    assert frozen(other) == frozen(state)
    assert state.staged is None
    assert said(other) == said(source)


def staged(count: int = -1) -> tuple[StateMachine, list[c.Command], dict[Any, Any]]:
    """A state with some parts of an archive, the commands that are left, what it said before."""
    source = populated()
    run(source, [c.KVSet(key="saved", value=b"1")])
    state = populated()
    before = said(state)
    steps = restore_commands(source)
    assert len(steps) > 4
    run(state, steps[:count])
    assert said(state) == before
    return state, steps[count:], before


def test_a_damaged_part_ends_the_restore_and_changes_nothing():
    state, rest, before = staged(2)
    part = rest[0]
    damaged = replace(part, data=part.data[:-1])
    assert "damaged" in run(state, [damaged])[0].reason
    assert [type(each) for each in run(state, rest)] == [Rejected] * len(rest)
    assert said(state) == before
    assert state.staged is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parts": 1}, "1 parts were sent"),
        ({"sha256": b"\0" * 32}, "checksum"),
        ({"id": "other"}, "not being restored"),
    ],
)
def test_an_end_that_does_not_fit_changes_nothing(change, words):
    state, (end,), before = staged()
    outcome = run(state, [replace(end, **change)])[0]
    assert isinstance(outcome, Rejected)
    assert words in outcome.reason
    assert said(state) == before


def test_an_archive_without_its_last_part_is_not_whole():
    state, (last, end), before = staged(-2)
    assert isinstance(last, c.StageRestore)
    assert "parts were sent" in run(state, [end])[0].reason
    assert said(state) == before


def test_parts_come_in_order_and_a_second_copy_is_fine():
    state, rest, _ = staged(3)
    twice = [rest[0], rest[0], *rest[1:-1], rest[-1]]
    assert all(isinstance(each, Applied) for each in run(state, twice))
    state, rest, _ = staged(2)
    assert "is missing" in run(state, [rest[1]])[0].reason
    assert all(isinstance(each, Applied) for each in run(state, rest))


def test_a_second_archive_waits_for_the_first_or_for_its_silence():
    state, rest, before = staged(2)
    begin = c.BeginRestore(id="r2", saved_index=1)
    assert run(state, [begin])[0].reason == "another snapshot is being restored"
    idle_s = StateLimits().staged_idle_s
    outcome = state.apply(state.index + 1, state.stamp + idle_s + 1, begin)
    assert isinstance(outcome, Applied)
    assert state.staged is not None and state.staged.about.id == "r2"
    assert isinstance(run(state, rest)[0], Rejected)
    assert said(state) == before


def test_any_entry_of_the_log_frees_what_nobody_goes_on_with():
    state, _, before = staged(2)
    state.apply(state.index + 1, state.stamp + 1000, c.KVSet(key="a/b", value=b"9"))
    assert state.staged is None
    assert len(state.take_replaced()) == 1
    assert len(before) == len(said(state))


def test_abandoning_frees_it_at_once_and_may_be_repeated():
    state, _, before = staged(2)
    abandon = c.EndRestore(id="r1", abandon=True)
    assert [each.value for each in run(state, [abandon, abandon])] == [True, False]
    assert state.staged is None
    assert said(state) == before


def test_staged_bytes_are_bounded():
    state = StateMachine(StateLimits(staged_bytes_max=500))
    outcomes = run(state, restore_commands(populated()))
    assert any("over the limit of 500 bytes" in getattr(each, "reason", "") for each in outcomes)
    assert state.staged is None


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_part_are_taken_or_refused_and_change_nothing(data):
    state = StateMachine()
    run(state, [c.KVSet(key="a", value=b"1"), c.BeginRestore(id="r", saved_index=1)])
    run(state, [c.StageRestore(id="r", part=0, data=data)])
    assert state.answer(q.KVGet("a")).value.value == b"1"
    state.check()


def test_requests_that_were_answered_before_are_recognised_after_a_restore():
    state = populated()
    request = RequestId("sender", 1)
    first = state.apply(state.index + 1, 1.0, c.KVSet(key="z", value=b"1"), request)
    run(state, restore_commands(populated()))
    assert state.answer(q.KVGet("z")).value is None
    assert state.apply(state.index + 1, 1.0, c.KVSet(key="z", value=b"1"), request) == first
    assert state.answer(q.KVGet("z")).value is None


def test_the_history_has_one_entry_for_it_and_keeps_those_before():
    state = populated()
    index = state.index
    run(state, restore_commands(populated(), saved_index=55), actor=ACTOR)
    changes = state.answer(q.History()).value.changes
    last = changes[-1]
    assert (last.table, last.index, last.actor) == ("restores", state.index, ACTOR)
    assert changes[0].index < index, "who wrote what before is still told"
    assert state.answer(GetRestore()).value.last.saved_index == 55
    with pytest.raises(NotInHistory, match="was restored at index"):
        state.answer_at(q.KVGet("a/b"), At(index=state.index - 1))
    at = state.index
    run(state, [c.KVSet(key="a/b", value=b"new")])
    earlier = state.answer_at(q.KVGet("a/b"), At(index=at))
    assert earlier.index == at
    assert earlier.value.value == b"1"


def test_a_serial_number_is_never_given_out_twice():
    source = populated()
    state = populated()
    given = [each.value for each in run(state, [c.NextSerial()] * 5)]
    run(state, restore_commands(source))
    assert run(state, [c.NextSerial()])[0].value == given[-1] + 1


def test_comparisons_with_what_was_read_before_fail():
    """A key that looks the same may have been another one in between."""
    state = populated()
    before = state.answer(q.KVGet("b/x")).value
    run(state, restore_commands(state))
    now = state.answer(q.KVGet("b/x")).value
    assert without_indexes(now) == without_indexes(before)
    assert run(state, [c.KVSet(key="b/x", value=b"n", cas=before.modify_index)])[0].value is False
    assert run(state, [c.KVSet(key="b/x", value=b"n", cas=now.modify_index)])[0].value is True


def test_restored_sessions_are_all_found_by_paging():
    """They have one index, and the leader's clock asks for the next page by the last one."""
    source = populated()
    ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(5)]
    run(
        source,
        [c.SessionCreate(Session(id=each, node="n1", node_checks=(), ttl_ns=9)) for each in ids],
    )
    state = populated()
    run(state, restore_commands(source))
    found, after = [], 0
    while page := state.answer(q.SessionTimers(after=after, limit=2)).value.timers:
        found += [timer.id for timer in page]
        after = page[-1].create_index
    assert set(ids) < set(found)
    assert len(found) == len(set(found)) == state.answer(q.SessionTimers()).value.count


def test_what_belongs_to_the_log_is_refused_in_an_archive():
    state = populated()
    run(state, [c.BeginRestore(id="x", saved_index=1)])
    for chunk in frozen(state):
        if b"history" in chunk[:10] or b"staged" in chunk[:10]:
            with pytest.raises(DecodeError):
                Loading(StateMachine(), renumber_to=1).feed_bytes(chunk)
