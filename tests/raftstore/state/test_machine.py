"""What makes blocked queries sound, and servers alike, over random histories of all commands."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore import commands, queries
from raftstore.commands import (
    Applied,
    Deregister,
    KVSet,
    NextSerial,
    Register,
    RequestId,
)
from raftstore.config import StateLimits
from raftstore.errors import DecodeError
from raftstore.queries import Footprint, Query
from raftstore.records import Actor, Check, Node, Service
from raftstore.state import StateMachine
from tests.raftstore.state.commands import ALL_QUERIES, POPULATED, any_commands
from tests.strategies import long_examples

#: Small, so that forgetting happens within a short history.
TIGHT = StateLimits(
    tombstones_max=3,
    outcomes_max=4,
    senders_max=2,
    sender_idle_s=5.0,
    ended_sessions_max=2,
    history_entries_max=90,
    history_bytes_max=30_000,
)


def is_touched(query: Query[Any], touched: frozenset[Footprint]) -> bool:
    """The rule of the watches, said slowly."""
    for table, key in query.footprint():
        if (table, key) in touched:
            return True
        if table == "kv-prefix" and any(t == "kv" and k.startswith(key) for t, k in touched):
            return True
    return False


#: The first index behind the population.
START = len(POPULATED) + 2


def populated(limits: StateLimits) -> StateMachine:
    """A state with something of everything in it."""
    state = StateMachine(limits)
    for index, command in enumerate(POPULATED, start=2):
        outcome = state.apply(index, 0.0, command)
        assert isinstance(outcome, Applied) and outcome.value is not False
    state.touched()
    return state


def look(state: StateMachine) -> dict[Query[Any], Any]:
    return {query: state.answer(query) for query in ALL_QUERIES}


def test_every_query_is_asked_here():
    assert {type(query) for query in ALL_QUERIES} == set(queries.REGISTRY.values())


@long_examples(30)
@given(data=st.data())
def test_a_changed_answer_has_a_higher_index_and_its_footprint_is_touched(data):
    state = data.draw(st.sampled_from([populated, StateMachine]))(TIGHT)
    before = look(state)
    for index in range(START, START + data.draw(st.integers(1, 14))):
        command = data.draw(any_commands(index))
        state.apply(index, float(index), command)
        state.check()
        touched = state.touched()
        if data.draw(st.integers(0, 5)) == 0:  # a server that was sent a snapshot meanwhile
            chunks = as_bytes(state)
            state = StateMachine(TIGHT)
            state.restore([msgpack.unpackb(chunk) for chunk in chunks])
            state.check()
        after = look(state)
        for query, answer in after.items():
            assert answer.index >= before[query].index, (query, "an index ran backwards")
            assert 1 <= answer.index <= index
            assert state.index_of(query) == answer.index
            if answer.value != before[query].value:
                assert answer.index == index, (query, "changed at an older index")
                assert is_touched(query, touched), (query, "changed untouched")
        before = after


#: Footprints that are touched although no answer about them changes, and why.
COARSE = {
    "services": "the list of names on some nodes: an instance changes that leaves its lines alone",
    "address": "one of several who live there changes, and not the one that is named",
}


@long_examples(25)
@given(data=st.data())
def test_what_changes_nothing_that_is_watched_wakes_nobody(data):
    """Also for names that do not exist: no touch without a changed answer, but for listed ones."""
    state = populated(StateLimits())
    groups: dict[Footprint, list[Query[Any]]] = {}
    for query in ALL_QUERIES:
        for footprint in query.footprint():
            groups.setdefault(footprint, []).append(query)
    before = look(state)
    for index in range(START, START + data.draw(st.integers(1, 10))):
        state.apply(index, float(index), data.draw(any_commands(index)))
        touched = state.touched()
        after = look(state)
        for footprint in touched & groups.keys():
            if footprint[0] not in COARSE:
                asked = groups[footprint]
                changed = any(before[q].value != after[q].value for q in asked)
                assert changed, (footprint, "woke for nothing")
        never = {f for f in groups if f[1] in ("never", "no")}
        assert not touched & never, "who waits for a name that is not there was woken"
        before = after


@long_examples(25)
@given(data=st.data())
def test_the_same_command_again_changes_nothing_unless_it_compares_or_counts(data):
    state = populated(StateLimits())
    for index in range(START, START + data.draw(st.integers(1, 8))):
        command = data.draw(any_commands(index))
        state.apply(index, 0.0, command)
    if isinstance(command, NextSerial | commands.SetCA | commands.Transaction):
        return
    compares = getattr(command, "cas", None) is not None
    legacy = getattr(command, "mode", "") != "" or getattr(command, "legacy_id", "") != ""
    taking_over = isinstance(command, commands.Register) and command.node.id != ""
    if compares or legacy or taking_over:
        return
    before = look(state)
    state.touched()
    state.apply(index + 1, 0.0, command)
    assert look(state) == before
    assert state.touched() == frozenset()


actors = st.none() | st.builds(Actor, accessor=st.sampled_from(["", "t1"]), node=st.just("n1"))

Entry = tuple[int, float, commands.Command, RequestId | None, Actor | None]


def history(data: st.DataObject) -> list[Entry]:
    ids = st.none() | st.builds(
        RequestId,
        sender=st.sampled_from(["p", "q", "r"]),
        counter=st.integers(0, 6),
        floor=st.integers(0, 3),
    )
    return [
        (
            index,
            data.draw(st.floats(0, 20)),
            data.draw(any_commands(index)),
            data.draw(ids),
            data.draw(actors),
        )
        for index in range(START, START + data.draw(st.integers(1, 15)))
    ]


def as_bytes(state: StateMachine) -> list[bytes]:
    return [msgpack.packb(chunk) for chunk in state.snapshot()]


@long_examples(25)
@given(data=st.data())
def test_the_same_history_gives_the_same_outcomes_and_the_same_snapshot(data):
    one, other = populated(TIGHT), populated(TIGHT)
    for entry in history(data):
        assert one.apply(*entry) == other.apply(*entry)
    assert as_bytes(one) == as_bytes(other)


@long_examples(25)
@given(data=st.data())
def test_a_restored_state_is_the_same_in_all_it_says_and_does(data):
    entries = history(data)
    cut = data.draw(st.integers(0, len(entries)))
    original = populated(TIGHT)
    for entry in entries[:cut]:
        original.apply(*entry)
    restored = StateMachine(TIGHT)
    restored.apply(1, 0.0, KVSet(key="is to be forgotten"))
    restored.restore([msgpack.unpackb(chunk) for chunk in as_bytes(original)])
    restored.check()
    assert look(restored) == look(original)
    for query, answer in look(restored).items():
        assert answer.index == original.index_of(query), "an index moved with the restart"
    assert as_bytes(restored) == as_bytes(original)
    for entry in entries[cut:]:
        assert restored.apply(*entry) == original.apply(*entry)
    assert as_bytes(restored) == as_bytes(original)


def test_equal_states_give_equal_bytes_however_they_came_about():
    node = Node(name="n", address="a")
    one, two = (Check(id=name) for name in ("c1", "c2"))
    services = [Service(id=f"s{n}", name="web") for n in range(2)]
    snapshots = []
    for checks, order in (((one, two), services), ((two, one), services[::-1])):
        state = StateMachine()
        for service in order:
            state.apply(state.index + 1, 0.0, Register(node=node, service=service))
        for service in services:  # ends at the same indexes whatever came first
            changed = dataclasses.replace(service, port=80)
            state.apply(state.index + 1, 0.0, Deregister(node="n", service_id=service.id))
            state.apply(state.index + 1, 0.0, Register(node=node, service=changed))
        state.apply(state.index + 1, 0.0, Register(node=node, checks=checks))
        # The journal tells the ways apart, and is there to do so.
        snapshots.append([chunk for chunk in state.snapshot() if "history" not in chunk[0]])
    assert msgpack.packb(snapshots[0]) == msgpack.packb(snapshots[1])


def test_a_snapshot_shows_the_state_as_it_was_when_it_was_taken():
    state = StateMachine()
    state.apply(1, 0.0, KVSet(key="a", value=b"1"))
    expected = as_bytes(state)
    chunks = state.snapshot()
    state.apply(2, 0.0, KVSet(key="a", value=b"2"))
    state.apply(3, 0.0, KVSet(key="b"))
    assert [msgpack.packb(chunk) for chunk in chunks] == expected


def test_a_snapshot_of_many_rows_comes_in_bounded_chunks():
    state = StateMachine()
    for index in range(1, 1001):
        state.apply(index, 0.0, KVSet(key=f"k{index}"))
    sizes = [len(rows) for section, rows in state.snapshot() if section == "kv"]
    assert sum(sizes) == 1000
    assert max(sizes) <= 256


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [["kv", []]],
        [["head", [[99, 1, 0.0, 0]]]],
        [["head", [[1, 1, 0.0, 0]]], ["what", []]],
        [["head", [[1, 1, 0.0, 0]]], ["kv", [["a", 1]]]],
        [["head", [[1, 1, 0.0, 0]]], ["names", [["web", 3]]]],
        [["head", [[1, 1, 0.0]]]],
        [3],
    ],
)
def test_a_damaged_snapshot_is_refused_and_leaves_an_empty_state(chunks):
    state = StateMachine()
    state.apply(1, 0.0, KVSet(key="a"))
    with pytest.raises(DecodeError):
        state.restore(chunks)
    assert as_bytes(state) == as_bytes(StateMachine())


def test_a_repeated_request_gets_its_first_outcome_and_is_not_applied_again():
    state = StateMachine()
    request = RequestId("agent-boot", 1)
    assert state.apply(5, 0.0, NextSerial(), request) == Applied(5, 1)
    assert state.apply(6, 0.0, NextSerial(), request) == Applied(5, 1)
    assert state.apply(7, 0.0, NextSerial(), RequestId("agent-boot", 2)) == Applied(7, 2)


def test_an_index_is_never_zero():
    state = StateMachine()
    assert all(state.answer(query).index == 1 for query in ALL_QUERIES)


def test_replicated_time_never_runs_backwards():
    state = StateMachine()
    state.apply(1, 100.0, NextSerial())
    state.apply(2, 50.0, NextSerial())
    assert state.stamp == 100.0
