"""How a query is carried out over a real state: which query, which instances, in which order."""

from __future__ import annotations

import random
from typing import Any

import pytest

from agent.queries import (
    Definition,
    Executed,
    QueryNotFound,
    QueryRefused,
    Request,
    ServiceQuery,
    Template,
    execution,
    run,
    run_asking,
    to_content,
)
from raftstore.commands import Command, Register
from raftstore.definition_commands import SetPreparedQuery, UpdateCoordinates
from raftstore.definitions import Coordinate, PreparedQuery
from raftstore.queries import Query
from raftstore.records import Check, Node, Service
from raftstore.state import StateMachine

ID = "0a0a0a0a-0000-4000-8000-00000000000a"
TEMPLATE_ID = "0a0a0a0a-0000-4000-8000-00000000000b"


class Book:
    """A state with five instances of web, and what is asked of it."""

    def __init__(self) -> None:
        self.state = StateMachine()
        states = ["passing", "passing", "warning", "critical", "passing"]
        for number, status in enumerate(states, start=1):
            name = f"N{number}"
            self.write(
                Register(
                    node=Node(
                        name=name, address=f"10.0.0.{number}", meta={"rack": str(number % 2)}
                    ),
                    service=Service(
                        id="web",
                        name="web",
                        tags=("All", f"t{number}"),
                        meta={"v": str(number)},
                        connect_native=number == 1,
                    ),
                    checks=(
                        Check(node=name, id="c", status=status, service_id="web"),
                        Check(node=name, id="serfHealth", status="passing"),
                    ),
                )
            )
            where = {"Vec": [number * 0.1] + [0.0] * 7, "Error": 0.0, "Height": 1e-05}
            if number != 5:
                self.write(UpdateCoordinates((Coordinate(node=name, content=where),)))

    def write(self, command: Command) -> None:
        self.state.apply(self.state.index + 1, 1.0, command)

    def query(self, query_id: str = ID, name: str = "q", **service: Any) -> None:
        given = Definition(
            name=name,
            template=Template(type="name_prefix_match") if name.endswith("-") else Template(),
            service=ServiceQuery(**({"service": "web"} | service)),
        )
        self.write(
            SetPreparedQuery(
                PreparedQuery(
                    id=query_id,
                    name=name,
                    template=name.endswith("-"),
                    content=to_content(given),
                )
            )
        )

    def get(self, query: Query[Any]) -> Any:
        return self.state.answer(query).value

    def execute(self, name: str = "q", *, seed: int = 0, **fields: Any) -> Executed:
        request = Request(name=name, agent="N3", **fields)
        return run(execution(request, random.Random(seed)), self.get)

    def found(self, name: str = "q", **fields: Any) -> list[str]:
        return [entry.node.name for entry in self.execute(name, **fields).nodes]


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [
        ({}, {"N1", "N2", "N3", "N5"}),
        ({"only_passing": True}, {"N1", "N2", "N5"}),
        ({"ignore_check_ids": ("c",)}, {"N1", "N2", "N3", "N4", "N5"}),
        ({"only_passing": True, "ignore_check_ids": ("c",)}, {"N1", "N2", "N3", "N4", "N5"}),
        ({"ignore_check_ids": ("serfHealth",)}, {"N1", "N2", "N3", "N5"}),
        ({"tags": ("all", "T2")}, {"N2"}),
        ({"tags": ("all", "!T2", "!t3")}, {"N1", "N5"}),
        ({"tags": ("none",)}, set()),
        ({"node_meta": {"rack": "1"}}, {"N1", "N3", "N5"}),
        ({"service_meta": {"v": "2"}}, {"N2"}),
        ({"node_meta": {"rack": "1"}, "service_meta": {"v": "2"}}, set()),
        ({"connect": True}, {"N1"}),
        ({"service": "none"}, set()),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_the_instances_are_those_that_are_meant(
    book: Book, wanted: dict[str, Any], nodes: set[str]
) -> None:
    book.query(**wanted)
    found = book.found()
    assert (set(found), len(found)) == (nodes, len(nodes))


def test_the_order_is_another_each_time_unless_a_place_is_given(book: Book) -> None:
    book.query()
    assert len({tuple(book.found(seed=seed)) for seed in range(50)}) > 5
    near = {tuple(book.found(seed=seed, near="N2")) for seed in range(20)}
    # 1 and 3 are equally far away; 5 has no coordinate.
    assert near == {("N2", "N1", "N3", "N5"), ("N2", "N3", "N1", "N5")}
    assert book.execute(near="n2").ordered and not book.execute().ordered


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"near": "_agent"}, "N3"),
        ({"near": "_ip", "source_ip": "10.0.0.2"}, "N2"),
        ({"near": "N1"}, "N1"),
        ({"near": "n5"}, "N5"),
    ],
    ids=["agent", "address", "node", "no coordinate"],
)
def test_the_node_that_is_asked_about_stands_first(
    book: Book, fields: dict[str, str], first: str
) -> None:
    book.query(near="N2")
    assert {book.found(seed=seed, **fields)[0] for seed in range(20)} == {first}
    assert {book.found(seed=seed)[0] for seed in range(20)} == {"N2"}


def test_an_address_that_nobody_has_is_no_place(book: Book) -> None:
    book.query()
    assert not book.execute(near="_ip", source_ip="10.9.9.9").ordered
    assert not book.execute(near="_ip").ordered


def test_no_more_are_given_than_asked_for(book: Book) -> None:
    book.query()
    assert book.found(limit=1, near="N2") == ["N2"]
    assert len(book.found(limit=2)) == 2
    assert len(book.found(limit=0)) == len(book.found(limit=-1)) == 4


def test_mesh_endpoints_are_found_when_the_request_or_the_query_wants_them(book: Book) -> None:
    book.query()
    assert book.found(connect=True) == ["N1"]


def test_a_query_is_found_by_id_by_name_and_by_what_the_name_begins_with(book: Book) -> None:
    book.query()
    book.query(TEMPLATE_ID, "geo-", service="${name.suffix}")
    for name in (ID, ID.upper(), "q", "Q"):
        assert book.execute(name).record.id == ID
    made = book.execute("geo-web")
    assert (made.record.id, made.query.service.service, len(made.nodes)) == (TEMPLATE_ID, "web", 4)
    for name in ("", "other", ID[:-1] + "f"):
        with pytest.raises(QueryNotFound, match="Query not found"):
            book.execute(name)
    with pytest.raises(QueryRefused, match="only be resolved up by name, not by ID"):
        book.execute(TEMPLATE_ID)


async def test_who_has_to_wait_for_answers_finds_the_same(book: Book) -> None:
    book.query(near="N2")

    async def ask(query: Query[Any]) -> Any:
        return book.get(query)

    steps = execution(Request(name="q", agent="N3"), random.Random(4))
    assert await run_asking(steps, ask) == book.execute(seed=4)


def test_what_an_answer_raises_ends_the_steps(book: Book) -> None:
    def get(query: Query[Any]) -> Any:
        raise LookupError(query)

    with pytest.raises(LookupError):
        run(execution(Request(name="q", agent="N3"), random.Random(0)), get)
