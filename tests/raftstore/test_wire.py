"""Messages: what is in them, what a reader accepts, how large they may be."""

from __future__ import annotations

import dataclasses

import msgpack
import pytest

from raftstore import commands, queries, wire
from raftstore.commands import Applied, KVSet, NextSerial, Register, Rejected, RequestId
from raftstore.errors import DecodeError, EncodeError
from raftstore.queries import Answer, KVGet, ListNodes
from raftstore.records import Actor, Node, NodeName


def test_a_command_is_version_number_request_and_fields():
    command, request = KVSet(key="a", value=b"1", cas=3), RequestId("s", 4)
    payload = wire.encode_command(command, request_id=request)
    assert msgpack.unpackb(payload) == [1, 3, ["s", 4], ["a", b"1", 0, 3]]
    longer = msgpack.packb([1, 3, ["s", 4, 0], ["a", b"1", 0, 3]])
    assert wire.decode_command(longer) == wire.decode_command(payload)
    assert wire.decode_command(longer)[:2] == (command, request)


def test_a_query_is_version_number_and_fields():
    assert msgpack.unpackb(wire.encode_query(KVGet("a"))) == [1, 9, ["a"]]


def test_numbers_never_change():
    """Part of the format of logs and of what agents of different versions say: append only."""
    assert {n: c.__name__ for n, c in commands.REGISTRY.items() if n <= 10} == {
        1: "Register",
        2: "Deregister",
        3: "KVSet",
        4: "KVDelete",
        5: "KVDeleteTree",
        6: "SetIntention",
        7: "DeleteIntention",
        8: "SetCA",
        9: "SetCAConfig",
        10: "NextSerial",
    }
    assert [queries.REGISTRY[n].__name__ for n in (1, 9, 17)] == [
        "ListNodes",
        "KVGet",
        "GetCAProvider",
    ]


def test_a_command_keeps_its_request_id():
    payload = wire.encode_command(NextSerial(), request_id=RequestId("s", 1, 1))
    assert wire.decode_command(payload) == (NextSerial(), RequestId("s", 1, 1), None)
    assert wire.decode_command(wire.encode_command(NextSerial())) == (NextSerial(), None, None)


def test_a_command_may_name_on_whose_behalf_it_comes():
    actor = Actor("t1", "10.0.0.9:4711", "n1")
    payload = wire.encode_command(NextSerial(), actor=actor)
    assert msgpack.unpackb(payload) == [1, 10, None, [], ["t1", "10.0.0.9:4711", "n1"]]
    assert wire.decode_command(payload).actor == actor


def test_an_actor_is_one_value_and_is_read_strictly_also_when_it_is_known(monkeypatch):
    monkeypatch.setattr(wire, "_ACTORS_MAX", 2)
    known = Actor(accessor="a", address="b", node="c")
    payload = wire.encode_command(KVSet(key="k"), actor=known)
    first, again = (wire.decode_command(payload).actor for _ in range(2))
    assert first == known
    assert first is again
    message = msgpack.unpackb(payload)
    for wrong in ("abc", {"a": 1, "b": 2, "c": 3}, [b"a", "b", "c"], ["a", ["b"], "c"], 7, None):
        with pytest.raises(DecodeError):
            wire.decode_command(msgpack.packb([*message[:4], wrong]))
    for number in range(10):
        one = Actor(node=f"n{number}")
        assert wire.decode_command(wire.encode_command(KVSet(key="k"), actor=one)).actor == one
    assert len(wire._ACTORS) <= 2


def test_a_command_over_the_limit_is_refused_by_the_one_who_sends_it():
    with pytest.raises(EncodeError, match="limit"):
        wire.encode_command(KVSet(key="a", value=b"x" * wire.LIMITS.command_bytes_max))


def test_a_command_with_a_value_of_the_wrong_type_never_becomes_bytes():
    with pytest.raises(EncodeError):
        wire.encode_command(Register(node=Node(name=NodeName("n"), address=1)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        [2, 10, None, []],
        [True, 10, None, []],
        [1, 999, None, []],
        [1, "10", None, []],
        [1, 10, None],
        [1, 10, None, [], 0],
        [1, 10, None, [], None],
        [1, 10, None, [], ["t", "a", "n"], 0],
        [1, 10, ["s"], []],
        [1, 10, 0, []],
    ],
)
def test_a_message_that_is_no_command_is_refused(message):
    with pytest.raises(DecodeError):
        wire.decode_command(msgpack.packb(message))


def test_an_answer_is_read_by_the_type_of_its_query():
    answer = Answer(7, (Node(name=NodeName("n")),))
    assert wire.decode_answer(ListNodes(), wire.encode_answer(ListNodes(), answer)) == answer
    with pytest.raises(DecodeError):
        wire.decode_answer(KVGet("a"), wire.encode_answer(ListNodes(), answer))


@pytest.mark.parametrize("outcome", [Applied(1), Applied(2, True), Applied(3, 9), Rejected(4, "r")])
def test_an_outcome_comes_back_as_it_was(outcome):
    assert wire.decode_outcome(wire.encode_outcome(outcome)) == outcome


@pytest.mark.parametrize("plain", [[1, 1, None], [False, 1, None], [True, -1, None], [True, 1], 3])
def test_what_is_no_outcome_is_refused(plain):
    with pytest.raises(DecodeError):
        wire.outcome_from_plain(plain)


def test_every_command_and_query_is_a_frozen_value():
    for kind in (*commands.REGISTRY.values(), *queries.REGISTRY.values()):
        assert dataclasses.is_dataclass(kind)
        assert kind.__dataclass_params__.frozen, kind
