"""Indexes per table, what was touched, and deletions that are remembered for a while."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftstore.state.tables import ACL_TABLES, Indexes, Tombstones


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


def stones_of(count_max: int) -> Tombstones:
    return Tombstones(count_max, Indexes())


def test_a_key_that_exists_again_has_no_tombstone():
    stones = stones_of(10)
    stones.bury("a", 1)
    stones.revive("a")
    stones.revive("never")
    assert (len(stones), "a" in stones) == (0, False)


def test_a_second_deletion_replaces_the_first():
    stones = stones_of(10)
    stones.bury("a", 1)
    stones.bury("a", 5)
    assert list(stones.rows()) == [["a", 5]]


def test_the_oldest_deletions_are_merged_into_the_floor():
    stones = stones_of(2)
    forgotten = [stones.bury(key, index) for index, key in enumerate(("c", "a", "b"), start=1)]
    assert forgotten == [None, None, "c"]
    assert list(stones.rows()) == [["a", 2], ["b", 3]]
    assert stones.floor == 1


def test_deletions_are_taken_back_with_what_they_pushed_out():
    indexes = Indexes()
    undo, stones = indexes.undo, Tombstones(2, indexes)
    for index, key in enumerate(("a", "b", "c"), start=1):
        stones.bury(key, index)
    before = (list(stones.rows()), stones.floor)
    undo.begin()
    stones.bury("d", 4)
    stones.bury("b", 4)
    stones.revive("d")
    undo.rollback()
    assert (list(stones.rows()), stones.floor) == before


def test_what_is_taken_back_was_never_touched():
    indexes = Indexes()
    indexes.touch("kv", "before")
    indexes.undo.begin()
    indexes.raise_to("nodes", 7)
    indexes.touch("kv", "before")
    indexes.touch("kv", "during")
    indexes.undo.rollback()
    assert indexes.drain() == {("kv", "before")}
    assert indexes.of("nodes") == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["note", "load", "all"]),
            st.sampled_from(
                ["acl-tokens", "acl-policies", "acl-roles", "kvs", "acl-binding-rules"]
            ),
        )
    )
)
def test_the_index_of_access_control_is_that_of_its_newest_table(
    steps: list[tuple[str, str]],
) -> None:
    indexes = Indexes()
    for index, (how, table) in enumerate(steps, start=1):
        match how:
            case "note":
                indexes.raise_to(table, index)
            case "load":
                indexes.load(table, index)
            case _:
                indexes.load("acl-roles", index)
                indexes.raise_all(index)
        assert indexes.acl_index == max(map(indexes.of, ACL_TABLES))
