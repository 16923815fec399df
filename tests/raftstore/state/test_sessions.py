"""What begins a session and what ends it, in the entry that causes it."""

from __future__ import annotations

from typing import Any

import pytest

from raftstore.commands import Applied, Deregister, Register, SessionCreate, SessionDestroy
from raftstore.config import StateLimits
from raftstore.queries import (
    GetSession,
    ListSessions,
    NodeSessions,
    SessionTimers,
    WhySessionEnded,
)
from raftstore.records import Check, CheckId, Node, Service, ServiceCheckRef, Session
from raftstore.state import StateMachine
from tests.raftstore.state.commands import SESSIONS


class Cluster:
    """Two nodes; n1 has a service with a check, and checks of its own."""

    def __init__(self, **limits: int) -> None:
        self.state = StateMachine(StateLimits(**limits))
        self.now = 100.0
        for name in ("n1", "n2"):
            self.register(name, Check(id="serfHealth", status="passing"))
        self.register("n1", Check(id="disk", status="warning"))
        self.register(
            "n1", Check(id="web-up", status="passing", service_id="web"), service="web"
        )  # fmt: skip

    def do(self, command: Any) -> Any:
        outcome = self.state.apply(self.state.index + 1, self.now, command)
        self.state.check()
        return outcome.value if isinstance(outcome, Applied) else outcome.reason

    def register(self, node: str, *checks: Check, service: str = "") -> None:
        instance = Service(id=service, name=service) if service else None
        self.do(Register(node=Node(name=node, address="a"), service=instance, checks=checks))

    def open(self, number: int = 0, node: str = "n1", **fields: Any) -> str:
        """Begin one of the sessions; gives its id, or why it may not begin."""
        return self.do(SessionCreate(Session(id=SESSIONS[number], node=node, **fields)))

    def ask(self, query: Any) -> Any:
        return self.state.answer(query).value

    def lives(self, number: int = 0) -> bool:
        return self.ask(GetSession(SESSIONS[number])) is not None


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


BOUND = {
    "node_checks": (CheckId("serfHealth"), CheckId("disk")),
    "service_checks": (ServiceCheckRef(CheckId("web-up")),),
}


def test_a_session_begins_where_its_node_and_checks_are(cluster):
    assert cluster.open(**BOUND, ttl="10s", ttl_ns=10) == SESSIONS[0]
    session = cluster.ask(GetSession(SESSIONS[0]))
    assert session.create_index == session.modify_index == cluster.state.index
    assert cluster.ask(ListSessions()) == cluster.ask(NodeSessions("N1")) == (session,)
    assert cluster.ask(NodeSessions("n2")) == ()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"node": "no"}, "Missing node registration"),
        ({"node_checks": ("no",)}, "Missing check 'no' registration"),
        ({"checks": ("web-up", "no")}, "Missing check 'no' registration"),
        ({"service_checks": (ServiceCheckRef("no"),)}, "Missing check 'no' registration"),
        ({"node": "n2", "node_checks": ("disk",)}, "Missing check 'disk' registration"),
    ],
)
def test_a_session_needs_its_node_and_checks(cluster, fields, reason):
    assert cluster.open(**fields) == reason
    assert not cluster.lives()


def test_a_session_does_not_begin_beside_a_critical_check(cluster):
    cluster.register("n1", Check(id="disk", status="critical"))
    assert cluster.open(node_checks=("disk",)) == "Check 'disk' is in critical state"


def test_an_id_is_used_once_and_is_a_uuid(cluster):
    cluster.open()
    assert "cannot be used" in cluster.open()
    too_short = cluster.do(SessionCreate(Session(id="short", node="n1")))
    assert too_short == "index error: UUID must be 36 characters"


@pytest.mark.parametrize(
    ("loss", "cause"),
    [
        (Deregister(node="N1"), 'node "n1" was deregistered'),
        (Deregister(node="n1", check_id="disk"), 'check "disk" on node "n1" was deregistered'),
        (Deregister(node="n1", service_id="web"), 'check "web-up" on node "n1" was deregistered'),
        (
            Register(
                node=Node(name="n1", address="a"), checks=(Check(id="disk", status="critical"),)
            ),
            'check "disk" on node "n1" turned critical',
        ),
        (SessionDestroy(SESSIONS[0], "TTL expired"), "TTL expired"),
        (SessionDestroy(SESSIONS[0].upper()), "destroyed by a client"),
    ],
)
def test_a_session_ends_with_what_it_is_bound_to(cluster, loss, cause):
    cluster.open(**BOUND)
    cluster.open(1, node="n2", node_checks=("serfHealth",))
    cluster.state.touched()
    cluster.do(loss)
    assert not cluster.lives()
    assert cluster.lives(1)
    end = cluster.ask(WhySessionEnded(SESSIONS[0]))
    assert (end.cause, end.index, end.at) == (cause, cluster.state.index, 100.0)
    touched = cluster.state.touched()
    assert {("session", SESSIONS[0]), ("session-node", "n1"), ("sessions", "")} <= touched
    assert ("session", SESSIONS[1]) not in touched
    assert ("session-node", "n2") not in touched


def test_what_it_is_not_bound_to_does_not_end_it(cluster):
    cluster.open(node_checks=("serfHealth",))
    cluster.register("n1", Check(id="disk", status="critical"))
    cluster.register("n2", Check(id="serfHealth", status="critical"))
    cluster.do(Deregister(node="n1", service_id="web"))
    cluster.do(Deregister(node="n2"))
    assert cluster.lives()


def test_a_node_that_takes_another_name_ends_its_sessions(cluster):
    node_id = "1d1d1d1d-0000-4000-8000-000000000001"
    cluster.do(Register(node=Node(name="old", id=node_id, address="a")))
    cluster.open(node="old")
    cluster.do(Register(node=Node(name="new", id=node_id, address="a")))
    assert not cluster.lives()


def test_ending_what_is_not_there_is_fine_but_an_id_is_a_uuid(cluster):
    before = cluster.state.answer(ListSessions())
    assert cluster.do(SessionDestroy(SESSIONS[0])) is False
    reason = cluster.do(SessionDestroy("short"))
    assert reason == "failed session lookup: index error: UUID must be 36 characters"
    assert cluster.do(SessionDestroy("z" * 36)) == (
        "failed session lookup: index error: Invalid UUID: encoding/hex: invalid byte: U+007A 'z'"
    )
    assert cluster.state.answer(ListSessions()) == before


def test_indexes_are_per_session_and_per_node(cluster):
    cluster.open(0, node="n1")
    first = cluster.state.index
    cluster.open(1, node="n2")
    second = cluster.state.index
    cluster.do(Register(node=Node(name="n3", address="a")))
    index_of = cluster.state.index_of
    assert index_of(GetSession(SESSIONS[0])) == index_of(NodeSessions("n1")) == first
    assert index_of(GetSession(SESSIONS[1])) == index_of(ListSessions()) == second
    assert index_of(GetSession(SESSIONS[2])) == index_of(NodeSessions("n3")) == second
    cluster.do(SessionDestroy(SESSIONS[0]))
    assert index_of(NodeSessions("n1")) == index_of(GetSession(SESSIONS[0])) == second + 2
    assert index_of(NodeSessions("n2")) == second


def test_timers_are_told_from_an_index_on(cluster):
    cluster.open(0, ttl_ns=10)
    cluster.open(1)
    index = cluster.state.index
    cluster.open(2, ttl_ns=20)
    answer = cluster.ask(SessionTimers())
    assert [timer.id for timer in answer.timers] == [SESSIONS[0], SESSIONS[2]]
    answer = cluster.ask(SessionTimers(after=index))
    assert (answer.count, [timer.ttl_ns for timer in answer.timers]) == (2, [20])
    cluster.do(SessionDestroy(SESSIONS[2]))
    assert cluster.ask(SessionTimers(after=index)).timers == ()


def test_timers_are_told_page_by_page(cluster):
    for number in range(3):
        cluster.open(number, ttl_ns=10)
    told, after = [], 0
    while page := cluster.ask(SessionTimers(after=after, limit=2)).timers:
        assert len(page) <= 2
        told += [timer.id for timer in page]
        after = page[-1].create_index
    assert told == list(SESSIONS[:3])


def test_only_so_many_ends_are_remembered():
    cluster = Cluster(ended_sessions_max=1)
    for number in range(3):
        cluster.open(number)
        cluster.do(SessionDestroy(SESSIONS[number]))
    assert [cluster.ask(WhySessionEnded(s)) is not None for s in SESSIONS[:3]] == [
        False, False, True
    ]  # fmt: skip
