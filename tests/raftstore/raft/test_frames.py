"""Frames: both ways, and garbage is always a DecodeError."""

import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.errors import DecodeError
from raftstore.raft import frames
from raftstore.raft.log import NOOP_COMMAND, payload_command
from raftstore.raft.members import Disk, bootstrap_config

numbers = st.integers(0, frames.NUMBER_MAX)
commands = st.one_of(
    st.just(NOOP_COMMAND),
    st.builds(payload_command, st.floats(0, 1e10), st.binary(max_size=40)),
    st.sets(st.text(min_size=1, max_size=9), min_size=1, max_size=4).map(
        lambda names: b"\x04" + bootstrap_config(dict.fromkeys(names, "")).encode()
    ),
)


@st.composite
def appends(draw):
    prev_index = draw(st.integers(0, 2**60))
    terms = sorted(draw(st.lists(numbers, min_size=2, max_size=6)))
    entries = tuple(
        (draw(commands), prev_index + 1 + i, term) for i, term in enumerate(terms[1:-1])
    )
    return frames.Append(
        term=terms[-1],
        seq=draw(numbers),
        prev_index=prev_index,
        prev_term=terms[0],
        commit=draw(numbers),
        entries=entries,
    )


disks = st.builds(Disk, st.text(max_size=64), st.booleans())
messages = st.one_of(
    appends(),
    st.builds(frames.AppendReply, term=numbers, seq=numbers, ok=st.booleans(), index=numbers),
    st.builds(
        frames.VoteRequest,
        term=numbers,
        last_index=numbers,
        last_term=numbers,
        transfer=st.booleans(),
    ),
    st.builds(frames.VoteReply, numbers, st.booleans()),
    st.builds(frames.TimeoutNow, numbers),
    st.builds(frames.Removed, numbers),
    st.builds(
        frames.Returned,
        numbers,
        st.lists(st.text(min_size=1, max_size=9), max_size=5).map(tuple),
    ),
    st.builds(frames.Forgotten, numbers, numbers),
    st.builds(frames.DiskIs, disks),
    st.builds(frames.LeaseProbe, numbers, numbers),
    st.builds(frames.LeaseReply, numbers, numbers),
    st.builds(
        frames.PreVoteRequest, term=numbers, round=numbers, last_index=numbers, last_term=numbers
    ),
    st.builds(frames.PreVoteReply, numbers, numbers, st.booleans()),
    st.builds(frames.Probe, numbers, numbers),
    st.builds(frames.ProbeReply, numbers, numbers),
    st.builds(
        lambda terms, index, size, sha256: frames.SnapshotOffer(
            term=max(terms), index=index, index_term=min(terms), size=size, sha256=sha256
        ),
        st.tuples(numbers, numbers),
        st.integers(1, frames.NUMBER_MAX),
        st.integers(1, frames.NUMBER_MAX),
        st.binary(min_size=32, max_size=32),
    ),
    st.builds(
        frames.SnapshotReply,
        term=numbers,
        transfer=numbers,
        status=st.integers(0, 2),
        offset=numbers,
    ),
    st.builds(
        frames.SnapshotChunk,
        term=numbers,
        transfer=numbers,
        offset=numbers,
        data=st.binary(min_size=1, max_size=80),
    ),
)
hellos = st.builds(
    frames.Hello,
    version=numbers,
    cluster_id=st.text(max_size=50),
    node_id=st.text(min_size=1, max_size=50),
    to_node_id=st.text(min_size=1, max_size=50),
    boot_nonce=numbers,
    disk=disks,
    last_index=numbers,
)


def body(frame):
    assert frames.LENGTH.unpack_from(frame)[0] == len(frame) - 4
    return frame[4:]


@given(messages)
def test_every_message_comes_back_as_it_was(message):
    assert frames.decode(body(frames.encode(message))) == message


@given(hellos)
def test_a_hello_comes_back_as_it_was(hello):
    assert frames.decode_hello(body(frames.encode(hello))) == hello


@given(st.binary(max_size=200))
def test_random_bytes_are_a_decode_error_or_a_message(data):
    for decode in (frames.decode, frames.decode_hello):
        try:
            assert body(frames.encode(decode(data)))
        except DecodeError:
            pass


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.binary(),
        st.text(),
        st.floats(),
    ),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(st.integers(0, 9), st.lists(plain, max_size=8))
def test_arrays_of_anything_are_a_decode_error_or_a_message(kind, fields):
    data = msgpack.packb([kind, *fields])
    for decode in (frames.decode, frames.decode_hello):
        try:
            again = body(frames.encode(decode(data)))
        except DecodeError:
            continue
        assert msgpack.unpackb(again) == [kind, *fields]


@pytest.mark.parametrize(
    "fields",
    [
        [1, 5, 1, 0, 0, 0, [[6, NOOP_COMMAND]]],  # an entry newer than its leader
        [1, 5, 1, 7, 3, 0, [[2, NOOP_COMMAND]]],  # terms that fall along the log
        [1, 5, 1, 0, 6, 0, []],  # a previous entry newer than the leader
        [1, 5, 1, 0, 0, 0, [[1, b"\x02pickle"]]],  # kinds that PySyncObj would unpickle
        [1, 5, 1, 0, 0, 0, [[1, b"\x03pickle"]]],
        [1, 5, 1, 0, 0, 0, [[1, b""]]],
        [1, 5, 1, 0, 0, 0, [[1, b"\x04no configuration"]]],
        [31, 1, [""]],
        [31, 1, ["a"] * 65],
        [31, True, []],
        [2, 5, 1, 1, 3],  # a number for a truth value
        [2, True, 1, True, 3],  # and the other way round
        [2, -1, 1, True, 3],
        [2, 2**63, 1, True, 3],
        [99, 1],
        [[1], 1],
        {},
        [],
    ],
)
def test_wrong_shapes_are_refused(fields):
    with pytest.raises(DecodeError):
        frames.decode(msgpack.packb(fields))


def test_deep_nesting_and_extension_types_are_refused():
    for data in (b"\x91" * 5000 + b"\x01", msgpack.packb([msgpack.ExtType(1, b"x")])):
        with pytest.raises(DecodeError):
            frames.decode(data)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x97\x01\x01\x01\x01\x01\x01\xdd" + struct.pack(">I", 60_000) + b"\x9f" * 60_000,
        b"\xdc\x00\x80" + (b"\xdc\xff\xff" + b"\x90" * 65_535) * 128,  # 8 MiB of empty arrays
        b"\xdc\x00\x80" + (b"\xdc\xff\xff" + b"\xcb01234567" * 65_535) * 12,  # and of floats
    ],
    ids=["nested", "empty arrays", "floats"],
)
def test_a_frame_that_would_blow_up_is_refused_before_it_has(bomb):
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            frames.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_the_largest_honest_append_is_no_bomb():
    entries = tuple((payload_command(1.0, b"x"), 1 + i, 1) for i in range(4096))
    message = frames.Append(term=1, seq=1, prev_index=0, prev_term=0, commit=0, entries=entries)
    assert frames.decode(body(frames.encode(message))) == message
