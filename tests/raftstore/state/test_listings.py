"""Long answers made in slices are the answers, whatever is written meanwhile."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftstore.commands import KVDeleteTree, KVSet, Register
from raftstore.queries import (
    At,
    HealthService,
    KVKeys,
    KVList,
    ListNodes,
    ListServices,
    Query,
    ReadTransaction,
    ServiceNodes,
)
from raftstore.records import Check, Node, Service
from raftstore.state import StateMachine, history, listings, past, transactions
from raftstore.state.listings import Moved
from tests.raftstore.state.commands import ALL_QUERIES, catalog_commands, kv_commands
from tests.raftstore.state.test_machine import START, TIGHT, populated
from tests.strategies import scaled

FEW = 5
#: Queries that may be asked of the past.
PAST = [
    query
    for query in ALL_QUERIES
    if not isinstance(query, past._NOW_ONLY)
    if {name for name, _ in query.footprint()} <= past._TABLES.keys() - {"ca-config", "ca-roots"}
]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is long, every slice is short."""
    monkeypatch.setattr(listings, "AT_ONCE_ROWS", 0)
    monkeypatch.setattr(listings, "SLICE_ROWS", 1)
    monkeypatch.setattr(transactions, "AT_ONCE_RESULTS", 0)
    monkeypatch.setattr(transactions, "SLICE_RESULTS", 1)


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
    long = {KVList, KVKeys, HealthService, ListNodes, ReadTransaction}
    assert {type(query) for query in queries} >= long
    query = data.draw(st.sampled_from(queries))
    steps, answer = state.gather(query), state.answer(query)
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
            assert not isinstance(query, KVList | ReadTransaction)
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


@settings(
    max_examples=scaled(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_the_past_is_told_as_it_was_whatever_is_written_meanwhile(tiny, monkeypatch, data):
    monkeypatch.setattr(past, "_LOADED_AT_ONCE", 1)
    monkeypatch.setattr(history, "_UNDONE_AT_ONCE", 1)
    # Whatever is drawn, what is asked for is still known: to rename a node writes half of TIGHT.
    roomy = replace(TIGHT, history_entries_max=1000, history_bytes_max=1_000_000)
    state = populated(roomy)
    commands = st.one_of(kv_commands(st.none()), catalog_commands)
    index = START
    told = data.draw(st.sampled_from(PAST))
    at, answer = At(index=state.index), state.answer(told)
    for _ in range(data.draw(st.integers(0, 6))):
        state.apply(index, float(index), data.draw(commands))
        index += 1
    meanwhile = data.draw(st.lists(st.tuples(st.integers(0, 30), commands), max_size=3))
    steps = state.gather_at(told, at)
    for number in itertools.count():
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
        except Moved:
            found = state.answer_at(told, at)
            break
        for when, command in meanwhile:
            if when == number:
                state.apply(index, float(index), command)
                index += 1
    assert found == answer


def test_the_past_moves_with_what_the_query_is_about_only(tiny):
    state = populated(TIGHT)
    at, told = At(index=state.index), KVList("")
    steps = state.gather_at(told, at)
    next(steps)
    state.apply(START, 1.0, Register(node=Node(name="other", address="10.9.9.9")))
    assert finished(steps) == state.answer_at(told, at)
    steps = state.gather_at(told, at)
    next(steps)
    state.apply(START + 1, 1.0, KVSet(key="other"))
    with pytest.raises(Moved):
        finished(steps)


def test_a_listing_of_services_is_kept_until_one_comes_or_goes(tiny):
    state = populated(TIGHT)
    query = ListServices()
    steps = state.gather(query)
    assert steps is not None
    gathered = finished(steps)
    assert state.gather(query) is None, "it is at hand"
    assert list(gathered.value.items()) == list(state.lookups.services(()).items())
    again = Register(node=Node(name="n77", address="a"), service=Service(id="w", name="new"))
    state.apply(START, 1.0, again)
    assert state.gather(query) is not None
    assert "new" in state.answer(query).value


def test_services_of_some_nodes_come_in_order(tiny):
    state = StateMachine()
    for number, name in enumerate("cab"):
        node = Node(name=f"n{number}", address="a", meta={"rack": "1"})
        service = Service(id="s", name=name, tags=(f"t{number}", "t"))
        state.apply(2 + number, 1.0, Register(node=node, service=service))
    query = ListServices(node_meta=(("rack", "1"),))
    steps = state.gather(query)
    assert steps is not None
    answer = finished(steps)
    assert answer == state.answer(query)
    assert list(answer.value) == ["a", "b", "c"]


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
