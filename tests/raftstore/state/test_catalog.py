"""The catalog's rules, one by one, and a slow obvious model beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raftstore import queries as q
from raftstore.commands import Applied, Deregister, Register, Rejected
from raftstore.records import Check, Node, Proxy, Service
from raftstore.state import StateMachine
from raftstore.state.registry import connect_name
from tests.raftstore.state.commands import META, NAMES, NODES, SERVICE_IDS, STATES, TAGS

WEB = Service(id="web1", name="web", tags=("v1",))


def node(name: str = "n1", **fields: Any) -> Node:
    return Node(name=name, **{"address": "10.0.0.1", **fields})


class Cluster:
    """A state machine with a running index."""

    def __init__(self) -> None:
        self.state = StateMachine()
        self.index = 1

    def register(self, node: Node, service: Service | None = None, *checks: Check, skip=False):
        self.index += 1
        self.state.touched()
        outcome = self.state.apply(
            self.index,
            0.0,
            Register(node=node, service=service, checks=checks, skip_node_update=skip),
        )
        self.state.check()
        return outcome

    def deregister(self, name: str, **what: Any):
        self.index += 1
        self.state.touched()
        outcome = self.state.apply(self.index, 0.0, Deregister(node=name, **what))
        self.state.check()
        return outcome

    def ask(self, query: q.Query[Any]) -> Any:
        return self.state.answer(query).value

    def index_of(self, query: q.Query[Any]) -> int:
        return self.state.answer(query).index


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_service_is_found_whatever_the_case_of_its_name_and_tags(cluster):
    cluster.register(node(), Service(id="w", name="Web", tags=("V1", "x")))
    for name in ("web", "WEB"):
        found = cluster.ask(q.ServiceNodes(service=name, tags=("v1", "X")))
        assert [(entry.node.name, entry.service.id) for entry in found] == [("n1", "w")]
    assert cluster.ask(q.ServiceNodes(service="web", tags=("v1", "none"))) == ()
    assert cluster.ask(q.ListServices()) == {"Web": ("V1", "x")}


def test_services_are_listed_with_the_union_of_their_tags(cluster):
    cluster.register(node("n1"), WEB)
    cluster.register(node("n2"), Service(id="w2", name="web", tags=("v2", "v1")))
    cluster.register(node("n2", meta={"rack": "r1"}), Service(id="d", name="db"))
    assert cluster.ask(q.ListServices()) == {"db": (), "web": ("v1", "v2")}
    on_rack = cluster.ask(q.ListServices((("rack", "r1"),)))
    assert on_rack == {"db": (), "web": ("v1", "v2")}
    assert cluster.ask(q.ListServices((("rack", "r2"),))) == {}


def test_registering_the_same_again_raises_no_index_and_touches_nothing(cluster):
    registration = (node(meta={"a": "b"}), WEB, Check(id="c", service_id="web1"))
    cluster.register(*registration)
    before = cluster.state.answer(q.HealthService(service="web"))
    assert cluster.register(*registration) == Applied(3)
    assert cluster.state.answer(q.HealthService(service="web")) == before
    assert cluster.state.touched() == frozenset()
    assert [cluster.index_of(query) for query in (q.ListNodes(), q.ListServices())] == [2, 2]


def test_of_two_checks_with_one_id_the_later_holds(cluster):
    twice = (Check(id="c", status="passing"), Check(id="c", status="warning"))
    cluster.register(node(), None, *twice)
    cluster.register(node(), None, *twice)
    (check,) = cluster.ask(q.NodeChecks("n1"))
    assert (check.status, check.modify_index) == ("warning", 2)


def test_a_changed_service_keeps_its_create_index(cluster):
    cluster.register(node(), WEB)
    cluster.register(node(), dataclasses.replace(WEB, port=80))
    service = cluster.ask(q.ServiceNodes(service="web"))[0].service
    assert (service.create_index, service.modify_index) == (2, 3)


def test_health_holds_the_nodes_checks_and_the_instances_own(cluster):
    mine, others = Check(id="m", service_id="web1"), Check(id="o", service_id="db1")
    cluster.register(node(), Service(id="db1", name="db"), others, Check(id="serfHealth"))
    cluster.register(node(), WEB, mine)
    (entry,) = cluster.ask(q.HealthService(service="web"))
    assert [check.id for check in entry.checks] == ["serfHealth", "m"]
    assert [check.id for check in cluster.ask(q.ServiceChecks("web"))] == ["m"]
    assert [check.id for check in cluster.ask(q.NodeChecks("N1"))] == ["m", "o", "serfHealth"]


def test_checks_are_found_by_their_state(cluster):
    cluster.register(node(), None, Check(id="a", status="passing"), Check(id="b", status="odd"))
    assert [check.id for check in cluster.ask(q.ChecksInState("odd"))] == ["b"]
    assert [check.id for check in cluster.ask(q.ChecksInState("any"))] == ["a", "b"]
    cluster.register(node(), None, Check(id="b", status="passing"))
    assert cluster.ask(q.ChecksInState("odd")) == ()
    assert [check.id for check in cluster.ask(q.ChecksInState("passing"))] == ["a", "b"]


def test_a_service_check_copies_the_services_name_and_tags_and_follows_them(cluster):
    cluster.register(node(), WEB, Check(id="c", service_id="web1"))
    (check,) = cluster.ask(q.ServiceChecks("web"))
    assert (check.node, check.service_name, check.service_tags) == ("n1", "web", ("v1",))
    cluster.register(node(), dataclasses.replace(WEB, name="shop", tags=("v2",)))
    (check,) = cluster.ask(q.ServiceChecks("shop"))
    assert (check.service_name, check.service_tags) == ("shop", ("v2",))


def test_a_check_that_changes_its_service_moves_both(cluster):
    cluster.register(node(), WEB, Check(id="c", service_id="web1"))
    cluster.register(node(), Service(id="db1", name="db"))
    cluster.register(node(), None, Check(id="c", service_id="db1"))
    assert {("service", "web"), ("service", "db")} <= cluster.state.touched()
    assert cluster.index_of(q.ServiceChecks("web")) == 4
    assert cluster.ask(q.ServiceChecks("web")) == ()


def test_a_check_of_an_absent_service_is_refused_with_all_that_came_with_it(cluster):
    outcome = cluster.register(node(), WEB, Check(id="c", service_id="db1"))
    assert outcome == Rejected(
        2, 'failed inserting check: Missing service registration on node "n1"'
    )
    assert cluster.ask(q.ListNodes()) == ()
    assert cluster.state.touched() == frozenset()


def test_a_check_for_another_node_is_refused(cluster):
    outcome = cluster.register(node(), None, Check(id="c", node="other"))
    assert outcome == Rejected(2, 'check node "other" does not match node "n1"')
    assert cluster.register(node(), None, Check(id="c", node="N1")) == Applied(3)


@pytest.mark.parametrize(
    ("service", "check", "reason"),
    [
        (Service(id="a", name=""), Check(id="c"), "Must provide service name with ID"),
        (Service(id="", name="a"), Check(id="c"), "Must provide service ID"),
        (None, Check(id=""), "Must provide check ID"),
    ],
)
def test_what_has_no_name_is_refused(cluster, service, check, reason):
    assert cluster.register(node(), service, check) == Rejected(2, reason)
    assert cluster.register(node(""), None) == Rejected(3, "Must provide node")


def test_skipping_the_node_update_keeps_the_stored_node(cluster):
    cluster.register(node(meta={"a": "b"}))
    cluster.register(Node(name="n1"), WEB, skip=True)
    answer = cluster.ask(q.NodeServices("n1"))
    assert (answer.node.address, answer.node.meta) == ("10.0.0.1", {"a": "b"})
    assert [service.id for service in answer.services] == ["web1"]


def test_skipping_the_node_update_makes_a_node_that_is_not_there(cluster):
    """Clients register a node's services before the node, as Consul lets them."""
    assert isinstance(cluster.register(Node(name="n1"), WEB, skip=True), Applied)
    assert cluster.ask(q.NodeServices("n1")).node.address == ""
    cluster.register(node())
    assert cluster.ask(q.NodeServices("n1")).node.address == "10.0.0.1"


def test_removing_a_service_removes_its_checks(cluster):
    cluster.register(node(), WEB, Check(id="c", service_id="web1"), Check(id="serfHealth"))
    assert cluster.deregister("N1", service_id="web1") == Applied(3)
    assert [check.id for check in cluster.ask(q.NodeChecks("n1"))] == ["serfHealth"]
    assert cluster.ask(q.NodeServices("n1")).services == ()


def test_a_service_id_wins_over_a_check_id(cluster):
    cluster.register(node(), WEB, Check(id="serfHealth"))
    cluster.deregister("n1", service_id="web1", check_id="serfHealth")
    assert [check.id for check in cluster.ask(q.NodeChecks("n1"))] == ["serfHealth"]


def test_removing_a_check_leaves_the_rest(cluster):
    cluster.register(node(), WEB, Check(id="c", service_id="web1"))
    cluster.deregister("n1", check_id="c")
    assert cluster.ask(q.NodeChecks("n1")) == ()
    assert len(cluster.ask(q.ServiceNodes(service="web"))) == 1


def test_removing_a_node_removes_all_it_holds(cluster):
    cluster.register(node(id="id-a"), WEB, Check(id="c", service_id="web1"), Check(id="serfHealth"))
    cluster.deregister("n1")
    assert cluster.ask(q.ListNodes()) == cluster.ask(q.ChecksInState("any")) == ()
    assert cluster.ask(q.ListServices()) == {}
    assert cluster.register(node("n2", id="id-a")) == Applied(4)


@pytest.mark.parametrize("what", [{}, {"service_id": "x"}, {"check_id": "x"}])
@pytest.mark.parametrize("name", ["n1", "absent"])
def test_removing_what_is_not_there_changes_nothing(cluster, name, what):
    cluster.register(node())
    if name == "n1" and not what:
        return
    assert cluster.deregister(name, **what) == Applied(3)
    assert cluster.state.touched() == frozenset()


# Names and ids (agent contract 6.3)


def test_the_name_of_a_healthy_node_is_reserved(cluster):
    cluster.register(node(id="id-a"), None, Check(id="serfHealth", status="passing"))
    outcome = cluster.register(node("N1", id="id-b", address="10.0.0.9"))
    assert outcome == Rejected(3, "Node name N1 is reserved by node id-a with name n1 (10.0.0.1)")


@pytest.mark.parametrize("checks", [(), (Check(id="serfHealth", status="critical"),)])
def test_the_name_of_a_dead_or_unwatched_node_may_be_taken_over(cluster, checks):
    cluster.register(node(id="id-a"), WEB, *checks)
    assert cluster.register(node(id="id-b", address="10.0.0.9")) == Applied(3)
    answer = cluster.ask(q.NodeServices("n1"))
    assert (answer.node.id, answer.node.address, len(answer.services)) == ("id-b", "10.0.0.9", 1)
    assert cluster.register(node("n2", id="id-a")) == Applied(4)
    assert len(cluster.ask(q.ListNodes())) == 2


def test_a_node_without_an_id_adopts_one_and_keeps_it(cluster):
    cluster.register(node(), None, Check(id="serfHealth", status="passing"))
    assert cluster.register(node(id="id-a")) == Applied(3)
    cluster.register(node(address="10.0.0.2"))
    (stored,) = cluster.ask(q.ListNodes())
    assert (stored.id, stored.address) == ("id-a", "10.0.0.2")


def test_a_known_id_under_a_new_name_renames_the_node(cluster):
    cluster.register(node("old", id="id-a"), WEB)
    cluster.register(node("new", id="id-a"))
    assert [(n.name, n.create_index) for n in cluster.ask(q.ListNodes())] == [("new", 2)]
    assert cluster.ask(q.NodeServices("old")).node is None
    assert cluster.ask(q.ServiceNodes(service="web")) == ()


def test_a_rename_to_the_name_of_a_healthy_node_is_refused_even_if_that_has_no_id(cluster):
    cluster.register(node("taken"), None, Check(id="serfHealth", status="passing"))
    cluster.register(node("mine", id="id-a"))
    assert isinstance(cluster.register(node("taken", id="id-a")), Rejected)
    assert [n.name for n in cluster.ask(q.ListNodes())] == ["mine", "taken"]


def test_a_new_spelling_of_a_name_reaches_all_that_carries_it(cluster):
    cluster.register(node("n1"), WEB, Check(id="c", service_id="web1"))
    cluster.register(node("N1"))
    (entry,) = cluster.ask(q.HealthService(service="web"))
    assert {entry.node.name, entry.service.node, entry.checks[0].node} == {"N1"}


# Mesh endpoints


def test_mesh_endpoints_are_proxies_for_the_name_and_native_instances(cluster):
    proxy = Service(
        id="p", name="web-proxy", kind="connect-proxy", proxy=Proxy(destination_service_name="Web")
    )
    cluster.register(node(), WEB)
    cluster.register(node(), proxy)
    cluster.register(node(), Service(id="nat", name="web", connect_native=True))
    found = cluster.ask(q.ServiceNodes(service="web", connect=True))
    assert [entry.service.id for entry in found] == ["nat", "p"]
    cluster.register(node(), dataclasses.replace(proxy, proxy=Proxy(destination_service_name="x")))
    found = cluster.ask(q.HealthService(service="web", connect=True))
    assert [entry.service.id for entry in found] == ["nat"]


# Indexes and footprints (http-api contract 1.6)


def test_an_unrelated_registration_leaves_a_services_index_alone(cluster):
    cluster.register(node("n1"), WEB)
    cluster.register(node("n2"), Service(id="d", name="db"), Check(id="c", service_id="d"))
    assert cluster.index_of(q.HealthService(service="web")) == 2
    assert ("service", "web") not in cluster.state.touched()


def test_who_watches_the_names_is_woken_by_names_and_tags_only(cluster):
    names = q.ListServices()
    cluster.register(node(), WEB, Check(id="c", service_id="web1"))
    index = cluster.index_of(names)
    quiet = (
        (node(address="10.9.9.9"),),
        (node(address="10.9.9.9"), dataclasses.replace(WEB, port=81)),
        (node(address="10.9.9.9"), None, Check(id="c", service_id="web1", status="passing")),
        (node("n2"), dataclasses.replace(WEB, id="web2")),
        (node("n2"), dataclasses.replace(WEB, id="web2", tags=())),
    )
    for registration in quiet:
        cluster.register(*registration)
        assert not set(names.footprint()) & cluster.state.touched(), registration
    cluster.deregister("n2")
    assert not set(names.footprint()) & cluster.state.touched()
    assert cluster.index_of(names) == index
    for registration in (
        (node("n2"), dataclasses.replace(WEB, id="web2", tags=("v1", "v2"))),
        (node("n2"), dataclasses.replace(WEB, id="web2", name="Web", tags=())),
        (node("n2"), dataclasses.replace(WEB, id="web2", name="api", tags=())),
    ):
        cluster.register(*registration)
        assert set(names.footprint()) <= cluster.state.touched(), registration
        assert cluster.index_of(names) == cluster.index
    cluster.deregister("n2", service_id="web2")
    assert set(names.footprint()) <= cluster.state.touched()
    assert cluster.ask(names) == {"web": ("v1",)}


@pytest.mark.parametrize(
    "change",
    [
        (node(address="10.9.9.9"), None),
        (node(), None, Check(id="serfHealth", status="passing")),
        (node(), None, Check(id="c", service_id="web1", status="passing")),
        (node(), dataclasses.replace(WEB, tags=())),
    ],
    ids=["node", "node check", "service check", "instance"],
)
def test_a_service_moves_with_its_node_its_checks_and_its_instances(cluster, change):
    cluster.register(node(), WEB, Check(id="c", service_id="web1"))
    cluster.register(*change)
    assert cluster.index_of(q.HealthService(service="web")) == 3
    assert {("service", "web"), ("node", "n1")} <= cluster.state.touched()


def test_a_check_does_not_move_the_list_of_services(cluster):
    cluster.register(node(), WEB)
    cluster.register(node(), None, Check(id="serfHealth"))
    assert cluster.index_of(q.ListServices()) == 2
    assert cluster.index_of(q.ListNodes()) == 2


def test_a_service_that_never_existed_has_the_index_of_all_services(cluster):
    cluster.register(node(), WEB)
    cluster.register(node(), None, Check(id="serfHealth"))
    assert cluster.index_of(q.HealthService(service="never")) == 2


def test_the_last_instance_leaves_with_a_higher_index(cluster):
    cluster.register(node(), WEB)
    cluster.deregister("n1")
    assert cluster.index_of(q.HealthService(service="web")) == 3
    assert ("service", "web") in cluster.state.touched()


class CatalogModel(RuleBasedStateMachine):
    """Nodes without ids in plain dicts: what is registered is what is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.state = StateMachine()
        self.index = 1
        self.nodes: dict[str, Node] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.checks: dict[tuple[str, str], Check] = {}

    def apply(self, command: Register | Deregister) -> Any:
        self.index += 1
        return self.state.apply(self.index, 0.0, command)

    @rule(name=st.sampled_from(NODES), address=st.sampled_from(["a", "b"]), meta=META)
    def put_node(self, name: str, address: str, meta: Any) -> None:
        assert self.apply(Register(node=Node(name=name, address=address, meta=meta)))
        self.nodes[name.lower()] = Node(name=name, address=address, meta=meta)

    @rule(
        where=st.sampled_from(NODES),
        id=st.sampled_from(SERVICE_IDS),
        name=st.sampled_from(NAMES),
        tags=TAGS,
        native=st.booleans(),
    )
    def put_service(self, where: str, id: str, name: str, tags: Any, native: bool) -> None:
        service = Service(id=id, name=name, tags=tags, connect_native=native)
        outcome = self.apply(
            Register(node=Node(name=where), service=service, skip_node_update=True)
        )
        assert isinstance(outcome, Applied)
        self.nodes.setdefault(where.lower(), Node(name=where))
        self.services[(where.lower(), id)] = service

    @rule(
        where=st.sampled_from(NODES),
        id=st.sampled_from(["c1", "c2"]),
        status=st.sampled_from(STATES),
        service_id=st.sampled_from(["", *SERVICE_IDS]),
    )
    def put_check(self, where: str, id: str, status: str, service_id: str) -> None:
        check = Check(id=id, status=status, service_id=service_id)
        outcome = self.apply(
            Register(node=Node(name=where), checks=(check,), skip_node_update=True)
        )
        key = where.lower()
        fits = not service_id or (key, service_id) in self.services
        assert isinstance(outcome, Applied) == fits
        if fits:
            self.nodes.setdefault(key, Node(name=where))
            self.checks[(key, id)] = check

    @rule(where=st.sampled_from(NODES))
    def drop_node(self, where: str) -> None:
        self.apply(Deregister(node=where))
        key = where.lower()
        self.nodes.pop(key, None)
        self.services = {k: v for k, v in self.services.items() if k[0] != key}
        self.checks = {k: v for k, v in self.checks.items() if k[0] != key}

    @rule(where=st.sampled_from(NODES), id=st.sampled_from(SERVICE_IDS))
    def drop_service(self, where: str, id: str) -> None:
        self.apply(Deregister(node=where, service_id=id))
        self.services.pop((where.lower(), id), None)
        self.checks = {
            k: v for k, v in self.checks.items() if (k[0], v.service_id) != (where.lower(), id)
        }

    @rule(where=st.sampled_from(NODES), id=st.sampled_from(["c1", "c2"]))
    def drop_check(self, where: str, id: str) -> None:
        self.apply(Deregister(node=where, check_id=id))
        self.checks.pop((where.lower(), id), None)

    def value(self, query: q.Query[Any]) -> Any:
        return self.state.answer(query).value

    @invariant()
    def nodes_are_as_the_model_says(self) -> None:
        self.state.check()
        found = {n.name.lower(): (n.name, n.address, n.meta) for n in self.value(q.ListNodes())}
        assert found == {k: (n.name, n.address, n.meta) for k, n in self.nodes.items()}

    @invariant()
    def instances_and_their_checks_are_as_the_model_says(self) -> None:
        for name in {n.lower() for n in NAMES}:
            for connect in (False, True):
                found = [
                    (e.node.name.lower(), e.service.id, sorted((c.id, c.status) for c in e.checks))
                    for e in self.value(q.HealthService(service=name, connect=connect))
                ]
                expected = [
                    (key, id, self.expected_checks(key, id))
                    for (key, id), service in sorted(self.services.items())
                    if (connect_name(service) if connect else service.name.lower()) == name
                ]
                assert found == expected

    def expected_checks(self, key: str, service_id: str) -> list[tuple[str, str]]:
        return sorted(
            (check.id, check.status)
            for (where, _), check in self.checks.items()
            if where == key and check.service_id in ("", service_id)
        )

    @invariant()
    def listings_are_as_the_model_says(self) -> None:
        tags: dict[str, set[str]] = {}
        for service in self.services.values():
            tags.setdefault(service.name, set()).update(service.tags)
        assert self.value(q.ListServices()) == {n: tuple(sorted(t)) for n, t in tags.items()}
        for status in STATES:
            found = [(c.node.lower(), c.id) for c in self.value(q.ChecksInState(status))]
            assert found == sorted(k for k, c in self.checks.items() if c.status == status)


CatalogModel.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestCatalogModel = CatalogModel.TestCase
