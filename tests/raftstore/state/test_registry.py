"""The rows keep their count: who is listed where, and what moves with what."""

from __future__ import annotations

import pytest

from raftstore.records import Check, Node, Proxy, Service
from raftstore.state.registry import Registry, connect_name, union_of_tags
from raftstore.state.tables import Indexes


@pytest.fixture
def indexes() -> Indexes:
    return Indexes()


@pytest.fixture
def registry(indexes: Indexes) -> Registry:
    return Registry(indexes)


def web(id: str, *tags: str, name: str = "web", **more) -> Service:
    return Service(node="n", id=id, name=name, tags=tags, **more)


@pytest.mark.parametrize(
    ("service", "endpoint"),
    [
        (web("a"), ""),
        (web("a", name="Web", connect_native=True), "web"),
        (web("a", kind="connect-proxy", proxy=Proxy(destination_service_name="DB")), "db"),
        (web("a", kind="mesh-gateway", proxy=Proxy(destination_service_name="DB")), ""),
    ],
)
def test_a_mesh_endpoint_is_a_proxy_or_a_native_instance(service, endpoint):
    assert connect_name(service) == endpoint


def test_tags_are_united_per_spelling_of_the_name():
    services = [web("a", "x", "y"), web("b", "y", "z"), web("c", "q", name="Web")]
    assert union_of_tags(services) == {"Web": ("q",), "web": ("x", "y", "z")}


def test_a_name_without_instances_has_no_row(registry):
    row = registry.put_node(2, Node(name="n"))
    registry.put_service(3, row, web("a", connect_native=True))
    registry.put_service(4, row, web("a", name="db"))
    assert list(registry.names) == ["db"]
    assert registry.connect == {}
    registry.remove_service(5, row, "a")
    assert list(registry.names) == []
    registry.check()


def test_instances_are_ordered_by_node_and_id_whatever_came_first(registry):
    for index, (node, id) in enumerate((("m", "b"), ("k", "z"), ("m", "a")), start=2):
        row = registry.put_node(index, Node(name=node))
        registry.put_service(index, row, Service(node=node, id=id, name="web"))
    assert [key for key, _ in registry.names["web"].ordered()] == [
        ("k", "z"),
        ("m", "a"),
        ("m", "b"),
    ]


def test_a_check_touches_its_own_service_and_no_other(registry, indexes):
    row = registry.put_node(2, Node(name="n"))
    registry.put_service(3, row, web("a"))
    registry.put_service(4, row, web("b", name="db"))
    indexes.drain()
    registry.put_check(5, row, Check(node="n", id="c", service_id="a"))
    assert indexes.drain() == {("checks", ""), ("node", "n"), ("service", "web")}
    assert (registry.names["web"].index, registry.names["db"].index, row.index) == (5, 4, 5)


def test_a_nodes_check_touches_all_its_services_and_their_endpoints(registry, indexes):
    row = registry.put_node(2, Node(name="n"))
    registry.put_service(3, row, web("a", connect_native=True))
    registry.put_service(4, row, web("b", name="db"))
    indexes.drain()
    registry.put_check(5, row, Check(node="n", id="c"))
    touched = {("service", "web"), ("service", "db"), ("connect", "web")}
    assert touched <= indexes.drain()


def test_a_broken_count_is_noticed(registry):
    row = registry.put_node(2, Node(name="n"))
    registry.put_service(3, row, web("a"))
    registry.names["web"].instances.clear()
    with pytest.raises((AssertionError, KeyError)):
        registry.check()
