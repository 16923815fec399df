"""Runs of entries: read as they were written, and nothing that no leader would send."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.errors import DecodeError
from raftstore.raft.entry_runs import entries_of_run, pack_run, read_run
from raftstore.raft.log import NOOP_COMMAND, payload_command

PAYLOADS = st.binary(max_size=20).map(lambda data: payload_command(1.0, data))
FOUND = st.lists(st.tuples(PAYLOADS | st.just(NOOP_COMMAND), st.integers(0, 2)), max_size=30)


def unpacked(run):
    unpacker = msgpack.Unpacker()
    unpacker.feed(run)
    return list(unpacker)


@given(FOUND, st.integers(0, 2**50), st.integers(1, 2**50))
def test_a_run_is_read_as_it_was_written(found, prev_index, prev_term):
    entries, term = [], prev_term
    for command, more in found:
        term += more
        entries.append((command, prev_index + 1 + len(entries), term))
    terms, commands = unpacked(pack_run(entries))
    assert entries_of_run(terms, commands, prev_index + 1) == entries
    read = read_run(terms, commands, prev_index=prev_index, prev_term=prev_term, term=term)
    assert list(read) == entries


@pytest.mark.parametrize(
    ("terms", "commands"),
    [
        (1, [NOOP_COMMAND]),  # below the one before
        (9, [NOOP_COMMAND]),  # newer than the leader
        ([3, 2], [NOOP_COMMAND, NOOP_COMMAND]),
        ([3, 9], [NOOP_COMMAND, NOOP_COMMAND]),
        ([3], [NOOP_COMMAND, NOOP_COMMAND]),
        ([3, 3], [NOOP_COMMAND]),
        ([3.0], [NOOP_COMMAND]),
        (True, [NOOP_COMMAND]),
        (None, []),
        (b"", []),
        (3, None),
        (3, {}),
        (3, ["text"]),
        (3, [b""]),
        (3, [b"\x00short"]),
        (3, [b"\x02foreign"]),
        (3, [b"\x04no configuration"]),
        (3, [[NOOP_COMMAND]]),
    ],
)
def test_what_no_leader_of_this_term_would_send_is_refused(terms, commands):
    with pytest.raises(DecodeError):
        read_run(terms, commands, prev_index=7, prev_term=2, term=8)
