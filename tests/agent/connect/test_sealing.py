"""Signing keys at rest."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connect.sealing import KEY_BYTES, NO_KEY, NO_SEAL, NONCE_BYTES, Seal, read_key
from agent.errors import RequestError

MINE, OTHER = Seal(b"m" * KEY_BYTES), Seal(b"o" * KEY_BYTES)
NONCE = b"n" * NONCE_BYTES


@given(st.text(max_size=200))
def test_what_is_sealed_is_opened_by_the_same_key_alone(text):
    kept = MINE.close(text, NONCE)
    assert MINE.open(kept) == text
    assert len(text) < 4 or text not in kept
    for stranger, reason in ((OTHER, f"seal key {MINE.known_as}"), (NO_SEAL, NO_KEY)):
        with pytest.raises(RequestError) as refused:
            stranger.open(kept)
        assert reason in str(refused.value)


def test_what_lies_clear_is_read_by_everybody_and_is_to_be_sealed():
    clear = "-----BEGIN EC PRIVATE KEY-----"
    assert NO_SEAL.close(clear, NONCE) == clear
    assert MINE.open(clear) == NO_SEAL.open(clear) == clear
    assert MINE.wants(clear) and not NO_SEAL.wants(clear)
    assert not MINE.wants(MINE.close(clear, NONCE))
    assert "mmmm" not in repr(MINE)


@given(st.data())
def test_a_changed_letter_is_noticed(data):
    kept = MINE.close("key", NONCE)
    at = data.draw(st.integers(len("sealed:1:12345678:"), len(kept) - 5))
    letter = data.draw(st.sampled_from("abcXYZ019+/"))
    damaged = kept[:at] + letter + kept[at + 1 :]
    if damaged != kept:
        with pytest.raises(RequestError):
            MINE.open(damaged)


def test_a_seal_key_is_32_bytes_in_either_way_of_writing():
    key = bytes(range(KEY_BYTES))
    assert read_key(key.hex() + "\n") == read_key(base64.b64encode(key).decode()) == key
    for wrong in ("", "abc", key.hex()[:-2], "g" * 64, base64.b64encode(key[1:]).decode()):
        with pytest.raises(ValueError, match="32 bytes as base64 or hexadecimal"):
            read_key(wrong)
