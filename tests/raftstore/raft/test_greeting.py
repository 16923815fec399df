"""The frame that brings a number back: what goes in comes out, anything else is refused."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.errors import DecodeError
from raftstore.raft import greeting
from raftstore.raft.frames import LENGTH, NUMBER_MAX


@given(st.integers(0, NUMBER_MAX))
def test_a_number_comes_back(nonce):
    frame = greeting.encode_confirm(nonce)
    (size,) = LENGTH.unpack(frame[: LENGTH.size])
    assert size == len(frame) - LENGTH.size
    assert greeting.decode_confirm(frame[LENGTH.size :]) == nonce


@pytest.mark.parametrize(
    "items",
    [[], [30], [30, 1, 1], [0, 1], [30, -1], [30, NUMBER_MAX + 1], [30, "1"], [30, True], 30],
)
def test_anything_else_is_refused(items):
    with pytest.raises(DecodeError):
        greeting.decode_confirm(msgpack.packb(items))


@given(st.binary(max_size=64))
def test_bytes_are_a_confirmation_or_refused(body):
    try:
        assert 0 <= greeting.decode_confirm(body) <= NUMBER_MAX
    except DecodeError:
        pass
