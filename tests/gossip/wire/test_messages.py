"""Memberlist messages to and from bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import DecodeError
from gossip.wire import messages
from gossip.wire.messages import Ack, Alive, Dead, IndirectPing, Message, Nack, Ping, Suspect, User
from tests.strategies import scaled

u32 = st.integers(0, 2**32 - 1)
u16 = st.integers(0, 2**16 - 1)
name = st.text(max_size=40).filter(lambda s: s.isprintable() or not s)
blob = st.binary(max_size=300)
ANY_MESSAGE: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, seq_no=u32, node=name, source_address=blob, source_port=u16, source_node=name),
    st.builds(
        IndirectPing,
        seq_no=u32,
        node=name,
        target=blob,
        port=u16,
        nack=st.booleans(),
        source_address=blob,
        source_port=u16,
        source_node=name,
    ),
    st.builds(Ack, u32, st.none() | blob),
    st.builds(Nack, u32),
    st.builds(Suspect, u32, name, name),
    st.builds(Dead, u32, name, name),
    st.builds(
        Alive,
        incarnation=u32,
        node=name,
        address=blob,
        port=u16,
        meta=st.none() | blob,
        versions=st.none() | blob,
    ),
    st.builds(User, blob),
)


@settings(max_examples=100)
@given(ANY_MESSAGE)
def test_what_was_encoded_is_decoded(message: Message) -> None:
    assert messages.decode(messages.encode(message)) == message


@settings(max_examples=scaled(500))
@given(st.binary(max_size=200), st.integers(0, 20))
def test_any_message_is_read_or_refused(data: bytes, kind: int) -> None:
    for candidate in (data, bytes((kind,)) + data):
        with contextlib.suppress(DecodeError):
            messages.decode(candidate)


@pytest.mark.parametrize("kind", [6, 7, 9, 10, 12, 13, 14, 99, 244, 255])
def test_a_type_that_is_no_packet_message_is_refused_as_unknown(kind: int) -> None:
    with pytest.raises(DecodeError) as caught:
        messages.decode(bytes((kind, 0x80)))
    assert caught.value.reason == "unknown_type"


def test_source_fields_are_left_out_when_empty() -> None:
    assert messages.encode(Ping(seq_no=1, node="")) == bytes.fromhex(
        "0082a44e6f6465a0a55365714e6f01"
    )


def test_the_newer_bin_and_str8_forms_are_read() -> None:
    str8 = b"\x03\x83\xa4From\xd9\x02n1\xa4Node\xc4\x02n2\xabIncarnation\xd1\x01\x00"
    assert messages.decode(str8) == Suspect(256, "n2", "n1")


def test_deep_nesting_in_a_skipped_field_is_survived() -> None:
    deep = b"\x0b\x82\xa1Z" + b"\x91" * 100_000 + b"\xc0\xa5SeqNo\x07"
    with pytest.raises(DecodeError):
        messages.decode(deep)
