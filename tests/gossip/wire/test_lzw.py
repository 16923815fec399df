"""The LZW variant against recorded outputs, and against itself."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import DecodeError
from gossip.wire import lzw
from tests.gossip import vectors


def input_of(case: dict[str, Any]) -> bytes:
    if "input_hex" in case:
        return bytes.fromhex(case["input_hex"])
    if "input_generator" not in case:
        return b""
    modulus = int(case["input_generator"].rsplit("mod", 1)[1])
    state, out = 1, bytearray()
    for _ in range(case["input_len"]):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append((state >> 24) % modulus)
    return bytes(out)


@pytest.mark.parametrize("case", vectors.load()["lzw"], ids=lambda c: str(c["name"]))
def test_the_output_equals_the_recorded_one(case: dict[str, Any]) -> None:
    plain = input_of(case)
    assert hashlib.sha256(plain).hexdigest() == case["input_sha256"]
    packed = lzw.compress(plain)
    assert len(packed) == case["output_len"]
    assert hashlib.sha256(packed).hexdigest() == case["output_sha256"]
    assert lzw.decompress(packed, output_bytes_max=len(plain)) == plain


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=3000), st.text("ab", max_size=9000).map(str.encode)))
def test_what_was_compressed_comes_back(plain: bytes) -> None:
    assert lzw.decompress(lzw.compress(plain), output_bytes_max=len(plain)) == plain


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_decompressed_or_refused(data: bytes) -> None:
    try:
        out = lzw.decompress(data, output_bytes_max=10_000)
    except DecodeError:
        return
    assert len(out) <= 10_000


def test_a_zip_bomb_is_refused_at_the_limit() -> None:
    packed = lzw.compress(bytes(1_000_000))
    assert len(packed) < 10_000
    with pytest.raises(DecodeError, match="limit") as caught:
        lzw.decompress(packed, output_bytes_max=999_999)
    assert caught.value.reason == "too_large"


def test_a_stream_without_its_end_is_refused() -> None:
    with pytest.raises(DecodeError, match="end code"):
        lzw.decompress(lzw.compress(b"hello")[:-2], output_bytes_max=100)
