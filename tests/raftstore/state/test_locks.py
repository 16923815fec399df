"""Locks: who gets one, what a session's end does to its keys, lock-delay; and all of it against a
slow model that keeps plain dicts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raftstore.commands import Deregister, KVDelete, KVLock, KVSet, KVUnlock, SessionDestroy
from raftstore.queries import KVGet, KVList, ListSessions, SessionLocks, SessionLocksAnswer
from raftstore.records import Check
from tests.raftstore.state.commands import NO_SESSION, SESSIONS
from tests.raftstore.state.test_sessions import Cluster

ONE, TWO, THREE, FOUR = SESSIONS


class Keys(Cluster):
    """Sessions one (frees its keys) and two (deletes them), both without lock-delay."""

    def __init__(self) -> None:
        super().__init__()
        self.open(0, lock_delay_ns=0)
        self.open(1, lock_delay_ns=0, behavior="delete")

    def lock(self, session: str, key: str = "k", value: bytes = b"v", flags: int = 0) -> Any:
        return self.do(KVLock(key=key, session=session, value=value, flags=flags))

    def unlock(self, session: str, key: str = "k", value: bytes = b"v") -> Any:
        return self.do(KVUnlock(key=key, session=session, value=value))

    def key(self, key: str = "k") -> tuple[bytes, str, int, int] | None:
        pair = self.ask(KVGet(key))
        return pair and (pair.value, pair.session, pair.lock_index, pair.modify_index)

    @property
    def index(self) -> int:
        return self.state.index


@pytest.fixture
def keys() -> Keys:
    return Keys()


def test_the_first_gets_it_and_others_do_not(keys):
    assert keys.lock(ONE, value=b"1", flags=7) is True
    assert keys.lock(TWO, value=b"2") is False
    assert keys.key() == (b"1", ONE, 1, keys.index - 1)
    assert keys.ask(KVGet("k")).flags == 7


def test_the_holder_writes_without_counting_again(keys):
    keys.lock(ONE)
    assert keys.lock(ONE, value=b"2") is True
    assert keys.key() == (b"2", ONE, 1, keys.index)
    assert keys.lock(ONE, value=b"2") is True
    assert keys.key() == (b"2", ONE, 1, keys.index - 1)  # the same again moves nothing


def test_only_the_holder_gives_it_back_and_the_count_stays(keys):
    keys.lock(ONE)
    assert keys.unlock(TWO) is False
    assert keys.unlock(ONE, value=b"bye") is True
    assert keys.key() == (b"bye", "", 1, keys.index)
    assert keys.unlock(ONE) is False
    assert keys.unlock(ONE, key="absent") is False
    assert keys.lock(TWO) is True
    assert keys.key()[2] == 2


def test_a_plain_write_keeps_the_holder_and_sets_the_count_to_zero(keys):
    keys.lock(ONE, value=b"1")
    keys.do(KVSet(key="k", value=b"1"))
    assert keys.key() == (b"1", ONE, 0, keys.index)
    keys.do(KVSet(key="k", value=b"2", cas=keys.index))
    assert keys.key() == (b"2", ONE, 0, keys.index)


def test_a_delete_asks_nobody_and_the_key_can_be_locked_again(keys):
    keys.lock(ONE)
    assert keys.do(KVDelete(key="k")) is True
    assert keys.lock(TWO) is True
    keys.do(SessionDestroy(ONE))
    assert keys.key() == (b"v", TWO, 1, keys.index - 1)


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ("", "missing session"),
        ("short", "failed session lookup: index error: UUID must be 36 characters"),
        (NO_SESSION, f'invalid session "{NO_SESSION}"'),
    ],
)
def test_a_lock_needs_a_session_that_lives(keys, session, reason):
    assert keys.lock(session) == reason
    assert keys.key() is None


def test_giving_back_needs_a_session(keys):
    keys.lock(ONE)
    assert keys.unlock("") == "missing session"
    assert keys.unlock("short") is False


def test_ids_are_compared_without_case(keys):
    assert keys.lock(ONE.upper()) is True
    assert keys.key()[1] == ONE
    assert keys.unlock(ONE.upper()) is True


def test_the_end_of_a_session_frees_its_keys_or_deletes_them(keys):
    for key in ("a", "b"):
        keys.lock(ONE, key=key)
    keys.lock(TWO, key="c")
    keys.state.touched()
    keys.do(SessionDestroy(ONE))
    assert [keys.key(k) for k in ("a", "b")] == [(b"v", "", 1, keys.index)] * 2
    assert {("kv", "a"), ("kv", "b")} <= keys.state.touched()
    keys.do(SessionDestroy(TWO))
    assert keys.key("c") is None
    assert keys.state.index_of(KVList("c")) == keys.index
    keys.state.check()


def test_a_session_tells_the_first_keys_that_it_holds(keys):
    for key in ("c", "a", "b"):
        keys.lock(ONE, key=key)
    assert keys.ask(SessionLocks(ONE, limit=2)) == SessionLocksAnswer(3, ("a", "b"))
    keys.unlock(ONE, key="a")
    assert keys.ask(SessionLocks(ONE)).keys == ("b", "c")
    assert keys.ask(SessionLocks(TWO)) == SessionLocksAnswer(0, ())


def test_a_lost_check_frees_the_locks_in_the_same_entry(keys):
    keys.open(2, node_checks=("disk",), lock_delay_ns=0)
    keys.lock(THREE)
    keys.register("n1", Check(id="disk", status="critical"))
    assert keys.key() == (b"v", "", 1, keys.index)


def test_a_key_is_kept_free_for_the_delay_and_no_longer(keys):
    keys.open(2, lock_delay_ns=2_000_000_000)
    keys.lock(THREE)
    keys.do(SessionDestroy(THREE))
    keys.now += 1.9
    assert keys.lock(ONE) is False
    assert keys.lock(NO_SESSION) is False  # the delay is looked at first, as in Consul
    assert keys.lock(ONE, key="other") is True
    keys.do(KVSet(key="k", value=b"plain"))  # writes do not care
    keys.now += 0.2
    assert keys.lock(ONE) is True


def test_a_deleted_key_is_kept_free_too(keys):
    keys.open(2, lock_delay_ns=2_000_000_000, behavior="delete")
    keys.lock(THREE)
    keys.do(SessionDestroy(THREE))
    assert keys.lock(ONE) is False


def test_giving_back_starts_no_delay(keys):
    keys.open(2)
    keys.lock(THREE)
    keys.unlock(THREE)
    keys.do(SessionDestroy(THREE))
    assert keys.lock(ONE) is True


def test_no_delay_is_longer_than_a_minute(keys):
    keys.open(2, lock_delay_ns=3600 * 10**9)
    keys.lock(THREE)
    keys.do(SessionDestroy(THREE))
    keys.now += 59.9
    assert keys.lock(ONE) is False
    keys.now += 0.2
    assert keys.lock(ONE) is True


def test_delays_that_are_over_are_forgotten(keys):
    for number in (2, 3):
        keys.open(number, lock_delay_ns=1_000_000_000)
        keys.lock(SESSIONS[number], key=f"k{number}")
        keys.do(SessionDestroy(SESSIONS[number]))
        keys.now += 5
    assert len(keys.state.locks.delays) == 1


NAMES = ["a", "b", "c"]
IDS = [*SESSIONS, NO_SESSION]


class LockModel(RuleBasedStateMachine):
    """Sessions: id -> (node, check, delay, deletes). Keys: key -> [value, session, count]."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Cluster()
        self.sessions: dict[str, tuple[str, str, float, bool]] = {}
        self.keys: dict[str, list[Any]] = {}
        self.delays: dict[str, float] = {}
        self.passing = {("n1", "serfHealth"), ("n1", "disk"), ("n2", "serfHealth")}
        self.nodes = {"n1", "n2"}

    def end(self, session: str) -> None:
        _, _, delay, deletes = self.sessions.pop(session)
        for key, held in list(self.keys.items()):
            if held[1] == session:
                if deletes:
                    del self.keys[key]
                else:
                    held[1] = ""
                if delay:
                    self.delays[key] = self.real.now + delay

    @rule(
        number=st.integers(0, 3),
        node=st.sampled_from(["n1", "n2"]),
        check=st.sampled_from(["", "serfHealth", "disk"]),
        delay=st.sampled_from([0, 2]),
        deletes=st.booleans(),
    )
    def open(self, number: int, node: str, check: str, delay: int, deletes: bool) -> None:
        got = self.real.open(
            number,
            node,
            node_checks=(check,) if check else (),
            lock_delay_ns=delay * 10**9,
            behavior="delete" if deletes else "release",
        )
        there = node in self.nodes and (not check or (node, check) in self.passing)
        fresh = SESSIONS[number] not in self.sessions
        assert (got == SESSIONS[number]) is (there and fresh)
        if there and fresh:
            self.sessions[SESSIONS[number]] = (node, check, delay, deletes)

    @rule(session=st.sampled_from(SESSIONS))
    def destroy(self, session: str) -> None:
        assert self.real.do(SessionDestroy(session)) is (session in self.sessions)
        if session in self.sessions:
            self.end(session)

    @rule(check=st.sampled_from(["serfHealth", "disk"]), passing=st.booleans())
    def report(self, check: str, passing: bool) -> None:
        self.real.register("n1", Check(id=check, status="passing" if passing else "critical"))
        self.nodes.add("n1")
        if passing:
            self.passing.add(("n1", check))
            return
        self.passing.discard(("n1", check))
        for session, (node, bound, *_) in list(self.sessions.items()):
            if (node, bound) == ("n1", check):
                self.end(session)

    @rule(node=st.sampled_from(["n1", "n2"]))
    def deregister(self, node: str) -> None:
        self.real.do(Deregister(node=node))
        self.nodes.discard(node)
        self.passing = {place for place in self.passing if place[0] != node}
        for session, (own, *_) in list(self.sessions.items()):
            if own == node:
                self.end(session)

    @rule(key=st.sampled_from(NAMES), session=st.sampled_from(IDS), value=st.binary(max_size=1))
    def lock(self, key: str, session: str, value: bytes) -> None:
        got = self.real.do(KVLock(key=key, session=session, value=value))
        if self.delays.get(key, 0) > self.real.now:
            assert got is False
        elif session not in self.sessions:
            assert got == f'invalid session "{session}"'
        else:
            _, holder, count = self.keys.get(key, [b"", "", 0])
            assert got is (holder in ("", session))
            if got:
                self.keys[key] = [value, session, count if holder else count + 1]

    @rule(key=st.sampled_from(NAMES), session=st.sampled_from(IDS))
    def unlock(self, key: str, session: str) -> None:
        got = self.real.do(KVUnlock(key=key, session=session, value=b"u"))
        assert got is (key in self.keys and self.keys[key][1] == session)
        if got:
            self.keys[key][:2] = [b"u", ""]

    @rule(key=st.sampled_from(NAMES), value=st.binary(max_size=1))
    def write(self, key: str, value: bytes) -> None:
        self.real.do(KVSet(key=key, value=value))
        self.keys[key] = [value, self.keys.get(key, [b"", ""])[1], 0]

    @rule(key=st.sampled_from(NAMES))
    def delete(self, key: str) -> None:
        self.real.do(KVDelete(key=key))
        self.keys.pop(key, None)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.real.now += seconds

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        assert {s.id for s in self.real.ask(ListSessions())} == set(self.sessions)
        pairs = self.real.ask(KVList(""))
        assert {p.key: [p.value, p.session, p.lock_index] for p in pairs} == self.keys


LockModel.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestLockModel = LockModel.TestCase
