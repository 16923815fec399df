"""Locks and semaphores as written to the store: never more holders than allowed, nothing left."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli.lock_rules import (
    LOCK_FLAGS,
    SEMAPHORE_FLAGS,
    ConflictError,
    Entry,
    Held,
    Mutex,
    Put,
    Remove,
    Rules,
    Semaphore,
    Wait,
    entry_of,
)
from agent.http import render
from raftstore.commands import (
    Applied,
    Command,
    KVDelete,
    KVLock,
    KVSet,
    KVUnlock,
    Register,
    SessionCreate,
    SessionDestroy,
)
from raftstore.queries import KVGet, KVList, ListSessions
from raftstore.records import Node, Session
from raftstore.state import StateMachine
from tests.strategies import scaled

IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(4)]


class Store:
    """The replicated state, written to and read as the command does over HTTP."""

    def __init__(self) -> None:
        self.state = StateMachine()
        self._indexes = itertools.count(2)
        self.do(Register(node=Node(name="n", address="10.0.0.1")))

    def do(self, command: Command) -> Any:
        outcome = self.state.apply(next(self._indexes), 0.0, command)
        return outcome.value if isinstance(outcome, Applied) else None

    def open(self, session: str, behavior: Any) -> None:
        self.do(
            SessionCreate(
                Session(id=session, node="n", behavior=behavior, lock_delay_ns=0, node_checks=())
            )
        )

    def read(self, rules: Rules) -> tuple[Entry, ...]:
        if rules.recurse:
            pairs = self.state.answer(KVList(rules.path)).value
        else:
            pair = self.state.answer(KVGet(rules.path)).value
            pairs = () if pair is None else (pair,)
        return tuple(entry_of(render.kv_pair(pair)) for pair in pairs)

    def write(self, step: Put | Remove) -> bool:
        if isinstance(step, Remove):
            return bool(self.do(KVDelete(key=step.key, cas=step.cas)))
        fields: dict[str, Any] = {"key": step.key, "value": step.value, "flags": step.flags}
        if step.acquire:
            return bool(self.do(KVLock(session=step.acquire, **fields)))
        if step.release:
            return bool(self.do(KVUnlock(session=step.release, **fields)))
        assert step.cas is not None
        return bool(self.do(KVSet(cas=step.cas, **fields)))


class Contender:
    """One that wants the lock; the entries that it decides on may be old by the time it writes."""

    def __init__(self, store: Store, session: str, limit: int) -> None:
        self.store = store
        self.session = session
        self.rules: Rules = Mutex("p", session) if limit == 1 else Semaphore("p", session, limit)
        self.held = False
        self.leaving = False
        self.gone = False
        self.died = False
        self.read: tuple[Entry, ...] | None = None
        store.open(session, "release" if limit == 1 else "delete")

    def turn(self) -> None:
        """Read, or write what follows from what was read."""
        if self.read is None:
            self.read = self.store.read(self.rules)
            return
        entries, self.read = self.read, None
        if self.leaving:
            step = self.rules.leave(entries)
            if step is None:
                self.gone = True
                self.store.do(SessionDestroy(self.session))
            elif self.store.write(step):
                self.held = self.held and self.rules.is_held(self.store.read(self.rules))
            return
        wanted = self.rules.next(entries)
        if isinstance(wanted, Held):
            self.held = True
        elif not isinstance(wanted, Wait):
            self.store.write(wanted)

    def leave(self) -> None:
        if not self.leaving:
            self.leaving, self.read = True, None

    def die(self) -> None:
        """Its session ends, and with that its hold."""
        self.store.do(SessionDestroy(self.session))
        self.held, self.gone, self.died = False, True, True


@settings(max_examples=scaled(50), deadline=None)
@given(data=st.data(), limit=st.integers(1, 3))
def test_never_more_hold_it_than_may_and_in_the_end_nothing_is_left(data: Any, limit: int) -> None:
    store = Store()
    all_of_them = [Contender(store, session, limit) for session in IDS]
    for _ in range(data.draw(st.integers(10, 80))):
        alive = [each for each in all_of_them if not each.gone]
        if not alive:
            break
        each = data.draw(st.sampled_from(alive))
        what = data.draw(st.sampled_from(["turn"] * 8 + ["leave", "die"]))
        getattr(each, what)()
        holders = [one for one in all_of_them if one.held]
        assert len(holders) <= limit
        for one in holders:
            assert one.leaving or one.rules.is_held(store.read(one.rules))
    for each in all_of_them:
        for _ in range(40):
            if each.gone:
                break
            each.leave()
            each.turn()
        assert each.gone
    assert store.state.answer(ListSessions()).value == ()
    left = [pair.key for pair in store.state.answer(KVList("p")).value]
    died = any(each.died for each in all_of_them)
    assert left == [] or (left == ["p/.lock"] and died), "who dies cannot tidy up"


@pytest.mark.parametrize("limit", [1, 2])
def test_everybody_gets_it_in_turn(limit: int) -> None:
    store = Store()
    waiting = [Contender(store, session, limit) for session in IDS]
    served = 0
    for _ in range(400):
        for each in waiting:
            each.turn()
            if each.held and not each.leaving:
                served += 1
                each.leave()
        waiting = [each for each in waiting if not each.gone]
    assert (served, waiting) == (len(IDS), [])


def test_a_semaphore_is_written_as_consuls_clients_write_it() -> None:
    rules = Semaphore("p", "s1", 2)
    ours = Put(key="p/s1", value=b"", flags=SEMAPHORE_FLAGS, acquire="s1")
    assert rules.next(()) == ours
    mine = Entry(key="p/s1", session="s1", flags=SEMAPHORE_FLAGS, index=4)
    step = rules.next((mine,))
    assert isinstance(step, Put)
    assert (step.key, step.cas, step.flags) == ("p/.lock", 0, 0xE0F69A2BAA414DE0)
    assert json.loads(step.value) == {"Limit": 2, "Holders": {"s1": True}}


def test_a_holder_that_died_makes_room() -> None:
    rules = Semaphore("p", "s1", 1)
    mine = Entry(key="p/s1", session="s1", index=4)
    value = b'{"Limit":1,"Holders":{"dead":true}}'
    lock = Entry(key="p/.lock", value=value, flags=SEMAPHORE_FLAGS, index=7)
    step = rules.next((lock, mine))
    assert isinstance(step, Put)
    assert json.loads(step.value)["Holders"] == {"s1": True}
    assert step.cas == 7
    living = Entry(key="p/dead", session="dead", index=3)
    assert rules.next((lock, living, mine)) == Wait()


def test_who_leaves_takes_its_name_out_first() -> None:
    rules = Semaphore("p", "s1", 2)
    mine = Entry(key="p/s1", session="s1", index=4)
    other = Entry(key="p/s2", session="s2", index=5)
    value = b'{"Limit":2,"Holders":{"s1":true,"s2":true}}'
    lock = Entry(key="p/.lock", value=value, flags=SEMAPHORE_FLAGS, index=7)
    step = rules.leave((lock, mine, other))
    assert isinstance(step, Put)
    assert (json.loads(step.value)["Holders"], step.cas) == ({"s2": True}, 7)


@pytest.mark.parametrize(
    ("rules", "lock", "words"),
    [
        (Mutex("p", "s1"), Entry(key="p/.lock", flags=5), "does not match lock use"),
        (Semaphore("p", "s1", 2), Entry(key="p/.lock", flags=5), "match semaphore use"),
        (
            Semaphore("p", "s1", 2),
            Entry(key="p/.lock", flags=SEMAPHORE_FLAGS, value=b"what"),
            "match semaphore use",
        ),
        (
            Semaphore("p", "s1", 2),
            Entry(key="p/.lock", flags=SEMAPHORE_FLAGS, value=b'{"Limit":3,"Holders":{}}'),
            "Semaphore limit conflict (lock: 3, local: 2)",
        ),
    ],
)
def test_a_key_that_is_something_else_is_left_alone(rules: Any, lock: Entry, words: str) -> None:
    mine = Entry(key="p/s1", session="s1")
    with pytest.raises(ConflictError) as caught:
        rules.next((lock, mine))
    assert words in str(caught.value)
    assert not rules.is_held((lock, mine))
    assert rules.leave((lock,)) is None or rules.leave((lock,)) == Remove("p/.lock", 0)


def test_a_lock_of_another_is_not_touched() -> None:
    rules = Mutex("p", "s1")
    theirs = (Entry(key="p/.lock", session="s2", flags=LOCK_FLAGS, index=3),)
    assert rules.next(theirs) == Wait()
    assert rules.leave(theirs) is None
    assert not rules.is_held(theirs)
