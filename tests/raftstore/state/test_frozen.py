"""A table read as it was, while it changes: against a plain copy."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from raftstore.state.frozen import Table

KEYS = st.sampled_from([f"k{n}" for n in range(12)])
CHANGE = st.tuples(st.sampled_from(["set", "delete"]), KEYS)


@given(
    start=st.lists(KEYS, unique=True),
    steps=st.lists(st.lists(CHANGE, max_size=6), max_size=15),
    slice_rows=st.integers(1, 4),
)
def test_a_reader_sees_the_moment_of_its_freeze_whatever_changes_meanwhile(
    start, steps, slice_rows
):
    table = Table()
    for key in start:
        table[key] = (key, 0)
    expected, walk, seen = sorted(table.values()), table.freeze(slice_rows), []
    late, later, late_seen = None, None, []
    for number, changes in enumerate(steps):
        for action, key in changes:
            if action == "set":
                table[key] = (key, number + 1)
            elif key in table:
                del table[key]
        seen += next(walk, [])
        if number == 3:  # a second reader, begun later
            late, later = table.freeze(slice_rows), list(table.values())
        if late is not None:
            late_seen += next(late, [])
    seen += [row for rows in walk for row in rows]
    assert seen == expected
    if late is not None:
        assert late_seen + [row for rows in late for row in rows] == later


def test_slices_are_bounded_but_for_rows_deleted_meanwhile():
    table = Table()
    for number in range(10):
        table[f"{number}"] = number
    assert [len(rows) for rows in table.freeze(4)] == [4, 4, 2]


def test_a_reader_that_is_given_up_costs_nothing_any_more():
    table = Table()
    table["a"] = 1
    unused, begun = table.freeze(1), table.freeze(1)
    next(begun)
    assert len(table._readers) == 2
    del unused, begun
    gc.collect()
    assert not table._readers
