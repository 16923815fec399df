"""A table read as it was, while it changes: against a plain copy."""

from __future__ import annotations

import gc

import pytest
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


@given(
    changes=st.lists(st.tuples(st.sampled_from(["set", "delete", "pop"]), KEYS), max_size=40),
    low=KEYS,
    high=KEYS,
)
def test_a_table_is_a_sorted_mapping(changes, low, high):
    table, model = Table(), {}
    for number, (action, key) in enumerate(changes):
        if action == "set":
            table[key] = model[key] = number
        elif action == "pop" and model:
            last = max(model)
            assert table.popitem() == (last, model.pop(last))
        elif key in model:
            del table[key], model[key]
        assert (key in table, table.get(key)) == (key in model, model.get(key))
    assert list(table.items()) == sorted(model.items())
    assert len(table) == len(model)
    assert list(table.irange(low, high)) == [k for k in sorted(model) if low <= k <= high]
    assert list(table.irange(low, inclusive=(False, True))) == [k for k in sorted(model) if k > low]


def test_what_is_not_there_is_a_key_error():
    table = Table()
    with pytest.raises(KeyError):
        table["a"]
    with pytest.raises(KeyError):
        del table["a"]


def test_no_dict_of_a_large_table_is_large():
    table = Table()
    for number in range(100_000):
        table[f"key/{number}"] = number
    sizes = [len(shard) for shard in table._shards]
    assert sum(sizes) == 100_000
    assert max(sizes) < 1000
