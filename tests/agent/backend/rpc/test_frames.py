"""Frames between agents: both directions, and nothing else gets through."""

from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.backend.rpc.frames import (
    Cancel,
    Failure,
    Frame,
    FrameError,
    FrameReader,
    Hello,
    Ping,
    Pong,
    Reply,
    Request,
    decode,
    encode,
)
from tests.strategies import scaled

u64 = st.integers(0, (1 << 64) - 1)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, u64, st.text(max_size=40), st.text(max_size=40)),
    st.builds(Request, u64, st.text(max_size=20), st.floats(0, 86_400), st.binary(max_size=200)),
    st.builds(Reply, u64, st.binary(max_size=200)),
    st.builds(Failure, u64, st.text(max_size=20), st.booleans(), st.text(max_size=200)),
    st.builds(Cancel, u64),
    st.builds(Ping, u64),
    st.builds(Pong, u64),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 40), max_size=30))
@settings(max_examples=scaled(150))
def test_a_stream_gives_back_its_frames_however_it_is_cut(
    frames: list[Frame], cuts: list[int]
) -> None:
    stream = b"".join(encode(frame) for frame in frames)
    reader = FrameReader(1 << 20)
    seen: list[Frame] = []
    position = 0
    for cut in cuts:
        seen += reader.feed(stream[position : position + cut])
        position += cut
    seen += reader.feed(stream[position:])
    assert seen == frames


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_garbage_is_a_frame_error_and_nothing_else(data: bytes) -> None:
    try:
        frame = decode(data)
    except FrameError:
        return
    assert decode(encode(frame)[4:]) == frame


def test_a_frame_over_the_limit_is_refused_before_it_is_held() -> None:
    reader = FrameReader(100)
    with pytest.raises(FrameError, match="over the limit"):
        reader.feed(struct.pack(">I", 101))


def test_fields_appended_by_a_newer_peer_are_ignored() -> None:
    body = msgpack.packb([4, 7, "from the future"])
    assert decode(body) == Cancel(7)


@pytest.mark.parametrize(
    "items",
    [[], [99], [1, 2], ["x"], [1, -1, "m", 1.0, b""], [1, 1, "m" * 65, 1.0, b""], [2, 1, "text"]],
)
def test_a_wrong_shape_is_refused(items: list[object]) -> None:
    with pytest.raises(FrameError):
        decode(msgpack.packb(items))
