"""Rows that go in slices: readers, watchers, snapshots and history cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sortedcontainers import SortedSet

from raftstore.commands import (
    Command,
    KVDeleteTree,
    KVLock,
    KVSet,
    Register,
    SessionCreate,
    SessionDestroy,
    Transaction,
)
from raftstore.queries import (
    At,
    GetSession,
    KVGet,
    KVKeys,
    KVList,
    Query,
    ReadTransaction,
    WhySessionEnded,
)
from raftstore.records import KVPair, Node, Session, TxnKV, TxnOperation, TxnSession
from raftstore.state import StateMachine, kv, machine
from raftstore.state.sweeps import Sweep
from tests.raftstore.state.commands import (
    ALL_QUERIES,
    catalog_commands,
    kv_commands,
    session_commands,
    transactions,
)
from tests.raftstore.state.test_machine import START, TIGHT, is_touched, populated
from tests.strategies import scaled

ID = "11111111-1111-1111-1111-111111111111"
#: What a sweep bears on. Answers about the past wait for its end.
NOW = [
    query
    for query in ALL_QUERIES
    if isinstance(query, KVGet | KVList | KVKeys | ReadTransaction | GetSession | WhySessionEnded)
]


def sweeping(index: int) -> st.SearchStrategy[Command]:
    """Commands that may concern many keys, and such that give them something to do."""
    recent = st.sampled_from([0, *range(max(1, index - 6), index)])
    return st.one_of(
        kv_commands(st.none() | recent),
        session_commands,
        session_commands,
        catalog_commands,
        transactions(index),
    )


def look(state: StateMachine) -> dict[Query[Any], Any]:
    return {query: state.answer(query) for query in NOW}


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every key in a slice of its own."""
    monkeypatch.setattr(kv, "AT_ONCE_MAX", 0)
    monkeypatch.setattr(machine, "_SWEPT_AT_ONCE", 1)
    monkeypatch.setattr(kv, "_HELD_SORTED", 1)
    return monkeypatch


@settings(
    max_examples=scaled(20),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_half_swept_state_answers_as_a_whole_one(sliced, data):
    whole, state = populated(TIGHT), populated(TIGHT)
    for index in range(START, START + data.draw(st.integers(1, 6))):
        command = data.draw(sweeping(index))
        before = look(state)
        outcome = state.begin(index, float(index), command)
        sliced.setattr(kv, "AT_ONCE_MAX", 10**6)
        assert whole.apply(index, float(index), command) == outcome
        sliced.setattr(kv, "AT_ONCE_MAX", 0)
        after = look(whole)
        touched = state.touched()
        while state.unfinished:
            for query, answer in look(state).items():
                assert answer.value == after[query].value, query
                # The floor of the tombstones rises while they are buried, and indexes with it.
                assert before[query].index <= answer.index <= after[query].index
                if answer.value != before[query].value:
                    assert answer.index > before[query].index
            state.finish_some()
            touched |= state.touched()
        assert look(state) == after
        for query in NOW:
            if after[query].value != before[query].value:
                assert is_touched(query, touched), query
        state.check()
        if state.history.floor < index:
            assert state.answer_at(KVList(""), At(index=index - 1)) == before[KVList("")]


@settings(
    max_examples=scaled(12),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_servers_with_other_slices_hold_the_same_bytes(sliced, data):
    one, other = populated(TIGHT), populated(TIGHT)
    for index in range(START, START + data.draw(st.integers(1, 6))):
        command = data.draw(sweeping(index))
        one.apply(index, float(index), command)
        sliced.setattr(machine, "_SWEPT_AT_ONCE", data.draw(st.integers(1, 5)))
        other.begin(index, float(index), command)
        if data.draw(st.booleans()):
            steps = other.freeze()  # a snapshot that begins in the middle
            frozen = None
            while frozen is None:
                try:
                    next(steps)
                except StopIteration as end:
                    frozen = list(end.value)
            assert not other.unfinished
        other.finish()
        assert list(one.snapshot()) == list(other.snapshot())


def filled(count: int) -> StateMachine:
    """A node, a session, and that many keys that it holds."""
    state = StateMachine()
    state.apply(2, 0.0, Register(node=Node(name="n1", address="10.0.0.1")))
    session = Session(id=ID, node="n1", node_checks=(), behavior="release")
    state.apply(3, 0.0, SessionCreate(session))
    for number in range(count):
        state.apply(10 + number, 0.0, KVLock(key=f"t/{number:05}", session=ID, value=b"v"))
    state.apply(10 + count, 0.0, KVSet(key="u"))
    state.touched()
    return state


def test_a_large_tree_is_gone_at_once_and_leaves_in_slices():
    state = filled(0)
    for number in range(1000):
        state.apply(100 + number, 0.0, KVSet(key=f"t/{number:05}"))
    state.begin(2000, 0.0, KVDeleteTree(prefix="t/"))
    assert state.unfinished
    assert len(state.kv) == 1001
    assert state.answer(KVGet("t/00999")).value is None
    assert state.answer(KVGet("t/00999")).index == 2000
    assert [pair.key for pair in state.answer(KVList("")).value] == ["u"]
    assert state.answer(KVKeys("", "/")).value == ("u",)
    assert state.answer(KVList("t/0099")).index == 2000
    assert state.answer(KVList("u")).index < 2000
    slices = 0
    while state.unfinished:
        state.finish_some()
        slices += 1
    assert slices == 1000 // machine._SWEPT_AT_ONCE + 1
    assert len(state.kv) == 1
    state.check()


def test_an_ended_session_frees_its_keys_at_once_and_writes_them_in_slices():
    count = 2000
    state = filled(count)
    assert state.begin(9000, 0.0, SessionDestroy(ID)).value is True
    assert state.unfinished
    free = state.answer(KVGet("t/01999")).value
    assert (free.session, free.modify_index, free.value) == ("", 9000, b"v")
    assert state.answer(KVList("t/01999")).index == 9000
    state.finish()
    assert state.answer(KVGet("t/01999")).value == free
    state.check()


def test_the_next_command_finds_everything_written():
    state = filled(600)
    state.begin(9000, 0.0, KVDeleteTree(prefix="t/"))
    state.apply(9001, 0.0, KVSet(key="t/00001", value=b"new"))
    assert [pair.key for pair in state.answer(KVList("t/")).value] == ["t/00001"]
    assert state.answer(KVGet("t/00001")).value.create_index == 9001
    state.check()


def test_a_change_too_large_for_the_journal_ends_it():
    state = StateMachine(TIGHT)
    for number in range(400):
        state.apply(2 + number, 0.0, KVSet(key=f"t/{number:05}"))
    state.apply(1000, 0.0, KVDeleteTree(prefix="t/"))
    assert (state.history.floor, len(state.history)) == (1000, 0)
    state.check()


@pytest.mark.parametrize(("behavior", "left"), [("release", True), ("delete", False)])
def test_what_a_sweep_shows(behavior, left):
    sweep = Sweep(7, SortedSet())
    sweep.sessions[ID] = Session(id=ID, node="n", behavior=behavior)
    held = KVPair(key="a", session=ID, create_index=1, modify_index=2)
    shown = sweep.shown(held)
    assert (shown is not None) is left
    assert sweep.shown(KVPair(key="a")) == KVPair(key="a")
    assert sweep.after("a") == "a\0"
    sweep.add_tree("t/")
    assert sweep.shown(KVPair(key="t/x")) is None
    assert sweep.after("t/x") == "t0"
    sweep.spared.add("t/y")
    assert sweep.shown(KVPair(key="t/y")) is not None
    assert (sweep.after("t/x"), sweep.after("t/y")) == ("t/y", "t0")


def test_a_key_goes_with_the_first_tree_it_was_in_and_is_freed_by_sessions_that_ended_before():
    sweep = Sweep(7, SortedSet())
    sweep.add_tree("t/in/")
    sweep.sessions[ID] = Session(id=ID, node="n")
    sweep.add_tree("t/")
    sweep.add_tree("t/later/")  # all of it has gone
    sweep.add_tree("s")
    assert [sweep.tree_of(key) for key in ("t/in/a", "t/a", "t/later/a", "sa", "u", "")] == [
        "t/in/", "t/", "t/", "s", None, None,
    ]  # fmt: skip
    assert sweep.outer_trees() == ["s", "t/"]
    held = [KVPair(key=key, session=ID) for key in ("t/in/a", "t/a", "u")]
    assert [sweep.freed_by(pair) is not None for pair in held] == [False, True, True]


def test_a_restored_server_frees_in_the_same_order():
    live = filled(0)
    for number in reversed(range(600)):
        live.apply(5000 - number, 0.0, KVLock(key=f"t/{number:05}", session=ID))
    restored = StateMachine()
    restored.restore(live.snapshot())
    for state in (live, restored):
        state.apply(9000, 0.0, SessionDestroy(ID))
    assert list(live.snapshot()) == list(restored.snapshot())


def kept(verb: str, key: str = "", **fields: Any) -> TxnOperation:
    return TxnOperation(kv=TxnKV(verb=verb, key=key, **fields))


def with_tree_commands() -> Iterator[tuple[int, Command]]:
    yield 2, Register(node=Node(name="n1", address="a"))
    yield 3, SessionCreate(Session(id=ID, node="n1"))
    for number in range(20):
        yield 4 + number, KVSet(key=f"t/{number:02}")
    for number in range(20):
        yield 50 + number, KVLock(key=f"l/{number:02}", session=ID)


def with_tree() -> StateMachine:
    state = StateMachine()
    for index, command in with_tree_commands():
        state.apply(index, 1.0, command)
    return state


END = TxnOperation(session=TxnSession(verb="delete", id=ID))
TREE = kept("delete-tree", "t/")


@pytest.mark.parametrize(
    "operations",
    [
        (TREE,),
        (END,),
        (kept("set", "a"), TREE, kept("get", "a"), kept("get-tree", "t/")),
        (kept("set", "t/new"), END, kept("check-not-exists", "x")),
        (TREE, kept("set", "t/05", value=b"again"), kept("get-tree", "t/")),
        (kept("set", "t/05"), TREE, kept("check-not-exists", "t/05"), kept("get-tree", "l")),
        (TREE, kept("set", "t/05"), kept("delete-tree", "t/"), kept("set", "t/06")),
        (TREE, kept("cas", "t/05", index=0), kept("delete", "t/06"), kept("delete-tree", "t/0")),
        (TREE, kept("set", "a", value=b"new"), kept("get", "a")),
        (TREE, kept("set", "a"), kept("get-tree", "l")),
        (TREE, kept("delete-tree", "a")),
        (kept("delete-tree", "a"), TREE),
        (TREE, kept("delete-tree", "l/")),
        (END, TREE),
        (TREE, END),
        (kept("delete-tree", "l/"), END, TREE),
        (kept("delete-tree", "l/1"), END, kept("delete-tree", "l/")),
        (
            END,
            kept("set", "l/03", value=b"mine"),
            kept("delete-tree", "l/0"),
            kept("get-tree", "l"),
        ),
        (kept("unlock", "l/03", session=ID), END, kept("get-tree", "l/")),
    ],
)
def test_what_a_transaction_takes_away_goes_in_slices_whatever_follows(monkeypatch, operations):
    at_once, whole, some = with_tree(), with_tree(), with_tree()
    monkeypatch.setattr(kv, "AT_ONCE_MAX", 100)
    outcome = at_once.apply(100, 2.0, Transaction(operations))
    monkeypatch.setattr(kv, "AT_ONCE_MAX", 5)
    assert whole.apply(100, 2.0, Transaction(operations)) == outcome
    monkeypatch.setattr(machine, "_SWEPT_AT_ONCE", 3)
    assert some.begin(100, 2.0, Transaction(operations)) == outcome
    assert some.unfinished
    while True:
        assert look(some) == look(at_once)
        if not some.unfinished:
            break
        some.finish_some()
    some.check()
    assert list(some.snapshot()) == list(whole.snapshot()), "whatever the size of the slices"


@pytest.mark.parametrize("last", [TREE, END])
def test_a_transaction_that_fails_behind_its_last_write_has_changed_nothing(monkeypatch, last):
    monkeypatch.setattr(kv, "AT_ONCE_MAX", 5)
    state, untouched = with_tree(), with_tree()
    operations = (kept("set", "a"), last, kept("get", "absent"))
    state.begin(100, 2.0, Transaction(operations))
    assert not state.unfinished and state.kv.sweep is None
    assert look(state) == look(untouched)
    state.apply(101, 2.0, KVDeleteTree(prefix="t/"))
    state.check()
    assert state.answer(KVList("t/")).value == ()
