"""Long answers written and read in steps are what wire.py makes of them in one."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore import answers, wire
from raftstore.answers import AnswerTooLarge
from raftstore.errors import DecodeError, EncodeError
from raftstore.queries import (
    Answer,
    Change,
    History,
    HistoryAnswer,
    KVGet,
    KVKeys,
    KVList,
    ListNodes,
    ListServices,
    NodeServices,
    NodeServicesAnswer,
    Query,
    ReadTransaction,
)
from raftstore.records import (
    KVPair,
    Node,
    NodeName,
    Service,
    TxnAnswer,
    TxnError,
    TxnResult,
)
from raftstore.slices import at_once
from tests.raftstore.state.commands import ALL_QUERIES
from tests.raftstore.state.test_machine import TIGHT, populated
from tests.strategies import scaled

ROOM = 1 << 20
LONG: list[tuple[Query[Any], Any]] = [
    (KVList(""), tuple(KVPair(key=f"k{n:03}", value=b"v" * n, flags=n) for n in range(99))),
    (KVKeys(""), tuple(f"k{n:03}" for n in range(99))),
    (ListNodes(), tuple(Node(name=f"n{n}", meta={"b": "1", "a": "2"}) for n in range(99))),
    (ListServices(), {f"s{99 - n}": ("a", str(n)) for n in range(99)}),
    (
        NodeServices(NodeName("n")),
        NodeServicesAnswer(
            Node(name="n"), tuple(Service(id=f"s{n}", name="s", port=n) for n in range(99))
        ),
    ),
    (
        History(),
        HistoryAnswer(3, tuple(Change(index=n, stamp=1.0, table="kv", key="k") for n in range(99))),
    ),
    (
        History(),
        HistoryAnswer(
            3, tuple(Change(index=n, stamp=1.0, table="kv", key="k") for n in range(99)), True
        ),
    ),
    (
        ReadTransaction(()),
        TxnAnswer(tuple(TxnResult(kv=KVPair(key=f"k{n}", value=b"v")) for n in range(99))),
    ),
    (ReadTransaction(()), TxnAnswer((TxnResult(node=Node(name="n")),) * 99, (TxnError(3, "why"),))),
]


@pytest.fixture(autouse=True)
def nothing_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SHORT_BYTES", 0)


@pytest.mark.parametrize(("query", "value"), LONG, ids=lambda item: type(item).__name__)
def test_the_bytes_are_the_same_and_are_read_back(query: Query[Any], value: Any) -> None:
    answer = Answer(7, value)
    steps = answers.encode_answer(query, answer, bytes_max=ROOM)
    assert next(steps, "ended") is None, "it takes more than one step"
    data = bytes(at_once(answers.encode_answer(query, answer, bytes_max=ROOM)))
    assert data == wire.encode_answer(query, answer)
    reading = answers.decode_answer(query, data)
    assert next(reading, "ended") is None
    assert at_once(answers.decode_answer(query, data)) == answer


def test_every_answer_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "STEP_ROWS", 1)
    state = populated(TIGHT)
    for query in ALL_QUERIES:
        answer = state.answer(query)
        data = bytes(at_once(answers.encode_answer(query, answer, bytes_max=ROOM)))
        assert data == wire.encode_answer(query, answer)
        assert at_once(answers.decode_answer(query, data)) == answer, query


@given(cut=st.integers(0, 40), put=st.binary(max_size=3))
def test_what_a_transaction_gave_is_read_in_steps_as_in_one(cut: int, put: bytes) -> None:
    values = [value for _, value in LONG if isinstance(value, TxnAnswer)]
    for value in (*values, TxnAnswer(), TxnAnswer(errors=(TxnError(0, "why"),))):
        good = wire.codec_for(TxnAnswer).encode(value)
        assert at_once(answers.decode_txn_answer(good)) == value
        bad = good[:cut] + put + good[cut + 1 :]
        try:
            expected = wire.decode_txn_answer(bad)
        except DecodeError:
            with pytest.raises(DecodeError):
                at_once(answers.decode_txn_answer(bad))
        else:
            assert at_once(answers.decode_txn_answer(bad)) == expected


@pytest.mark.parametrize("size", [1, 40, 99])
def test_what_outgrows_its_limit_is_given_up(size: int) -> None:
    value = tuple(KVPair(key=f"k{n}", value=b"v" * 1000) for n in range(size))
    steps = answers.encode_answer(KVList(""), Answer(7, value), bytes_max=900)
    with pytest.raises(AnswerTooLarge, match="over the limit of 900 bytes"):
        next(steps)  # the rest is not encoded any more


def test_what_cannot_be_carried_is_refused() -> None:
    value = tuple(KVPair(key="k", flags=2**64) for _ in range(99))
    with pytest.raises(EncodeError):
        at_once(answers.encode_answer(KVList(""), Answer(7, value), bytes_max=ROOM))


@settings(max_examples=scaled(150), deadline=None)
@given(data=st.data())
def test_any_bytes_are_read_as_by_wire_or_refused(data: st.DataObject) -> None:
    query, value = data.draw(st.sampled_from([*LONG, (KVGet("k"), KVPair(key="k"))]))
    good = wire.encode_answer(query, Answer(7, value))
    at = data.draw(st.integers(0, len(good) - 1))
    bad = data.draw(
        st.one_of(
            st.just(good[:at]),
            st.just(good + b"\xc0"),
            st.binary(max_size=3).map(lambda put: good[:at] + put + good[at + 1 :]),
            st.binary(max_size=60),
            st.just(msgpack.packb([True, 7, []])),
            st.just(msgpack.packb([1, True, []])),
        )
    )
    try:
        expected: Any = wire.decode_answer(query, bad)
    except DecodeError:
        expected = None
    try:
        found: Any = at_once(answers.decode_answer(query, bad))
    except DecodeError:
        found = None
    assert found == expected
