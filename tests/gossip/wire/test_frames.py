"""The envelopes: order, limits, and what is dropped."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.errors import DecodeError
from gossip.keyring import Keyring
from gossip.wire import frames
from gossip.wire.frames import Framing

NACK = bytes.fromhex("0b81a55365714e6f69")
KEY = bytes(range(16))
NONCE = bytes(12)


def framing(**changes: object) -> Framing:
    config = dataclasses.replace(GossipConfig(name="n1"), **changes)  # type: ignore[arg-type]
    return Framing(config, Keyring(config.keys))


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.binary(min_size=1, max_size=80).map(lambda b: b"\x08" + b), min_size=1, max_size=20
    ),
    crc=st.booleans(),
    keys=st.sampled_from([(), (KEY,), (bytes(32), KEY)]),
    version=st.sampled_from([0, 1]),
    label=st.sampled_from(["", "dc1"]),
    minimum=st.sampled_from([0, 512]),
)
def test_what_was_wrapped_comes_back(
    parts: list[bytes], crc: bool, keys: tuple[bytes, ...], version: int, label: str, minimum: int
) -> None:
    both = framing(
        keys=keys, encryption_version=version, label=label, compression_min_bytes=minimum
    )
    assert both.decode_packet(both.encode_packet(parts, crc=crc, nonce=NONCE)) == parts


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=120), first=st.sampled_from([b"", b"\x07", b"\x09", b"\x0c", b"\xf4"])
)
def test_any_packet_is_read_or_refused(data: bytes, first: bytes) -> None:
    for receiver in (framing(), framing(keys=(KEY,)), framing(label="dc1")):
        with contextlib.suppress(DecodeError):
            receiver.decode_packet(first + data)


def test_a_cut_compound_gives_its_complete_leading_messages() -> None:
    whole = frames.make_compound([NACK, NACK, NACK])
    assert framing().decode_packet(whole[:-1]) == [NACK, NACK]


def test_a_compound_with_a_cut_length_table_is_dropped() -> None:
    with pytest.raises(DecodeError):
        framing().decode_packet(b"\x07\x03\x00\x01\x00")


def test_an_empty_compound_does_nothing() -> None:
    assert framing().decode_packet(b"\x07\x00") == []


def test_compound_and_compress_nest_both_ways() -> None:
    inner = frames.compress(frames.make_compound([NACK, frames.compress(NACK)]))
    assert framing().decode_packet(frames.make_compound([inner, NACK])) == [NACK] * 3


def test_nesting_stops_at_its_limit() -> None:
    packet = NACK
    for _ in range(12):
        packet = frames.make_compound([packet])
    with pytest.raises(DecodeError) as caught:
        framing(nesting_max=8).decode_packet(packet)
    assert caught.value.reason == "too_deep"
    assert framing(nesting_max=12).decode_packet(packet) == [NACK]


def test_the_number_of_messages_in_a_packet_is_bounded() -> None:
    inner = frames.make_compound([NACK] * 255)
    with pytest.raises(DecodeError, match="too many"):
        framing(packet_parts_max=1000).decode_packet(frames.make_compound([inner] * 4))


def test_a_wrong_crc_drops_the_packet() -> None:
    good = frames.add_crc(NACK)
    assert framing().decode_packet(good) == [NACK]
    with pytest.raises(DecodeError) as caught:
        framing().decode_packet(good[:-1] + b"\x00")
    assert caught.value.reason == "crc"


def test_a_crc_inside_a_compound_is_not_recognised() -> None:
    part = frames.add_crc(NACK)
    assert framing().decode_packet(frames.make_compound([part, NACK])) == [part, NACK]


def test_compression_is_used_only_where_it_shortens() -> None:
    sender = framing(compression_min_bytes=0)
    assert sender.encode_packet([NACK], crc=False, nonce=b"") == NACK
    long = b"\x08" + b"a" * 600
    assert len(sender.encode_packet([long], crc=False, nonce=b"")) < 100


def test_a_plain_packet_is_refused_by_a_member_with_keys() -> None:
    with pytest.raises(DecodeError) as caught:
        framing(keys=(KEY,)).decode_packet(NACK)
    assert caught.value.reason == "undecryptable"


def test_a_migrating_member_accepts_plain_and_sends_plain() -> None:
    member = framing(keys=(KEY,), encrypt_verify_incoming=False, encrypt_verify_outgoing=False)
    assert member.decode_packet(NACK) == [NACK]
    assert member.encode_packet([NACK], crc=False, nonce=b"") == NACK


def test_a_foreign_label_is_refused_in_both_directions() -> None:
    labelled = framing(label="dc1").encode_packet([NACK], crc=False, nonce=b"")
    for receiver in (framing(), framing(label="dc2")):
        with pytest.raises(DecodeError) as caught:
            receiver.decode_packet(labelled)
        assert caught.value.reason == "label"
    with pytest.raises(DecodeError):
        framing(label="dc1").decode_packet(NACK)
    assert framing(label="dc1").decode_packet(labelled) == [NACK]


def test_the_budget_leaves_room_for_the_envelopes() -> None:
    assert framing().packet_budget_bytes == 1398
    assert framing(keys=(KEY,)).packet_budget_bytes == 1398 - 29
    assert framing(keys=(KEY,), encryption_version=0).packet_budget_bytes == 1398 - 45
    assert framing(label="dc1").packet_budget_bytes == 1398 - 5
