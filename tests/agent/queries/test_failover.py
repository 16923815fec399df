"""Where a query looks when nothing is at home: whom it tries, whose answer counts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.queries import (
    Datacenters,
    Definition,
    Elsewhere,
    Executed,
    Failover,
    Request,
    ServiceQuery,
    execution,
    run,
    to_content,
    wanted,
)
from agent.queries.definition import Target
from agent.queries.failover import TRIES_MAX
from raftstore.commands import Register
from raftstore.definition_commands import SetPreparedQuery
from raftstore.definitions import PreparedQuery
from raftstore.records import Check, Node, Service
from raftstore.state import StateMachine

KNOWN = ("Home", "a", "b", "c")


@pytest.mark.parametrize(
    ("failover", "tried"),
    [
        (Failover(), []),
        (Failover(nearest_n=2), ["a", "b"]),
        (Failover(nearest_n=9), ["a", "b", "c"]),
        (Failover(datacenters=("c", "unknown", "A", "home")), ["c", "a"]),
        (Failover(nearest_n=1, datacenters=("c", "a")), ["a", "c"]),
        (Failover(nearest_n=-1, datacenters=("b",)), ["b"]),
        (Failover(targets=(Target(peer="p"), Target(datacenter="b"), Target())), ["b"]),
    ],
)
def test_who_is_tried(failover: Failover, tried: list[str]) -> None:
    assert wanted(failover, "home", KNOWN) == tried


NAMES = st.lists(st.text("abAB", max_size=3), max_size=40)


@given(st.integers(-2, 40), NAMES, NAMES, st.text("abAB", max_size=3))
def test_nobody_is_tried_twice_nor_the_home(
    nearest: int, named: list[str], known: list[str], home: str
) -> None:
    failover = Failover(nearest_n=nearest, datacenters=tuple(named))
    tried = wanted(failover, home, known)
    assert len(tried) == len(set(tried)) <= TRIES_MAX
    assert set(tried) <= set(known)
    assert home.lower() not in map(str.lower, tried)


def state(instances: int, tag: str = "v1") -> StateMachine:
    made = StateMachine()
    for number in range(1, instances + 1):
        name = f"n{number}"
        service = Service(id="web", name="web", tags=(tag,))
        check = Check(node=name, id="c", status="passing", service_id="web")
        node = Node(name=name, address=f"10.0.0.{number}")
        made.apply(made.index + 1, 1.0, Register(node=node, service=service, checks=(check,)))
    return made


def executed(others: dict[str, StateMachine | None], *, limit: int = 0) -> Executed:
    """Carried out at home, where nothing is; None stands for one that does not answer."""
    home = state(0)
    query = Definition(
        name="q",
        service=ServiceQuery(
            service="web", tags=("v1",), near="_agent", failover=Failover(nearest_n=3)
        ),
    )
    record = PreparedQuery(
        id="0a0a0a0a-0000-4000-8000-00000000000a", name="q", content=to_content(query)
    )
    home.apply(home.index + 1, 1.0, SetPreparedQuery(record))

    def get(question: Any) -> Any:
        if isinstance(question, Datacenters):
            return KNOWN
        if isinstance(question, Elsewhere):
            assert question.lenient
            there = others[question.datacenter]
            return None if there is None else there.answer(question.query).value
        return home.answer(question).value

    request = Request(name="q", agent="n1", datacenter="home", limit=limit)
    return run(execution(request, random.Random(1)), get)


def test_the_first_with_instances_that_fit_answers() -> None:
    found = executed({"a": None, "b": state(4, tag="v2"), "c": state(4)})
    assert (found.datacenter, found.failovers, len(found.nodes)) == ("c", 3, 4)
    assert not found.ordered
    assert len(executed({"a": state(4)}, limit=2).nodes) == 2


def test_nobody_has_any() -> None:
    found = executed({"a": state(0), "b": None, "c": None})
    assert (found.datacenter, found.failovers, found.nodes) == ("a", 3, ())
