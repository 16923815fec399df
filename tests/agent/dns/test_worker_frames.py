"""Frames come back as they were, however the stream is cut; what is none ends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dns.worker_frames import Asked, BrokenFrame, Drop, Frame, Frames, Served, Told, encode

FRAMES = st.one_of(
    st.builds(
        Asked,
        number=st.integers(0, 2**32 - 1),
        client=st.sampled_from(["127.0.0.1", "2001:db8::1%eth0", ""]),
        packet=st.binary(max_size=600),
    ),
    st.builds(
        Told,
        number=st.integers(0, 2**32 - 1),
        keep=st.booleans(),
        replies=st.lists(st.binary(max_size=300), max_size=5).map(tuple),
    ),
    st.builds(Drop, key=st.binary(max_size=100)),
    st.builds(Served, count=st.integers(0, 2**32 - 1)),
)


@given(st.lists(FRAMES, max_size=6), st.integers(1, 50))
def test_frames_come_back_as_they_were(frames: list[Frame], size: int) -> None:
    stream = b"".join(map(encode, frames))
    reader, read = Frames(), list[Frame]()
    for start in range(0, len(stream), size):
        read += reader.feed(stream[start : start + size])
    assert read == frames


@given(st.binary(max_size=60))
def test_what_is_no_frame_is_told(data: bytes) -> None:
    try:
        list(Frames().feed(data))
    except BrokenFrame:
        pass


@pytest.mark.parametrize(
    "data",
    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1X", b"\0\0\0\2Sx", b"\0\0\0\7T\0\0\0\1\0\5"],
)
def test_the_plainly_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenFrame):
        list(Frames().feed(data))
