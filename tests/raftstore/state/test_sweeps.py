"""Rows that go in slices: readers, watchers, snapshots and history cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftstore.commands import (
    Applied,
    Command,
    KVDeleteTree,
    KVLock,
    KVSet,
    Register,
    SessionCreate,
    SessionDestroy,
    Transaction,
)
from raftstore.config import StateLimits
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
from raftstore.wire import decode_txn_answer
from tests.raftstore.state.commands import (
    ALL_QUERIES,
    catalog_commands,
    kv_commands,
    session_commands,
)
from tests.raftstore.state.test_machine import START, TIGHT, is_touched, populated

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
        kv_commands(st.none() | recent), session_commands, session_commands, catalog_commands
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
    max_examples=20,
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
    max_examples=12,
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
    sweep = Sweep(7)
    sweep.sessions[ID] = Session(id=ID, node="n", behavior=behavior)
    held = KVPair(key="a", session=ID, create_index=1, modify_index=2)
    shown = sweep.shown(held)
    assert (shown is not None) is left
    assert sweep.shown(KVPair(key="a")) == KVPair(key="a")
    assert sweep.after("a") == "a\0"
    sweep.tree = "t/"
    assert sweep.shown(KVPair(key="t/x")) is None
    assert sweep.after("t/x") == "t0"


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
    ("operations", "sliced"),
    [
        ((TREE,), True),
        ((END,), True),
        ((kept("set", "a"), TREE, kept("get", "a"), kept("get-tree", "t/")), True),
        ((kept("set", "t/new"), END, kept("check-not-exists", "x")), True),
        ((TREE, kept("set", "t/05", value=b"again")), False),
        ((TREE, kept("set", "a", value=b"new"), kept("get", "a")), True),
        ((TREE, kept("set", "a"), kept("get-tree", "")), False),
        ((TREE, kept("delete-tree", "a")), True),
        ((kept("delete-tree", "a"), TREE), True),
        ((TREE, kept("delete-tree", "l/")), True),
        ((END, TREE), True),
        ((TREE, END), True),
    ],
)
def test_the_last_write_of_a_transaction_may_go_in_slices(monkeypatch, operations, sliced):
    at_once, whole, some = with_tree(), with_tree(), with_tree()
    monkeypatch.setattr(kv, "AT_ONCE_MAX", 100)
    outcome = at_once.apply(100, 2.0, Transaction(operations))
    monkeypatch.setattr(kv, "AT_ONCE_MAX", 5)
    assert whole.apply(100, 2.0, Transaction(operations)) == outcome
    monkeypatch.setattr(machine, "_SWEPT_AT_ONCE", 3)
    assert some.begin(100, 2.0, Transaction(operations)) == outcome
    assert some.unfinished == sliced
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


def errors(state: StateMachine, index: int, *operations: TxnOperation) -> list[tuple[int, str]]:
    outcome = state.apply(index, 2.0, Transaction(operations))
    assert isinstance(outcome, Applied)
    return [(error.index, error.what) for error in decode_txn_answer(outcome.value).errors]


@pytest.mark.parametrize("sized", [TREE, END])
def test_a_transaction_may_remove_only_so_many_keys_before_its_last_write(sized):
    def limited(most: int) -> StateMachine:
        state = StateMachine(StateLimits(txn_removed_max=most))
        for index, command in with_tree_commands():
            state.apply(index, 1.0, command)
        return state

    put = kept("set", "t/05", value=b"again")
    few, untouched = limited(19), limited(19)
    ((at, why),) = errors(few, 100, sized, put, TREE)
    assert at == 0
    assert "make this one the last" in why and "19" in why
    assert look(few) == look(untouched)
    few.check()
    assert errors(few, 101, put, sized) == []
    few.check()
    enough = limited(20)
    assert errors(enough, 100, sized, put) == []
    enough.check()
    both = limited(39)
    ((at, _),) = errors(both, 100, TREE, END, put)
    assert at == 1, "all of them together"
    both.check()
