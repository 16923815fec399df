"""Properties of the wire format over all registered types, and over garbage."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore import commands, queries, records, wire
from raftstore.commands import RequestId
from raftstore.errors import DecodeError
from raftstore.queries import Answer
from raftstore.records import Actor
from tests.strategies import scaled, values_of

few = settings(max_examples=8, deadline=None)  # of each of 160 types
COMMANDS = list(commands.REGISTRY.values())
QUERIES = list(queries.REGISTRY.values())
RECORDS = [
    kind
    for kind in vars(records).values()
    if isinstance(kind, type) and kind.__module__ == records.__name__
]
READERS: list[Any] = [
    wire.decode_command,
    wire.decode_query,
    wire.decode_outcome,
    *[
        lambda data, q=q: wire.decode_answer(q, data)
        for q in (queries.ListNodes(), queries.KVGet("a"))
    ],
]


@few
@given(data=st.data())
@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_every_command_comes_back_as_it_was(kind, data):
    command = data.draw(values_of(kind))
    request = data.draw(st.none() | values_of(RequestId))
    actor = data.draw(st.none() | values_of(Actor))
    payload = wire.encode_command(command, request_id=request, actor=actor)
    assert wire.decode_command(payload) == (command, request, actor)


@few
@given(data=st.data())
@pytest.mark.parametrize("kind", QUERIES, ids=lambda kind: kind.__name__)
def test_every_query_and_its_answer_come_back_as_they_were(kind, data):
    query = data.draw(values_of(kind))
    assert wire.decode_query(wire.encode_query(query)) == query
    answer = Answer(data.draw(st.integers(0, 2**63)), data.draw(values_of(kind.answer_type)))
    assert wire.decode_answer(query, wire.encode_answer(query, answer)) == answer


@few
@given(data=st.data())
@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_as_it_was_and_gives_the_same_bytes_again(kind, data):
    codec = wire.codec_for(kind)
    value = data.draw(values_of(kind))
    raw = codec.encode(value)
    again = codec.decode(raw, bytes_max=len(raw))
    assert again == value
    assert codec.encode(again) == raw


@settings(max_examples=100, deadline=None)
@given(garbage=st.binary(max_size=64))
@pytest.mark.parametrize("read", READERS)
def test_garbage_raises_nothing_but_a_decode_error(read, garbage):
    with contextlib.suppress(DecodeError):
        read(garbage)


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20) | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=20,
)


@settings(max_examples=scaled(40), deadline=None)
@given(number=st.integers(0, 20), parts=st.lists(_plain, max_size=4))
@pytest.mark.parametrize("read", READERS)
def test_well_formed_msgpack_of_the_wrong_shape_raises_nothing_but_a_decode_error(
    read, number, parts
):
    with contextlib.suppress(DecodeError):
        read(msgpack.packb([1, number, *parts]))


@settings(max_examples=scaled(100), deadline=None)
@given(data=st.data())
def test_a_flipped_or_cut_message_raises_nothing_but_a_decode_error(data):
    payload = bytearray(wire.encode_command(data.draw(values_of(commands.Register))))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DecodeError):
        wire.decode_command(bytes(payload[: data.draw(st.integers(0, len(payload)))]))


@pytest.mark.parametrize("inner", [b"\x90", b"\xc0", b"\x80", b"\x81\xa1a\x90", b"\x91" * 400])
def test_what_would_become_too_many_objects_is_refused_in_little_memory(inner: bytes) -> None:
    number = 2**20 // len(inner)
    bombs = [b"\xdd" + struct.pack(">I", number) + inner * number]
    bombs.append(b"\xdc\x00\x20" + (b"\xdc\x7d\x00" + inner * 32_000) * 32)
    for bomb in bombs:
        tracemalloc.start()
        try:
            with pytest.raises(DecodeError):
                wire.check_elements(bomb)
            assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
        finally:
            tracemalloc.stop()


def test_large_honest_messages_have_few_elements() -> None:
    wire.check_elements(wire.encode_command(commands.KVSet(key="k", value=bytes(2**19))))
    wire.check_elements(msgpack.packb([["tag"] * 60_000, {str(n): n for n in range(20_000)}]))
    wire.check_elements(b"no message at all")  # small: left to the decoder
