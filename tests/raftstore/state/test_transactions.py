"""All operations or none: errors by operation, results, and a failure that leaves no trace."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore import wire
from raftstore.commands import Applied, KVLock, KVSet, SessionDestroy, Transaction
from raftstore.config import StateLimits
from raftstore.definition_commands import SetPreparedQuery, UpdateCoordinates
from raftstore.definition_queries import GetPreparedQuery, ListCoordinates
from raftstore.definitions import Coordinate, PreparedQuery
from raftstore.queries import GetSession, KVGet, KVList, ReadTransaction
from raftstore.records import (
    Check,
    Node,
    Service,
    TxnAnswer,
    TxnCheck,
    TxnKV,
    TxnNode,
    TxnOperation,
    TxnService,
    TxnSession,
)
from raftstore.state import StateMachine
from tests.raftstore.state.commands import KEY_VERBS, SESSIONS, transactions
from tests.raftstore.state.test_machine import START, TIGHT, any_commands, as_bytes, populated
from tests.raftstore.state.test_sessions import Cluster
from tests.strategies import scaled

ONE = SESSIONS[0]
NOT_HELD = "lock isn't held, or is held by another session"
NO_UUID = "failed session lookup: index error: UUID must be 36 characters"
INDEX_WAS = "current modify index"
OWNER_WAS = "current session"


def kv(verb: str, key: str = "k", **fields: Any) -> TxnOperation:
    return TxnOperation(kv=TxnKV(verb=verb, key=key, **fields))


def node(verb: str, name: str = "n1", **fields: Any) -> TxnOperation:
    return TxnOperation(node=TxnNode(verb, Node(name=name, **fields)))


def service(verb: str, name: str = "web", at: str = "n1", **fields: Any) -> TxnOperation:
    return TxnOperation(service=TxnService(verb, at, Service(id="web", name=name, **fields)))


def check(verb: str, check_id: str = "disk", at: str = "n1", **fields: Any) -> TxnOperation:
    return TxnOperation(check=TxnCheck(verb, Check(node=at, id=check_id, **fields)))


class Txn(Cluster):
    """A cluster that answers transactions as HTTP would: results, or errors by operation."""

    def run(self, *operations: TxnOperation) -> TxnAnswer:
        return wire.decode_txn_answer(self.do(Transaction(operations)))

    def errors(self, *operations: TxnOperation) -> list[tuple[int, str]]:
        self.state.touched()
        before = self.everything()
        answer = self.run(*operations)
        assert answer.results == ()
        assert answer.errors, "it went through"
        assert self.everything() == before, "a failed transaction left something"
        return [(error.index, error.what) for error in answer.errors]

    def everything(self) -> list[bytes]:
        chunks = [msgpack.packb(chunk) for chunk in self.state.snapshot()]
        return [*chunks[1:], repr(self.state.touched()).encode()]  # the head has the entry's index

    def value(self, key: str = "k") -> bytes | None:
        pair = self.ask(KVGet(key))
        return pair and pair.value


@pytest.fixture
def txn() -> Txn:
    txn = Txn()
    txn.do(KVSet(key="k", value=b"old"))
    txn.open(0, node_checks=("disk",), lock_delay_ns=0)
    txn.state.touched()
    return txn


def test_operations_see_what_those_before_them_did(txn):
    answer = txn.run(
        kv("set", value=b"1"),
        kv("get"),
        kv("set", "k/sub", value=b"2"),
        kv("get-tree"),
        kv("delete-tree", "k/"),
        kv("get-or-empty", "k/sub"),
    )
    assert [(r.kv.key, r.kv.value) for r in answer.results] == [
        ("k", b""), ("k", b"1"), ("k/sub", b""), ("k", b"1"), ("k/sub", b"2"), ("k/sub", b"")
    ]  # fmt: skip
    pair = answer.results[0].kv
    assert pair.modify_index == txn.state.index
    assert txn.value() == b"1"


@pytest.mark.parametrize(
    ("operation", "what"),
    [
        (kv("set", ""), "Must provide key"),
        (kv("get-tree", ""), "Must provide key"),
        (kv("nope"), 'unknown KV verb "nope"'),
        (kv("cas", index=1), 'failed to set key "k", index is stale'),
        (kv("cas", index=0), 'failed to set key "k", index is stale'),
        (kv("delete-cas", index=1), 'failed to delete key "k", index is stale'),
        (kv("get", "no"), 'key "no" doesn\'t exist'),
        (kv("check-not-exists"), 'key "k" exists'),
        (kv("check-index", index=1), f'failed index check for key "k", {INDEX_WAS} 5 != 1'),
        (kv("check-index", "no"), 'failed to check index, key "no" doesn\'t exist'),
        (
            kv("check-session", session="x"),
            f'failed session check for key "k", {OWNER_WAS} "" != "x"',
        ),
        (kv("check-session", "no"), 'failed to check session, key "no" doesn\'t exist'),
        (kv("lock"), "missing session"),
        (kv("lock", session="f" * 8 + ONE[8:]), f'invalid session "{"f" * 8 + ONE[8:]}"'),
        (kv("lock", session="x"), NO_UUID),
        (kv("unlock"), "missing session"),
        (kv("unlock", session=ONE), f'failed to unlock key "k", {NOT_HELD}'),
        (node("nope"), 'unknown Node verb "nope"'),
        (node("set", ""), "Must provide node"),
        (node("set", id="x"), "Bad node ID: uuid is improperly formatted"),
        (node("get", "no"), 'node "no" doesn\'t exist'),
        (node("cas", modify_index=99), 'failed to set node "n1", index is stale'),
        (node("delete-cas", "no", modify_index=1), 'failed to delete node "no", index is stale'),
        (service("set", ""), "Must provide service name with ID"),
        (service("set", at="no"), "Missing node registration"),
        (service("get", at="n2"), 'service "web" on node "n2" doesn\'t exist'),
        (
            service("cas", modify_index=1),
            'failed to set service "web" on node "n1", index is stale',
        ),
        (service("nope"), 'unknown Service verb "nope"'),
        (check("set", at="no"), "Missing node registration"),
        (check("set", service_id="no"), "Missing service registration"),
        (
            check("delete-cas", modify_index=1),
            'failed to delete check "disk" on node "n1", index is stale',
        ),
        (check("nope"), 'unknown Check verb "nope"'),
        (TxnOperation(session=TxnSession("get", ONE)), 'unknown Session verb "get"'),
        (TxnOperation(session=TxnSession("delete", "x")), NO_UUID),
    ],
)  # fmt: skip
def test_what_fails_is_told_and_nothing_stays(txn, operation, what):
    first = kv("set", "first", value=b"new"), node("set", "n9"), TxnOperation()
    assert txn.errors(*first, operation, kv("delete")) == [(3, what)]


def test_every_failure_is_told(txn):
    assert [at for at, _ in txn.errors(kv("get", "x"), kv("set"), kv("get", "y"))] == [0, 2]


def test_what_cannot_be_tried_is_told_alone(txn):
    errors = txn.errors(kv("get", "absent"), kv("set", ""), service("delete", ""))
    assert [at for at, _ in errors] == [1, 2]


def test_a_lock_delay_is_an_error_of_its_own(txn):
    txn.open(1)
    txn.do(KVLock(key="k", session=SESSIONS[1]))
    txn.do(SessionDestroy(SESSIONS[1]))
    txn.state.touched()
    what = 'failed to lock key "k" due to lock delay'
    assert txn.errors(kv("lock", session=ONE)) == [(0, what)]
    txn.now += 15
    assert not txn.run(kv("lock", session=ONE)).errors


def test_a_lock_held_by_another_fails(txn):
    txn.open(1)
    txn.do(KVLock(key="k", session=SESSIONS[1]))
    txn.state.touched()
    assert txn.errors(kv("lock", session=ONE)) == [
        (0, 'failed to lock key "k", lock is already held')
    ]


def test_a_check_that_fails_in_it_ends_the_session_and_frees_the_lock(txn):
    answer = txn.run(
        kv("lock", session=ONE), kv("check-session", session=ONE), check("set", status="critical"),
        kv("check-session"),
    )  # fmt: skip
    assert [r.kv.session for r in (answer.results[0], answer.results[1], answer.results[3])] == [
        ONE, ONE, ""
    ]  # fmt: skip
    assert txn.ask(GetSession(ONE)) is None


def test_a_session_survives_a_transaction_that_fails_after_its_end(txn):
    txn.do(KVLock(key="k", session=ONE, value=b"held"))
    txn.state.touched()
    for end in (node("delete"), check("delete"), TxnOperation(session=TxnSession("delete", ONE))):
        assert txn.errors(end, kv("get", "absent")) == [(1, 'key "absent" doesn\'t exist')]
        assert txn.ask(GetSession(ONE)) is not None
        assert txn.ask(KVGet("k")).session == ONE


def test_what_hangs_on_a_session_or_a_node_goes_with_it_or_stays_with_it(txn):
    txn.do(SetPreparedQuery(PreparedQuery(id="1", name="p", session=ONE)))
    txn.do(SetPreparedQuery(PreparedQuery(id="2", name="q")))
    txn.do(UpdateCoordinates((Coordinate(node="n1", content={"Vec": [0.5]}),)))
    assert txn.errors(node("delete"), kv("get", "absent"))
    assert txn.ask(GetPreparedQuery("1")) is not None
    assert not txn.run(node("delete")).errors
    assert txn.ask(GetPreparedQuery("1")) is None
    assert txn.ask(GetPreparedQuery("2")) is not None
    assert txn.ask(ListCoordinates("n1")) == ()


def test_nodes_services_and_checks_come_back(txn):
    answer = txn.run(
        node("set", "n3", address="10.1.1.1"),
        service("set", at="n3", port=80),
        check("set", "c", at="n3", service_id="web", status="passing"),
        check("get", "c", at="N3"),
        service("delete", at="n3"),
        node("get", "n3"),
    )
    found = answer.results
    assert found[0].node.address == "10.1.1.1"
    assert (found[1].service.port, found[1].service.node) == (80, "n3")
    assert found[2].check.service_name == "web"
    assert found[2] == found[3]
    assert len(found) == 5
    assert found[4].node == found[0].node
    assert {found[0].node.modify_index, found[1].service.create_index} == {txn.state.index}


def test_comparing_verbs_hold_at_the_stored_index_and_at_zero_for_what_is_absent(txn):
    stored = txn.run(node("get"), service("get"), check("get")).results
    at = [stored[0].node.modify_index, stored[1].service.modify_index, stored[2].check.modify_index]
    assert not txn.run(
        node("cas", address="new", modify_index=at[0]),
        service("cas", port=9, modify_index=at[1]),
        check("cas", status="passing", modify_index=at[2]),
        node("cas", "fresh"),
        service("cas", at="fresh"),
        check("cas", "fresh", at="fresh"),
        node("delete-cas", "fresh", modify_index=txn.state.index + 1),
    ).errors
    assert txn.errors(node("cas")) == [(0, 'failed to set node "n1", index is stale')]


def test_too_many_operations_are_refused():
    txn = Txn(txn_operations_max=2)
    reason = txn.do(Transaction((TxnOperation(),) * 3))
    assert reason == "Transaction contains too many operations (3 > 2)"


def test_results_over_the_limit_take_all_back():
    txn = Txn(txn_results_bytes_max=1000)
    txn.do(KVSet(key="large", value=b"x" * 2000))
    txn.state.touched()
    before = txn.everything()
    over = "results are over the limit of 1000 bytes"
    assert txn.errors(kv("set"), kv("get", "large"), kv("get", "k")) == [(1, over), (2, over)]
    assert txn.everything() == before


def test_more_results_than_may_be_take_all_back_and_a_reader_gets_them():
    txn = Txn(txn_results_max=3)
    txn.run(*(kv("set", f"t/{number}") for number in range(3)))
    txn.state.touched()
    assert len(txn.run(kv("get-tree", "t/")).results) == 3
    before = txn.everything()
    over = "results are over the limit of 3"
    assert txn.errors(kv("set", "x"), kv("get-tree", "t/"), kv("get", "x")) == [
        (1, over),
        (2, over),
    ]
    assert txn.everything() == before
    reading = (kv("get-tree", "t/"), kv("get", "t/1"))
    assert len(txn.ask(ReadTransaction(reading)).results) == 4


@pytest.mark.parametrize("verb", ["get", "get-tree"])
def test_a_reader_gets_no_more_than_the_limit(verb):
    txn = Txn(txn_read_bytes_max=1000)
    txn.do(KVSet(key="large", value=b"x" * 500))
    one = kv(verb, "large")
    assert len(txn.ask(ReadTransaction((one,))).results) == 1
    answer = txn.ask(ReadTransaction((one, one)))
    over = "results are over the limit of 1000 bytes"
    assert [(e.index, e.what) for e in answer.errors] == [(1, over)]
    assert answer.results == ()


def test_a_reader_gets_the_same_without_an_entry(txn):
    reading = (kv("get"), kv("get-tree", "k"), kv("get-or-empty", "no"), node("get"), check("get"))
    assert txn.ask(ReadTransaction(reading)) == txn.run(*reading)
    refused = txn.ask(ReadTransaction((kv("set"), node("set"), TxnOperation())))
    assert [(e.index, e.what) for e in refused.errors] == [
        (0, 'unknown KV verb "set"'), (1, 'unknown Node verb "set"')
    ]  # fmt: skip


@settings(max_examples=scaled(80), deadline=None)
@given(data=st.data())
def test_a_failed_transaction_leaves_the_same_bytes_and_a_good_one_all_of_it(data):
    state = populated(TIGHT)
    for index in range(START, START + data.draw(st.integers(0, 8))):
        state.apply(index, float(index), data.draw(any_commands(index)))
    index = state.index + 1
    state.touched()
    before = as_bytes(state)[1:]
    command = data.draw(transactions(index))
    outcome = state.apply(index, float(index), command)
    assert isinstance(outcome, Applied)
    answer = wire.decode_txn_answer(outcome.value)
    state.check()
    if answer.errors:
        assert as_bytes(state)[1:] == before
        assert state.touched() == frozenset()


class Slow:
    """Keys without sessions, as a dict that is copied before each transaction."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[bytes, int]] = {}

    def run(self, index: int, steps: tuple[TxnOperation, ...]) -> list[int]:
        """Indexes of the operations that failed."""
        saved, failed = dict(self.keys), []
        for number, step in enumerate(steps):
            if not self.step(index, step.kv):
                failed.append(number)
        if failed:
            self.keys = saved
        return failed

    def step(self, index: int, op: TxnKV) -> bool:
        stored = self.keys.get(op.key)
        at = stored[1] if stored else 0
        match op.verb:
            case "set" | "cas":
                if op.verb == "cas" and op.index != at:
                    return False
                if stored is None or stored[0] != op.value:
                    self.keys[op.key] = (op.value, index)
            case "delete" | "delete-cas":
                if op.verb == "delete-cas" and stored and op.index != at:
                    return False
                self.keys.pop(op.key, None)
            case "delete-tree":
                self.keys = {k: v for k, v in self.keys.items() if not k.startswith(op.key)}
            case "get":
                return stored is not None
            case "check-not-exists":
                return stored is None
            case "check-index":
                return stored is not None and op.index == at
            case "lock" | "unlock" | "nope":
                return False
            case "check-session":
                return stored is not None and op.session == ""
        return True


@settings(max_examples=scaled(80), deadline=None)
@given(data=st.data())
def test_keys_are_as_in_a_store_that_is_copied_first(data):
    state, slow = StateMachine(StateLimits(tombstones_max=2)), Slow()
    for index in range(1, data.draw(st.integers(2, 8))):
        recent = st.sampled_from([0, *range(max(1, index - 3), index)])
        step = st.builds(
            TxnKV,
            verb=st.sampled_from(KEY_VERBS),
            key=st.sampled_from(["a", "a/b", "b"]),
            value=st.sampled_from([b"", b"1"]),
            index=recent,
        )
        drawn = data.draw(st.lists(step, min_size=1, max_size=4))
        steps = tuple(TxnOperation(kv=operation) for operation in drawn)
        outcome = state.apply(index, 0.0, Transaction(steps))
        answer = wire.decode_txn_answer(outcome.value)
        assert [error.index for error in answer.errors] == slow.run(index, steps)
        pairs = state.answer(KVList("")).value
        assert {p.key: (p.value, p.modify_index) for p in pairs} == slow.keys
        state.check()
