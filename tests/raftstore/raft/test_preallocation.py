"""How far a file is filled ahead, and what is never done for it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.raft.preallocation import AHEAD_BYTES, STEP_BYTES, step_from

MIB = 1024 * 1024
sizes = st.integers(0, 64 * MIB)


def step(**given):
    known = {"used": 0, "size": 0, "limit": 2**40, "free": 2**40, "reserve": 64 * MIB}
    return step_from(**{**known, **given})


def test_a_file_that_has_no_room_ahead_gets_a_step():
    assert step(used=8 * MIB, size=8 * MIB) == (8 * MIB, STEP_BYTES)
    assert step(used=8 * MIB, size=8 * MIB + AHEAD_BYTES) is None
    assert step(used=8 * MIB, size=8 * MIB + AHEAD_BYTES - 1) is not None


def test_nothing_is_taken_when_room_is_short():
    assert step(used=8 * MIB, size=8 * MIB, free=129 * MIB) is not None
    assert step(used=8 * MIB, size=8 * MIB, free=129 * MIB - 1) is None


def test_a_little_journal_stays_little():
    assert step(used=100_000, size=100_000) is None


@settings(max_examples=40)
@given(used=sizes, size=sizes, limit=sizes)
def test_zeros_never_cover_what_is_used_nor_go_beyond_the_limit(used, size, limit):
    found = step(used=used, size=size, limit=limit)
    if found is not None:
        begin, count = found
        assert begin >= max(used, size)
        assert 0 < count <= STEP_BYTES
        assert begin + count <= limit
