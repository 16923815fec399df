"""Rows of much in parts: nothing is lost, nothing is large, and small ones are as they were."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.commands import KVDeleteTree, KVSet, Register
from raftstore.queries import At, KVList, NodeServices
from raftstore.records import Check, Node, Service
from raftstore.state import StateMachine, parts
from raftstore.state.history import History
from raftstore.state.parts import PART_MAX, change_parts


def crowded(services: int, keys: int) -> StateMachine:
    """A node with that many services and checks, and a tree of that many keys that has gone."""
    state = StateMachine()
    node = Node(name="n", address="10.0.0.1")
    index = 2
    for number in reversed(range(services)):
        service = Service(id=f"s{number:04}", name=f"web{number % 7}")
        check = Check(id=f"c{number:04}", service_id=service.id)
        state.apply(index, 1.0, Register(node=node, service=service, checks=(check,)))
        index += 1
    for number in range(keys):
        state.apply(index, 2.0, KVSet(key=f"t/{number}", value=b"v"))
        index += 1
    state.apply(index, 3.0, KVDeleteTree(prefix="t/"))
    return state


@pytest.mark.parametrize(("services", "keys"), [(0, 0), (PART_MAX, 3), (3 * PART_MAX + 1, 600)])
def test_a_crowded_state_comes_back_the_same_from_rows_of_bounded_size(services, keys):
    state = crowded(services, keys)
    chunks = list(state.snapshot())
    rows = {section: rows for section, rows in chunks if section not in ("nodes", "history")}
    for section, some in chunks:
        rows.setdefault(section, []).extend(some if section in ("nodes", "history") else [])
    assert all(len(held) <= PART_MAX for row in rows.get("nodes", []) for held in row[2:])
    assert all(len(row[4]) <= PART_MAX for row in rows.get("history", []))
    loaded = StateMachine()
    loaded.restore(chunks)
    loaded.check()
    assert list(loaded.snapshot()) == chunks
    assert loaded.answer(NodeServices("n")) == state.answer(NodeServices("n"))
    before = At(index=state.index - 1)
    assert loaded.answer_at(KVList("t/"), before) == state.answer_at(KVList("t/"), before)
    assert loaded.history.weight == state.history.weight


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 3))
def test_changes_in_parts_are_the_changes(sizes, part_max):
    cells = [tuple(("kv", f"k{n}", None, None) for n in range(size)) for size in sizes]
    changes = [(2 + n, 1.0, None, 3, some, 0) for n, some in enumerate(cells)]
    whole, loaded = History(StateMachine()._limits), History(StateMachine()._limits)
    before, parts.PART_MAX = parts.PART_MAX, part_max
    try:
        for index, stamp, actor, number, some, _ in changes:
            whole.add(index, stamp, actor, number, list(some))
            for part in change_parts((index, stamp, actor, number, some, 0)):
                assert len(part[4]) <= part_max
                loaded.load(*part[:4], list(part[4]))
    finally:
        parts.PART_MAX = before
    assert loaded.rows() == whole.rows()
    loaded.check()
