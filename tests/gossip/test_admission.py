"""Who may be in the table and under which name, rule by rule and for any claim."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip import admission, pushpull
from gossip.admission import VERSIONS, Refusals
from gossip.config import GossipConfig
from gossip.effects import Address, NodeUp, Refused
from gossip.errors import RemoteError
from gossip.members import MemberTable, Verdict
from gossip.stats import GossipStats
from gossip.swim import Swim
from gossip.wire import serf as wire
from gossip.wire.messages import Alive, NodeState, State
from tests.gossip.test_pushpull import node
from tests.strategies import scaled

HERE, THERE = bytes((10, 0, 0, 2)), bytes((10, 0, 0, 9))
FOREIGN = bytes((1, 5, 2, 6, 7, 6))


def alive(incarnation: int, *, ip: bytes = HERE, id_: str = "", name: str = "other") -> Alive:
    meta = wire.encode_tags({"id": id_} if id_ else {})
    return Alive(
        incarnation=incarnation, node=name, address=ip, port=7946, meta=meta, versions=VERSIONS
    )


def table_with(state: State, *, id_: str = "a", at: float = 100.0, **changes: Any) -> MemberTable:
    """Ourselves, and ``other`` at ``HERE`` with incarnation 5, in ``state`` since ``at``."""
    table = MemberTable(GossipConfig.lan("local", **changes), random.Random(1))
    table.set_local(address=bytes((10, 0, 0, 1)), port=7946, meta=b"", now=0.0)
    table.claim_alive(alive(5, id_=id_), 1.0)
    if state is State.SUSPECT:
        table.claim_suspect("other", 5, at, "test")
    elif state is not State.ALIVE:
        table.claim_dead("other", 5, "other" if state is State.LEFT else "x", at, "test")
    table.check()
    return table


@pytest.mark.parametrize(
    ("holder", "claimant", "incarnation", "after_s", "changes", "taken"),
    [
        ("a", "b", 6, 3.0, {}, True),
        ("a", "b", 6, 2.9, {}, False),  # another agent waits
        ("a", "a", 6, 0.0, {}, True),  # the same agent at a new address does not
        ("", "b", 6, 3.0, {}, True),
        ("a", "", 6, 99.0, {}, False),  # it does not say who it is
        ("a", "b", 5, 99.0, {}, False),  # older than the failure: a stale record
        ("a", "b", 6, 99.0, {"identity_reclaim_s": 0.0}, False),
        ("a", "", 1, 29.9, {"dead_node_reclaim_s": 30.0}, False),
        ("a", "", 1, 30.0, {"dead_node_reclaim_s": 30.0}, True),  # memberlist's own rule
        ("a", "b", 6, 99.0, {"identity_tag": ""}, False),
    ],
)
def test_a_dead_name_moves_by_rule(
    holder: str,
    claimant: str,
    incarnation: int,
    after_s: float,
    changes: dict[str, Any],
    taken: bool,
) -> None:
    table = table_with(State.DEAD, id_=holder, **changes)
    verdict = table.claim_alive(alive(incarnation, ip=THERE, id_=claimant), 100.0 + after_s)
    assert verdict is (Verdict.JOINED if taken else Verdict.CONFLICT)
    assert table.records["other"].address == (THERE if taken else HERE)
    table.check()
    if taken:
        assert "took over" in table.records["other"].transitions[-1].cause
        # The former holder comes back: now it is the one that finds the name taken.
        assert table.claim_alive(alive(99, id_=holder), 101.0 + after_s) is Verdict.CONFLICT


@settings(max_examples=scaled(200))
@given(
    st.sampled_from([State.ALIVE, State.SUSPECT]),
    st.integers(1, 2**32 - 1),
    st.sampled_from(["", "a", "b"]),
    st.floats(0, 1e6),
    st.floats(0, 60),
    st.floats(0, 60),
)
def test_no_claim_whatever_takes_a_name_from_a_live_holder(
    state: State, incarnation: int, id_: str, wait_s: float, reclaim_s: float, dead_s: float
) -> None:
    table = table_with(state, identity_reclaim_s=reclaim_s, dead_node_reclaim_s=dead_s)
    claim = alive(incarnation, ip=THERE, id_=id_)
    assert table.claim_alive(claim, 100.0 + wait_s) is Verdict.CONFLICT
    assert table.records["other"].address == HERE
    table.check()


def test_an_identity_that_a_live_member_bears_is_not_let_in_under_a_second_name() -> None:
    table = table_with(State.ALIVE)
    clone = alive(1, ip=THERE, id_="a", name="clone")
    assert table.claim_alive(clone, 2.0) is Verdict.UNFIT
    assert table.unfit(clone) == "Member 'clone' has conflicting node ID 'a' with member 'other'"
    assert table.get("clone") is None
    # At the same address it is the agent itself, restarted under a new name.
    assert table.claim_alive(alive(1, id_="a", name="renamed"), 2.0) is Verdict.JOINED
    table.check()
    # Nor is it refused when the bearer is dead, or where the rule is off.
    ended = table_with(State.DEAD)
    assert ended.claim_alive(clone, 101.0) is Verdict.JOINED
    ended.check()
    off = table_with(State.ALIVE, unique_identities=False)
    assert off.claim_alive(clone, 2.0) is Verdict.JOINED


def test_a_dead_identity_that_moved_on_is_forgotten_with_its_record_only() -> None:
    table = table_with(State.DEAD)
    assert table.claim_alive(alive(1, ip=THERE, id_="a", name="renamed"), 101.0) is Verdict.JOINED
    table.next_probe_target(101.0)
    for _ in range(3):
        table.next_probe_target(200.0)
    assert table.get("other") is None
    table.check()
    third = alive(1, ip=HERE, id_="a", name="third")
    assert table.claim_alive(third, 200.0) is Verdict.UNFIT


VERSION_BYTES = st.one_of(
    st.none(),
    st.binary(max_size=7),
    st.tuples(*[st.integers(0, 7)] * 6).map(bytes),
    st.just(VERSIONS),
)


@settings(max_examples=300)
@given(VERSION_BYTES)
def test_who_fits_by_itself_fits_in_an_exchange_of_the_reference_too(
    versions: bytes | None,
) -> None:
    """So that what we let in does not spoil the exchanges of members that are strict."""
    if admission.unfit("x", versions):
        return
    pushpull.verify([node(VERSIONS, name="us"), node(versions or b"", name="x")], [])


RECORDS = st.lists(
    st.builds(
        NodeState,
        incarnation=st.integers(0, 3),
        name=st.sampled_from(["", "a", "b", "c", "d" * 300]),
        address=st.sampled_from([HERE, THERE, b"", bytes(3)]),
        port=st.just(7946),
        meta=st.sampled_from([None, b"\xff\x80", bytes(600)]),
        versions=VERSION_BYTES,
        state=st.sampled_from(State),
    ),
    max_size=6,
)


@settings(max_examples=80)
@given(RECORDS, st.integers(0, 6))
def test_odd_records_never_keep_out_a_good_one(records: list[NodeState], at: int) -> None:
    swim = Swim(
        GossipConfig.lan("me"), rng=random.Random(1), packet_budget_bytes=1398, stats=GossipStats()
    )
    swim.start(Address(bytes((10, 0, 0, 1)), 7946), b"", 0.0)
    good = node(VERSIONS, name="good")
    swim.merge((*records[:at], good, *records[at:]), 1.0)
    swim.check()
    assert swim.table.records["good"].state is State.ALIVE
    for record in swim.table:
        assert not admission.unfit(record.name, record.versions)


def test_what_is_left_out_is_counted_and_told_once_and_the_reference_refuses_all() -> None:
    def member(**changes: Any) -> Swim:
        config = GossipConfig.lan("me", **changes)
        swim = Swim(config, rng=random.Random(1), packet_budget_bytes=1398, stats=GossipStats())
        swim.start(Address(bytes((10, 0, 0, 1)), 7946), b"", 0.0)
        swim.out.clear()
        return swim

    nodes = (node(FOREIGN, name="odd"), node(VERSIONS, name="good"))
    swim = member()
    swim.merge(nodes, 1.0)
    swim.merge(nodes, 2.0)
    (refused,) = [effect for effect in swim.out if isinstance(effect, Refused)]
    assert refused.reason == ("Node 'odd' delegate protocol version (6) is incompatible: [6, 5]")
    assert [e.name for e in swim.out if isinstance(e, NodeUp)] == ["good"]
    seen = swim.claims.refusals.get("odd")
    assert seen is not None
    assert (seen.times, seen.at) == (2, 2.0)
    assert swim._stats.dropped == {"unfit_member": 2}
    with pytest.raises(RemoteError, match="incompatible"):
        member(push_pull_strict=True).merge(nodes, 1.0)
    with pytest.raises(RemoteError, match="incompatible"):  # nobody there whom we understand
        member().merge((node(FOREIGN, name="odd"), node(b"", State.DEAD, "gone")), 1.0)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xy"))))
def test_refusals_are_bounded_and_the_newest_stay(entries: list[tuple[str, str]]) -> None:
    refusals = Refusals(3)
    for at, (name, reason) in enumerate(entries):
        refusals.add(name, reason, float(at))
        assert len(refusals) <= 3
        seen = refusals.get(name)
        assert seen is not None
        assert (seen.reason, seen.at) == (reason, float(at))
        assert list(refusals)[-1] == name


@pytest.mark.parametrize(
    ("networks", "address", "let_in"),
    [
        ((), "10.0.0.1", True),
        (("10.0.0.0/8",), "10.255.0.1", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.0.0.0/8", "fd00::/8"), "fd00::1", True),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", True),
        (("10.0.0.0/8",), "fd00::1", False),
        (("10.1.2.3/8",), "10.9.9.9", True),
    ],
)
def test_members_are_of_the_networks_that_are_allowed(
    networks: tuple[str, ...], address: str, let_in: bool
) -> None:
    table = MemberTable(GossipConfig.lan("me", networks=networks), random.Random(1))
    table.set_local(address=bytes((10, 0, 0, 1)), port=1, meta=b"", now=0.0)
    packed = ipaddress.ip_address(address).packed
    claim = Alive(incarnation=1, node="other", address=packed, port=2, meta=b"", versions=VERSIONS)
    verdict = table.claim_alive(claim, 0.0)
    assert verdict is (Verdict.JOINED if let_in else Verdict.UNFIT)
    assert bool(table.unfit(claim)) is not let_in
