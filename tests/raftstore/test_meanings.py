"""What payloads mean: known or read, it is the same."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raftstore import wire
from raftstore.commands import KVDelete, KVDeleteTree, KVSet, Register, RequestId
from raftstore.errors import CorruptState
from raftstore.meanings import Meanings
from raftstore.records import Actor, Node, NodeName
from tests.raftstore.instant import instant_store

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
NUMBER = st.integers(0, 2**64 - 1)
FLAT = st.one_of(
    st.builds(KVSet, key=TEXT, value=st.binary(max_size=9), flags=NUMBER, cas=st.none() | NUMBER),
    st.builds(KVDelete, key=TEXT, cas=st.none() | NUMBER),
    st.builds(KVDeleteTree, prefix=TEXT),
)


@example(KVDelete(key="k"), None, Actor("", "", ""))
@example(KVDelete(key="k"), None, Actor("a", "", ""))
@settings(max_examples=50)
@given(
    FLAT,
    st.none() | st.builds(RequestId, TEXT, NUMBER, NUMBER),
    st.none() | st.builds(Actor, TEXT, TEXT, TEXT),
)
def test_the_meaning_of_a_command_is_what_reading_its_bytes_gives(command, request, actor):
    payload = wire.encode_command(command, request_id=request, actor=actor)
    means, read = wire.meaning_of(command, request, actor), wire.decode_command(payload)
    assert means == read
    assert means.actor is read.actor  # one value for all changes of an actor


def test_where_reading_may_give_another_value_there_is_no_meaning():
    node = Node(name=NodeName("n"), address="1", meta={"b": "1", "a": "2"})
    assert wire.meaning_of(Register(node=node), None, None) is None


def test_a_meaning_is_given_once_and_anything_else_is_read():
    payload = wire.encode_command(KVSet(key="k"))
    means = wire.meaning_of(KVSet(key="k"), None, None)
    meanings = Meanings()
    meanings.expect(payload, means)
    assert meanings.take(7, bytes(bytearray(payload))) is means  # other bytes that are equal
    again = meanings.take(8, payload)
    assert again == means
    assert again is not means
    with pytest.raises(CorruptState, match="entry 9 of the log"):
        meanings.take(9, b"?")


def test_what_failed_is_forgotten():
    meanings = Meanings()
    meanings.expect(b"p", wire.meaning_of(KVSet(key="k"), None, None))
    meanings.forget(b"p", None)
    meanings.forget(b"p", None)
    assert len(meanings) == 0


async def test_a_store_keeps_no_meaning_of_what_it_has_applied_or_refused(monkeypatch):
    store, log = await instant_store()
    command = KVSet(key="k", value=b"v")
    payload, means = wire.encode_command(command), wire.meaning_of(command, None, None)
    told = []
    store.propose_soon(payload, timeout_s=1, done=told.append, means=means)
    assert store.state.kv.get("k").value == b"v"

    def refuse(*_, **__):
        raise CorruptState("no")

    monkeypatch.setattr(log, "propose_soon", refuse)
    store.propose_soon(payload, timeout_s=1, done=told.append, means=means)
    assert [type(one).__name__ for one in told] == ["Applied", "CorruptState"]
    assert len(store._meanings) == 0
