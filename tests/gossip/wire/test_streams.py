"""Reading one message from a stream: completeness, limits, and refusals."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.errors import DecodeError
from gossip.keyring import Keyring
from gossip.wire import frames, messages
from gossip.wire.fields import pack
from gossip.wire.frames import Framing, encode_stream
from gossip.wire.messages import Ack, NodeState, PushPull, State, User
from gossip.wire.streams import StreamReader
from tests.strategies import scaled

KEY = bytes(range(32))
NODE = NodeState(
    incarnation=1,
    name="n1",
    address=bytes((127, 0, 0, 1)),
    port=7946,
    meta=b"\xff\x80",
    versions=bytes((1, 5, 2, 2, 5, 5)),
    state=State.ALIVE,
)


def framing(**changes: object) -> Framing:
    config = dataclasses.replace(GossipConfig(name="n1"), **changes)  # type: ignore[arg-type]
    return Framing(config, Keyring(config.keys))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 40),
    state=st.binary(max_size=700),
    cuts=st.lists(st.integers(1, 4000), max_size=8),
    keys=st.sampled_from([(), (KEY,)]),
    minimum=st.sampled_from([0, 1 << 30]),
)
def test_a_push_pull_is_complete_exactly_at_its_last_byte(
    count: int, state: bytes, cuts: list[int], keys: tuple[bytes, ...], minimum: int
) -> None:
    both = framing(keys=keys, compression_min_bytes=minimum)
    sent = PushPull(True, (NODE,) * count, state)
    data = encode_stream(both, messages.encode_push_pull(sent), nonce=bytes(12))
    reader = StreamReader(both)
    edges = sorted({cut for cut in cuts if cut < len(data)} | {0, len(data) - 1, len(data)})
    answers = [reader.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
    assert answers[:-1] == [None] * (len(answers) - 1)
    assert answers[-1] == sent


@settings(max_examples=scaled(300), deadline=None)
@given(
    data=st.binary(max_size=200), first=st.sampled_from([b"", b"\x06", b"\x09", b"\x0a", b"\x08"])
)
def test_any_stream_is_read_or_refused(data: bytes, first: bytes) -> None:
    for receiver in (framing(), framing(keys=(KEY,))):
        with contextlib.suppress(DecodeError):
            StreamReader(receiver).feed(first + data)


def test_one_odd_record_does_not_hide_the_others() -> None:
    good = messages.encode_push_pull(PushPull(False, (NODE,), b""))
    odd = pack({"Name": b"\xff\xfe", "State": 0})
    header = pack({"Join": False, "Nodes": 2, "UserStateLen": 0})
    old = pack({"Join": False, "Nodes": 1, "UserStateLen": 0})
    data = good.replace(old, header + odd)
    reader = StreamReader(framing())
    assert reader.feed(data) == PushPull(False, (NODE,), b"")
    assert reader.skipped_nodes == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x06" + pack({"Nodes": 1 << 21}), "too_large"),
        (b"\x06" + pack({"Nodes": 0, "UserStateLen": 1 << 30}), "too_large"),
        (b"\x08" + pack({"UserMsgLen": 1 << 30}), "too_large"),
        (b"\x63", "unknown_type"),
        (b"\x09" + pack({"Algo": 0, "Buf": frames.compress(b"\x00\x80")[1:]}), "compress"),
        (b"\x09" + pack({"Algo": 7, "Buf": b""}), "compress"),
    ],
)
def test_a_stream_that_breaks_a_limit_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        StreamReader(framing()).feed(data)
    assert caught.value.reason == reason


def test_a_stream_is_compressed_once_at_most() -> None:
    ack = messages.encode(Ack(7))
    once = frames.compress(ack)
    assert StreamReader(framing()).feed(once) == Ack(7)
    with pytest.raises(DecodeError, match="twice"):
        StreamReader(framing()).feed(frames.compress(once))


def test_an_oversized_encrypted_frame_is_refused_by_its_header() -> None:
    with pytest.raises(DecodeError) as caught:
        StreamReader(framing(keys=(KEY,))).feed(b"\x0a\xff\xff\xff\xff")
    assert caught.value.reason == "too_large"


def test_encryption_must_be_on_both_sides_or_none() -> None:
    sealed = encode_stream(framing(keys=(KEY,)), messages.encode(Ack(7)), nonce=bytes(12))
    with pytest.raises(DecodeError, match="Remote state is encrypted and encryption is not"):
        StreamReader(framing()).feed(sealed)
    with pytest.raises(DecodeError, match="Encryption is configured but remote state is not"):
        StreamReader(framing(keys=(KEY,))).feed(messages.encode(Ack(7)))
    with pytest.raises(DecodeError) as caught:
        StreamReader(framing(keys=(bytes(32),))).feed(sealed)
    assert caught.value.reason == "undecryptable"


def test_a_user_message_comes_with_its_length() -> None:
    reader = StreamReader(framing())
    data = messages.encode_user_stream(b"payload")
    assert reader.feed(data[:-1]) is None
    assert reader.feed(data[-1:]) == User(b"payload")
