"""Membership becomes catalog, once, and leaves alone what is not the leader's."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.leader.reconcile import ABSENCE_GRACE_S, CatalogView, Plan, plan
from gossip import Member, MemberStatus
from raftstore.commands import Applied, Deregister, Register, Rejected
from raftstore.queries import ChecksInState, ListNodes, ServiceNodes
from raftstore.records import (
    SERF_HEALTH,
    Check,
    CheckId,
    Node,
    NodeId,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
)
from tests.agent.leader.members import member
from tests.agent.local.parts import Catalog
from tests.strategies import scaled

SELF = NodeName("s1")
REAPED = float("-inf")
ALIVE, FAILED, LEFT = MemberStatus.ALIVE, MemberStatus.FAILED, MemberStatus.LEFT


def view(catalog: Catalog) -> CatalogView:
    answer = catalog.machine.answer
    return CatalogView(
        {node.name.lower(): node for node in answer(ListNodes()).value},
        {
            check.node.lower(): check
            for check in answer(ChecksInState("any")).value
            if check.id == SERF_HEALTH
        },
        {
            entry.node.name.lower(): entry.service
            for entry in answer(ServiceNodes(service=ServiceName("consul"))).value
            if entry.service.id == "consul"
        },
    )


def look(catalog: Catalog, *members: Member, absent=None, now: float = 0.0) -> Plan:
    return plan(
        members,
        view(catalog),
        own_name=SELF,
        datacenter="dc1",
        absent_since=absent or {},
        now=now,
    )


def carry_out(catalog: Catalog, planned: Plan) -> None:
    for decision in planned.decisions:
        assert isinstance(catalog.apply(decision.command), Applied)


names = st.sampled_from(["s1", "s2", "c1", "c2", "Hand"])
members = st.lists(
    st.builds(
        member,
        names,
        st.sampled_from(list(MemberStatus)),
        server=st.booleans(),
        id_=st.sampled_from([None, ""]),
        address=st.sampled_from(["10.0.0.1", "10.0.0.2"]),
        dc=st.sampled_from(["dc1", "dc1", "dc2"]),
        role=st.sampled_from(["node", "consul", "stranger"]),
    ),
    unique_by=lambda m: m.name,
)
registrations = st.lists(
    st.builds(
        Register,
        node=st.builds(
            lambda name, known, address: Node(
                name=NodeName(name), id=NodeId(f"id-{name}" if known else ""), address=address
            ),
            names,
            st.booleans(),
            st.sampled_from(["10.0.0.1", "10.0.0.9"]),
        ),
        service=st.none()
        | st.builds(
            Service,
            id=st.sampled_from([ServiceId("consul"), ServiceId("web")]),
            name=st.sampled_from([ServiceName("consul"), ServiceName("web")]),
            port=st.sampled_from([8300, 1]),
        ),
        checks=st.just(())
        | st.builds(
            lambda status: (Check(id=SERF_HEALTH, status=status),),
            st.sampled_from(["passing", "critical"]),
        ),
    ),
    max_size=6,
)


@settings(max_examples=scaled(200), deadline=None)
@given(members, registrations, st.booleans())
def test_the_plan_converges_and_spares_what_is_not_ours(found, stored, patient) -> None:
    catalog = Catalog()
    for registration in stored:
        catalog.apply(registration)
    by_hand = view(catalog).nodes.keys() - view(catalog).serf_health.keys()
    known = {one.name.lower() for one in found}
    own_before = SELF in view(catalog).nodes
    absent = dict.fromkeys(view(catalog).nodes, REAPED if patient else 0.0)
    carry_out(catalog, look(catalog, *found, absent=absent))
    again = look(catalog, *found, absent=absent)
    assert again.decisions == ()
    after = view(catalog)
    assert by_hand - known <= after.nodes.keys(), "a node registered by hand was removed"
    assert not own_before or SELF in after.nodes, "the leader removed itself"
    for one in found:
        health = after.serf_health.get(one.name.lower())
        if one.tags["role"] == "stranger" or one.tags["dc"] != "dc1":
            continue
        if one.status is ALIVE:
            assert health is not None and health.status == "passing"
        node = after.nodes.get(one.name.lower())
        by_stranger = one.name.lower() in by_hand and node and node.id != one.tags["id"]
        if one.status is FAILED and node is not None and not by_stranger:
            assert health is not None and health.status == "critical"


def test_the_living_are_registered_in_the_known_words() -> None:
    catalog = Catalog()
    carry_out(catalog, look(catalog, member("s2", server=True), member("c1")))
    for name in ("s2", "c1"):
        check = catalog.checks(name)[SERF_HEALTH]
        assert (check.name, check.status) == ("Serf Health Status", "passing")
        assert check.output == "Agent alive and reachable"
        assert catalog.node(name).id == f"id-{name}"
    assert catalog.services("c1") == {}
    service = catalog.services("s2")["consul"]
    assert (service.name, service.port) == ("consul", 8300)
    assert service.meta == {
        "version": "1.10.11",
        "raft_version": "3",
        "serf_protocol_current": "2",
        "serf_protocol_min": "1",
        "serf_protocol_max": "5",
        "read_replica": "false",
        "non_voter": "false",
    }


def test_what_the_agent_wrote_of_itself_is_kept() -> None:
    catalog = Catalog()
    planned = look(catalog, member("c1"))  # planned before the agent wrote, carried out after
    own = Node(
        name=NodeName("c1"),
        id=NodeId("id-c1"),
        address="10.0.0.1",
        meta={"k": "v"},
        tagged_addresses={"lan": "10.0.0.1"},
    )
    catalog.register(Register(node=own))
    carry_out(catalog, planned)
    assert catalog.node("c1").meta == {"k": "v"}
    carry_out(catalog, look(catalog, member("c1", address="10.0.0.7")))
    moved = catalog.node("c1")
    assert (moved.address, moved.meta) == ("10.0.0.7", {"k": "v"})


def test_the_failed_turn_critical_but_are_not_made() -> None:
    catalog = Catalog()
    assert look(catalog, member("c1", FAILED)).decisions == ()
    carry_out(catalog, look(catalog, member("c1")))
    carry_out(catalog, look(catalog, member("c1", FAILED)))
    check = catalog.checks("c1")[SERF_HEALTH]
    assert (check.status, check.output) == ("critical", "Agent not live or unreachable")
    carry_out(catalog, look(catalog, member("c1")))
    assert catalog.checks("c1")[SERF_HEALTH].status == "passing"


def test_those_who_left_are_removed_with_all_they_had() -> None:
    catalog = Catalog()
    carry_out(catalog, look(catalog, member("c1")))
    web = Service(id=ServiceId("web"), name=ServiceName("web"))
    catalog.register(Register(node=catalog.node("c1"), service=web))
    carry_out(catalog, look(catalog, member("c1", LEFT)))
    assert catalog.node("c1") is None


def test_the_leader_never_removes_itself() -> None:
    catalog = Catalog()
    carry_out(catalog, look(catalog, member("s1", server=True)))
    assert look(catalog, member("s1", LEFT, server=True)).decisions == ()
    assert look(catalog, absent={"s1": REAPED}) == Plan((), frozenset())


def test_a_name_that_left_and_was_registered_by_hand_is_not_ours() -> None:
    catalog = Catalog()
    catalog.register(Register(node=Node(name=NodeName("c1"), address="10.9.9.9")))
    assert look(catalog, member("c1", LEFT)).decisions == ()
    # Its own late write, without a serfHealth yet, is.
    own = Node(name=NodeName("c1"), id=NodeId("id-c1"), address="10.0.0.1")
    catalog.register(Register(node=own))
    (decision,) = look(catalog, member("c1", LEFT)).decisions
    assert decision.command == Deregister(node=NodeName("c1"))


def test_a_node_without_a_member_gets_time_to_come_back() -> None:
    catalog = Catalog()
    carry_out(catalog, look(catalog, member("c1")))
    assert look(catalog) == Plan((), frozenset({"c1"}))
    since = {"c1": 100.0}
    early = look(catalog, absent=since, now=100.0 + ABSENCE_GRACE_S - 1)
    assert early == Plan((), frozenset({"c1"}))
    (decision,) = look(catalog, absent=since, now=100.0 + ABSENCE_GRACE_S).decisions
    assert decision.command == Deregister(node=NodeName("c1")) and "reaped" in decision.cause
    assert look(catalog, absent={"c1": REAPED}).decisions == (decision,)


def test_other_checks_and_members_of_other_kinds_do_not_matter() -> None:
    catalog = Catalog()
    hand = Node(name=NodeName("hand"), address="1.1.1.1")
    catalog.register(Register(node=hand, checks=(Check(id=CheckId("x"), status="passing"),)))
    stranger = member("x", role="stranger")
    elsewhere = member("y", dc="dc2")
    assert look(catalog, stranger, elsewhere) == Plan((), frozenset())


def test_a_renamed_agent_keeps_its_new_name_in_whatever_order_gossip_lists_both() -> None:
    for order in ((0, 1), (1, 0)):
        catalog = Catalog()
        carry_out(catalog, look(catalog, member("c1")))
        both = [member("c1", FAILED), member("c2", id_="id-c1")]
        carry_out(catalog, look(catalog, *(both[at] for at in order)))
        assert catalog.node("c1") is None
        assert catalog.node("c2").id == "id-c1"
        assert catalog.checks("c2")[SERF_HEALTH].status == "passing"
        assert look(catalog, *both).decisions == ()


def test_a_name_with_a_new_bearer_is_taken_though_nobody_saw_the_former_one_fail() -> None:
    catalog = Catalog()
    carry_out(catalog, look(catalog, member("c1")))  # and then nobody leads for a while
    heir = member("c1", id_="id-heir", address="10.0.0.9")
    planned = look(catalog, heir)
    assert [d.cause for d in planned.decisions] == [
        "its name is borne by node ID id-heir now",
        "member is alive",
    ]
    carry_out(catalog, planned)
    assert (catalog.node("c1").id, catalog.node("c1").address) == ("id-heir", "10.0.0.9")
    assert catalog.checks("c1")[SERF_HEALTH].status == "passing"
    assert look(catalog, heir).decisions == ()


def test_two_live_members_that_differ_in_case_only_do_not_take_turns() -> None:
    catalog = Catalog()
    carry_out(catalog, look(catalog, member("Web", id_="id-1")))
    pair = (member("Web", id_="id-1"), member("web", id_="id-2"))
    (refused,) = look(catalog, *pair).decisions
    assert isinstance(catalog.apply(refused.command), Rejected)
    assert catalog.node("web").id == "id-1"


def test_a_failed_name_that_somebody_registered_by_hand_is_not_ours() -> None:
    catalog = Catalog()
    catalog.register(Register(node=Node(name=NodeName("c1"), address="10.9.9.9")))
    assert look(catalog, member("c1", FAILED)).decisions == ()


def test_an_agent_that_lives_under_two_names_for_a_while_does_not_take_turns() -> None:
    both = (member("c1"), member("c2", id_="id-c1"))
    for first in both:
        catalog = Catalog()
        carry_out(catalog, look(catalog, first))
        assert look(catalog, *both).decisions == ()
        assert catalog.node(first.name).id == "id-c1"
