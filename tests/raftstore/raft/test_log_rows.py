"""Rows of the log's table: what is read is what was written, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft import log_rows
from raftstore.raft.log_rows import (
    ROW_BYTES_MAX,
    ROW_ENTRIES_MAX,
    DamagedRow,
    entries_of,
    last_of,
    rows_of,
)

COMMANDS = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 2)), max_size=30)


def log_of(found, first, term):
    entries = []
    for command, more in found:
        term += more
        entries.append((command, first + len(entries), term))
    return entries


@given(COMMANDS, st.integers(1, 2**40), st.integers(0, 2**40))
def test_rows_give_back_their_entries_in_order(found, first, term):
    entries = log_of(found, first, term)
    rows = rows_of(entries)
    assert [entry for row in rows for entry in entries_of(*row)] == entries
    assert [last_of(*row) for row in rows] == [entries_of(*row)[-1][1] for row in rows]


@given(COMMANDS.filter(bool), st.data())
def test_no_changed_row_is_read(found, data):
    key, value = rows_of(log_of(found, 7, 1))[0]
    both = bytearray(key + value)
    at = data.draw(st.integers(0, len(both) - 1))
    both[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DamagedRow):
        entries_of(bytes(both[:8]), bytes(both[8:]))


@given(st.binary(max_size=12), st.binary(max_size=60))
def test_bytes_of_anybody_are_refused_by_one_error(key, value):
    with pytest.raises(DamagedRow):
        entries_of(key, value)


def test_rows_are_bounded_in_entries_and_bytes():
    many = [(b"x", index, 1) for index in range(1, 2 * ROW_ENTRIES_MAX + 2)]
    assert [len(entries_of(*row)) for row in rows_of(many)] == [ROW_ENTRIES_MAX, ROW_ENTRIES_MAX, 1]
    large = [(b"x" * (ROW_BYTES_MAX // 2), index, 1) for index in range(1, 6)]
    assert [len(entries_of(*row)) for row in rows_of(large)] == [2, 2, 1]
    huge = [(b"x" * (3 * ROW_BYTES_MAX), index, 1) for index in (1, 2)]
    assert len(rows_of(huge)) == 2
    assert rows_of([]) == []


def test_a_run_costs_no_more_than_its_commands_and_a_few_bytes():
    entries = [(b"x" * 100, index, 5) for index in range(1, 65)]
    ((_, value),) = rows_of(entries)
    assert len(value) < 64 * 103 + 20
    assert log_rows.ONE.size == 12, "what earlier versions wrote"
