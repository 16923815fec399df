"""Indexes per table, what was touched, and deletions that are remembered for a while."""

from __future__ import annotations

from raftstore.state.tables import Indexes, Tombstones


def test_what_was_touched_is_told_once():
    indexes = Indexes()
    indexes.raise_to("nodes", 5)
    indexes.touch("node", "n1")
    assert indexes.drain() == {("nodes", ""), ("node", "n1")}
    assert indexes.drain() == frozenset()


def test_a_noted_table_has_an_index_but_wakes_nobody():
    indexes = Indexes()
    indexes.note("kv-tree", 4)
    assert (indexes.of("kv-tree"), indexes.of("nodes")) == (4, 0)
    assert indexes.drain() == frozenset()


def test_a_prefix_has_the_highest_of_its_deletions():
    stones = Tombstones(10)
    for key, index in (("a/x", 1), ("a/y", 3), ("b", 9)):
        stones.bury(key, index)
    assert [stones.highest(prefix) for prefix in ("a/", "a/x", "", "c")] == [3, 1, 9, 0]


def test_a_key_that_exists_again_has_no_tombstone():
    stones = Tombstones(10)
    stones.bury("a", 1)
    stones.revive("a")
    stones.revive("never")
    assert (len(stones), stones.highest("a")) == (0, 0)


def test_a_second_deletion_replaces_the_first():
    stones = Tombstones(10)
    stones.bury("a", 1)
    stones.bury("a", 5)
    assert (len(stones), stones.highest("a")) == (1, 5)


def test_the_oldest_deletions_are_merged_into_the_floor():
    stones = Tombstones(2)
    for index, key in enumerate(("c", "a", "b"), start=1):
        stones.bury(key, index)
    assert list(stones.rows()) == [["a", 2], ["b", 3]]
    assert stones.floor == 1
