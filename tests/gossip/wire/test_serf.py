"""Serf messages and tags to and from bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import DecodeError
from gossip.wire import serf
from gossip.wire.serf import (
    ConflictMember,
    ConflictResponse,
    EventSlot,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    Query,
    QueryResponse,
    Relay,
    SerfMessage,
    SerfState,
    UserEvent,
)
from tests.strategies import scaled

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
u16 = st.integers(0, 2**16 - 1)
u8 = st.integers(0, 255)
name = st.text(max_size=20)
blob = st.binary(max_size=100)
maybe = st.none() | blob
slots = st.builds(EventSlot, u64, st.lists(st.tuples(name, maybe), max_size=3).map(tuple))
ANY_MESSAGE: st.SearchStrategy[SerfMessage] = st.one_of(
    st.builds(LeaveIntent, u64, name, st.booleans()),
    st.builds(JoinIntent, u64, name),
    st.builds(UserEvent, u64, name, maybe, st.booleans()),
    st.builds(
        SerfState,
        ltime=u64,
        status_ltimes=st.dictionaries(name, u64, max_size=5),
        left_members=st.none() | st.lists(name, max_size=3).map(tuple),
        event_ltime=u64,
        events=st.none() | st.lists(st.none() | slots, max_size=5).map(tuple),
        query_ltime=u64,
    ),
    st.builds(
        Query,
        ltime=u64,
        id=u32,
        address=blob,
        port=u16,
        source_node=name,
        filters=st.none() | st.lists(blob, max_size=3).map(tuple),
        flags=u32,
        relay_factor=u8,
        timeout_ns=st.integers(-(2**63), 2**63 - 1),
        name=name,
        payload=maybe,
    ),
    st.builds(QueryResponse, ltime=u64, id=u32, sender=name, flags=u32, payload=maybe),
    st.builds(KeyRequest, blob),
    st.builds(
        KeyResponse, st.booleans(), name, st.none() | st.lists(name, max_size=3).map(tuple), name
    ),
    st.builds(Relay, address=blob, port=u16, name=name, inner=blob, zone=name),
    st.builds(
        ConflictResponse,
        st.none()
        | st.builds(
            ConflictMember,
            name=name,
            address=blob,
            port=u16,
            tags=st.dictionaries(name, name, max_size=3),
            status=u8,
            protocol_min=u8,
            protocol_max=u8,
            protocol_current=u8,
            delegate_min=u8,
            delegate_max=u8,
            delegate_current=u8,
        ),
    ),
)


@settings(max_examples=scaled(120))
@given(ANY_MESSAGE)
def test_what_was_encoded_is_decoded(message: SerfMessage) -> None:
    assert serf.decode(serf.encode(message)) == message


@settings(max_examples=scaled(500))
@given(st.binary(max_size=200), st.integers(0, 10))
def test_any_message_is_read_or_refused(data: bytes, kind: int) -> None:
    for candidate in (data, bytes((kind,)) + data):
        with contextlib.suppress(DecodeError):
            serf.decode(candidate)


@settings(max_examples=scaled(200))
@given(st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=6))
def test_tags_come_back_and_their_bytes_do_not_depend_on_order(tags: dict[str, str]) -> None:
    meta = serf.encode_tags(tags)
    assert serf.decode_tags(meta) == tags
    assert serf.encode_tags(dict(reversed(tags.items()))) == meta


@given(st.binary(max_size=60))
def test_any_meta_gives_some_tags(meta: bytes) -> None:
    serf.decode_tags(meta)


def test_meta_without_the_magic_byte_is_the_role() -> None:
    assert serf.decode_tags(b"web") == {"role": "web"}
    assert serf.encode_tags({}) == b"\xff\x80"


def test_filters_are_read_and_foreign_ones_refused() -> None:
    assert serf.decode_filter(bytes.fromhex("0092a26631a26632")) == (0, ("f1", "f2"))
    tag = bytes.fromhex("0182a445787072a3772e2aa3546167a4726f6c65")
    assert serf.decode_filter(tag) == (1, ("role", "w.*"))
    for data in (b"", b"\x02\x90", b"\x00\x01", b"\x01\x90"):
        with pytest.raises(DecodeError):
            serf.decode_filter(data)
