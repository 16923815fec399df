"""Questions about the catalog as a whole: their bytes, and what they tell."""

from __future__ import annotations

import msgpack
import pytest

from raftstore import queries, wire
from raftstore.catalog_queries import CountServices, DumpNode, DumpNodes, ServiceCounts
from raftstore.commands import Deregister, Register
from raftstore.queries import Query
from raftstore.records import Check, Node, Proxy, Service
from raftstore.state import StateMachine

CATALOG = [("nodes", ""), ("services", ""), ("checks", "")]


@pytest.mark.parametrize(
    ("number", "query", "fields", "footprint"),
    [
        (85, DumpNodes(), [], CATALOG),
        (86, DumpNode("N1"), ["N1"], [("node", "n1")]),
        (87, CountServices(), [], [("services", "")]),
    ],
    ids=["nodes", "node", "counts"],
)
def test_the_bytes_and_the_footprint_of_a_query_never_change(
    number: int, query: Query[object], fields: list[object], footprint: list[tuple[str, str]]
) -> None:
    payload = msgpack.packb([1, number, fields])
    assert wire.encode_query(query) == payload
    assert wire.decode_query(payload) == query
    assert queries.REGISTRY[number] is type(query)
    assert list(query.footprint()) == footprint


def test_a_dump_holds_everything_and_counts_follow() -> None:
    state = StateMachine()
    services = [
        Service(id="b", name="web", connect_native=True),
        Service(id="a", name="Web"),
        Service(
            id="p",
            name="web-proxy",
            kind="connect-proxy",
            proxy=Proxy(destination_service_name="web"),
        ),
        Service(id="consul", name="consul"),
    ]
    for index, service in enumerate(services, start=2):
        check = Check(id=f"c-{service.id}", service_id=service.id)
        node = Node(name="N1", address="a")
        state.apply(index, 1.0, Register(node=node, service=service, checks=(check,)))
    dump = state.answer(DumpNode("n1")).value
    assert dump is not None and (dump,) == state.answer(DumpNodes()).value
    assert [service.id for service in dump.services] == ["a", "b", "consul", "p"]
    assert [check.id for check in dump.checks] == ["c-a", "c-b", "c-consul", "c-p"]
    counts = ServiceCounts(3, {"": 3, "connect-proxy": 1}, 1, 1)
    assert state.answer(CountServices()).value == counts
    state.apply(6, 1.0, Deregister(node="N1"))
    assert state.answer(CountServices()).value == ServiceCounts()
    assert state.answer(DumpNode("n1")).value is None
