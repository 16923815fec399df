"""Long answers made in slices are the answers, whatever is written meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftstore.commands import KVDeleteTree, KVSet, Register
from raftstore.queries import HealthService, KVKeys, KVList, ListNodes, Query, ServiceNodes
from raftstore.records import Check, Node, Service
from raftstore.state import StateMachine, listings
from raftstore.state.listings import Moved
from tests.raftstore.state.commands import ALL_QUERIES, catalog_commands, kv_commands
from tests.raftstore.state.test_machine import START, TIGHT, populated

FEW = 5


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is long, every slice is short."""
    monkeypatch.setattr(listings, "AT_ONCE_ROWS", 0)
    monkeypatch.setattr(listings, "SLICE_ROWS", 1)


def finished(steps: listings.Steps) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_gathered_answer_is_the_one_of_its_beginning(tiny, data):
    state = populated(TIGHT)
    queries = [query for query in ALL_QUERIES if state.gather(query) is not None]
    assert {type(query) for query in queries} >= {KVList, KVKeys, HealthService, ListNodes}
    query = data.draw(st.sampled_from(queries))
    answer, steps = state.answer(query), state.gather(query)
    assert steps is not None
    commands = st.one_of(kv_commands(st.none()), catalog_commands)
    index = START
    gathered = None
    while gathered is None:
        try:
            next(steps)
        except StopIteration as end:
            gathered = end.value
        except Moved:
            assert not isinstance(query, KVList)
            assert query not in (KVKeys("", ""), KVKeys("a", ""))
            assert index > START
            return
        for _ in range(data.draw(st.integers(0, 2))):
            state.apply(index, float(index), data.draw(commands))
            index += 1
    assert gathered == answer


def test_without_changes_every_answer_is_the_same(tiny):
    state = populated(TIGHT)
    for query in ALL_QUERIES:
        steps = state.gather(query)
        if steps is not None:
            assert finished(steps) == state.answer(query), query


def test_a_tree_that_is_being_swept_is_not_listed(tiny):
    state = StateMachine()
    for number in range(600):
        state.apply(2 + number, 0.0, KVSet(key=f"t/{number:04}"))
    state.apply(1000, 0.0, KVSet(key="u"))
    state.begin(1001, 0.0, KVDeleteTree(prefix="t/"))
    queries: list[Query[Any]] = [KVList(""), KVKeys("", ""), KVKeys("", "/"), KVList("t/")]
    for query in queries:
        steps = state.gather(query)
        assert steps is not None
        assert finished(steps) == state.answer(query), query


@pytest.mark.parametrize(
    "query",
    [
        KVList("k"),
        KVKeys("k", ""),
        HealthService(service="web"),
        ServiceNodes(service="web"),
        ListNodes(),
    ],
)
def test_short_answers_are_made_at_once(query, monkeypatch):
    monkeypatch.setattr(listings, "AT_ONCE_ROWS", FEW)
    state = StateMachine()
    for number in range(FEW + 1):
        assert state.gather(query) is None
        node = Node(name=f"n{number}", address="10.0.0.1")
        check = Check(node=node.name, id="c", name="c", status="passing")
        service = Service(id="w", name="web")
        state.apply(10 + 2 * number, 0.0, Register(node=node, service=service, checks=(check,)))
        state.apply(11 + 2 * number, 0.0, KVSet(key=f"k{number}"))
    assert state.gather(query) is not None
