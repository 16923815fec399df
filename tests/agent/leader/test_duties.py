"""Duties are done while leading, at once, again on errors, and not after."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from agent.errors import NoClusterLeader
from agent.leader import duties as module
from agent.leader.duties import LeaderDuties
from agent.leader.reconcile import ABSENCE_GRACE_S
from gossip import MemberEventKind, MemberStatus
from raftstore.commands import Register
from raftstore.errors import LeadershipLost
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
from tests.agent.leader.members import event, member
from tests.agent.local.parts import Catalog, until


class Term:
    """Duties over a real catalog and a list of members."""

    def __init__(self, **extra) -> None:
        self.catalog = Catalog()
        self.members = {"s1": member("s1", server=True)}
        self.skew = 0.0
        self.duties = LeaderDuties(
            self.catalog,
            members=lambda: list(self.members.values()),
            own_name=NodeName("s1"),
            datacenter="dc1",
            extra=extra,
            clock=lambda: time.monotonic() + self.skew,
            rng=random.Random(1),
        )

    def change(self, *args, **fields) -> None:
        changed = member(*args, **fields)
        self.members[changed.name] = changed
        self.duties.member_changed(event(changed))

    def health(self, name: str) -> str:
        check = self.catalog.checks(name).get(SERF_HEALTH)
        return check.status if check else ""

    def later(self, seconds: float) -> None:
        self.skew += seconds
        self.duties._wake.set()


@pytest.fixture
async def term(monkeypatch):
    monkeypatch.setattr(module, "RETRY_MIN_S", 0.01)
    term = Term()
    yield term
    await term.duties.stop()


async def test_a_term_begins_with_a_look_at_all(term) -> None:
    term.members["c1"] = member("c1")
    term.duties.start_leading()
    term.duties.start_leading()
    await until(lambda: term.health("s1") == "passing" and term.health("c1") == "passing")
    assert "consul" in term.catalog.services("s1")
    assert term.duties.stats.terms_led == 1 and term.duties.leading


async def test_a_change_is_followed_at_once(term) -> None:
    term.duties.start_leading()
    await until(lambda: term.duties.stats.reconciles == 1 and term.health("s1"))
    term.change("c1")
    await until(lambda: term.health("c1") == "passing")
    term.change("c1", MemberStatus.FAILED)
    await until(lambda: term.health("c1") == "critical")
    term.change("c1", MemberStatus.LEFT)
    await until(lambda: term.catalog.node("c1") is None)
    assert term.duties.stats.reconciles == 1  # single looks were enough
    causes = [entry["Cause"] for entry in term.duties.explain_member(NodeName("C1"))]
    assert causes == ["member is alive", "gossip found the member failed", "member left"]


async def test_a_node_with_many_services_goes_piece_by_piece(term) -> None:
    term.change("c1")
    term.duties.start_leading()
    await until(lambda: term.health("c1"))
    node = term.catalog.node("c1")
    for number in range(150):
        service = Service(id=ServiceId(f"s{number}"), name=ServiceName("web"))
        check = Check(id=CheckId(f"c{number}"), service_id=service.id)
        term.catalog.register(Register(node=node, service=service, checks=(check,)))
    term.change("c1", MemberStatus.LEFT)
    await until(lambda: term.catalog.node("c1") is None)
    changes = term.catalog.machine.history.rows()[-4:]
    gone = [sum(1 for cell in change[4] if cell[0] == "services") for change in changes]
    assert gone == [64, 64, 22, 0]


async def test_a_forgotten_member_is_removed_at_once(term) -> None:
    term.change("c1")
    term.duties.start_leading()
    await until(lambda: term.health("c1"))
    gone = term.members.pop("c1")
    term.duties.member_changed(event(gone, MemberEventKind.REAP))
    await until(lambda: term.catalog.node("c1") is None)


async def test_a_member_lost_between_terms_is_removed_after_its_grace(term) -> None:
    lost = Node(name=NodeName("lost"), id=NodeId("id-lost"), address="10.0.0.9")
    term.catalog.register(Register(node=lost, checks=(Check(id=SERF_HEALTH),)))
    term.duties.start_leading()
    await until(lambda: term.duties.stats.reconciles == 1 and term.health("s1"))
    assert term.catalog.node("lost") is not None
    term.later(ABSENCE_GRACE_S + 1)
    await until(lambda: term.catalog.node("lost") is None)


async def test_everything_is_looked_at_again_once_a_minute(term) -> None:
    term.duties.start_leading()
    await until(lambda: term.health("s1"))
    term.members["c1"] = member("c1")  # gossip's news of it went astray
    term.later(61.0)
    await until(lambda: term.health("c1") == "passing")


@pytest.mark.parametrize("error", [NoClusterLeader(), LeadershipLost("?")])
async def test_errors_are_retried_and_nothing_is_lost(term, error) -> None:
    term.duties.start_leading()
    await until(lambda: term.health("s1"))
    term.catalog.error = error
    term.change("c1")
    await until(lambda: term.duties.stats.reconcile_failures >= 2)
    term.catalog.error = None
    await until(lambda: term.health("c1") == "passing")


async def test_a_node_in_the_way_does_not_keep_out_the_others(term) -> None:
    holder = Node(name=NodeName("c1"), id=NodeId("another"), address="10.0.0.9")
    healthy = Check(id=SERF_HEALTH, status="passing")
    term.catalog.register(Register(node=holder, checks=(healthy,)))
    # Two live members dispute a name: they differ in its case only.
    term.members |= {"C1": member("C1", id_="another", address="10.0.0.9")}
    term.members |= {"c1": member("c1", address="10.0.0.3"), "c2": member("c2")}
    term.duties.start_leading()
    await until(lambda: term.health("c2") == "passing")
    assert term.catalog.node("c1").id == "another"
    told = term.duties.explain_member(NodeName("c1"))
    assert any("reserved by node" in entry["Refused"] for entry in told)


async def test_nothing_is_done_without_leadership(term) -> None:
    term.change("c1")
    term.duties.start_leading()
    await until(lambda: term.health("c1"))
    term.duties.stop_leading()
    term.duties.stop_leading()
    written = term.duties.stats.writes
    term.change("c1", MemberStatus.FAILED)
    for _ in range(20):
        await asyncio.sleep(0)
    assert term.duties.stats.writes == written and not term.duties.leading
    term.duties.start_leading()  # the next term makes up for it
    await until(lambda: term.health("c1") == "critical")


async def test_other_duties_are_tried_until_they_work_once_per_term(monkeypatch) -> None:
    monkeypatch.setattr(module, "RETRY_MIN_S", 0.01)
    tries: list[int] = []

    async def ensure_root() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise NoClusterLeader
        if len(tries) == 2:
            raise LookupError("a defect")

    term = Term(ca=ensure_root)
    try:
        term.duties.start_leading()
        await until(lambda: len(tries) == 3 and term.health("s1"))
        term.duties.stop_leading()
        term.duties.start_leading()
        await until(lambda: len(tries) == 4)
    finally:
        await term.duties.stop()


class Fails(Catalog):
    """Loses its leader after so many changes."""

    def __init__(self, changes: int) -> None:
        super().__init__()
        self.left = changes

    async def change(self, command, **options):
        if self.left <= 0:
            self.error = LeadershipLost("?")
        self.left -= 1
        return await super().change(command, **options)


STORY = (
    ("alive", member("c1"), None),
    ("failed", member("c1", MemberStatus.FAILED), None),
    ("flaps", member("c1"), None),
    ("another id", member("c1", id_="id-heir", address="10.0.0.9"), None),
    ("renamed", member("c3", id_="id-c2"), None),
    ("old name failed", member("c2", MemberStatus.FAILED), None),
    ("left", member("c1", MemberStatus.LEFT, id_="id-heir"), None),
    ("reaped", member("c4", MemberStatus.FAILED), MemberEventKind.REAP),
)


def picture(catalog: Catalog) -> dict[str, tuple[str, str, str]]:
    """The nodes with their ids, addresses and serfHealth."""
    nodes = (catalog.node(name) for name in ("s1", "c1", "c2", "c3", "c4"))
    return {
        node.name: (node.id, node.address, catalog.checks(node.name)[SERF_HEALTH].status)
        for node in nodes
        if node is not None
    }


@pytest.mark.parametrize("changes", range(12))
async def test_the_next_leader_finishes_what_one_left_in_the_middle(monkeypatch, changes) -> None:
    """The story of some members, told to a leader that loses its office after so many writes; what
    comes later happens while nobody leads."""
    monkeypatch.setattr(module, "RETRY_MIN_S", 0.001)
    first = Term()
    first.catalog = first.duties._backend = Fails(changes)
    first.members |= {"c2": member("c2"), "c4": member("c4")}
    first.duties.start_leading()

    async def settled() -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    try:
        await settled()
        for _, changed, kind in STORY:
            first.members[changed.name] = changed
            if kind is MemberEventKind.REAP:
                del first.members[changed.name]
            first.duties.member_changed(event(changed, kind))
            await settled()
    finally:
        await first.duties.stop()
    second = Term()
    second.members = first.members
    second.catalog = second.duties._backend = first.catalog
    first.catalog.left, first.catalog.error = 1000, None
    try:
        second.duties.start_leading()
        await until(lambda: second.duties.stats.reconciles == 1 and second.health("s1"))
        await settled()
        second.later(61.0)
        await until(lambda: second.duties.stats.reconciles >= 2)
        await settled()
        assert picture(second.catalog) == {
            "s1": ("id-s1", "10.0.0.1", "passing"),
            "c3": ("id-c2", "10.0.0.1", "passing"),
        }
    finally:
        await second.duties.stop()


async def test_a_refused_member_is_tried_again_soon(term) -> None:
    term.members["c1"] = member("c1", address="")
    term.duties.start_leading()
    await until(lambda: term.duties.explain_member(NodeName("c1")))
    term.members["c1"] = member("c1")
    term.later(module.REFUSED_INTERVAL_S + 1)
    await until(lambda: term.health("c1") == "passing")
