"""Who wins between two claims: the transition table, row by row."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.members import VERSIONS, MemberTable, Verdict
from gossip.wire.messages import Alive, State
from tests.strategies import scaled

LOCAL_IP, OTHER_IP, FOREIGN_IP = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), bytes((10, 0, 0, 9))


def alive(
    incarnation: int,
    node: str = "other",
    *,
    ip: bytes = OTHER_IP,
    meta: bytes = b"\xff\x80",
    versions: bytes = VERSIONS,
) -> Alive:
    return Alive(
        incarnation=incarnation, node=node, address=ip, port=7946, meta=meta, versions=versions
    )


@pytest.fixture
def table() -> MemberTable:
    table = MemberTable(GossipConfig.lan("local"), random.Random(1))
    table.set_local(address=LOCAL_IP, port=7946, meta=b"\xff\x80", now=0.0)
    return table


def in_state(table: MemberTable, state: State, incarnation: int = 5) -> None:
    assert table.claim_alive(alive(incarnation), 1.0) is Verdict.JOINED
    if state is State.SUSPECT:
        table.claim_suspect("other", incarnation, 2.0, "test")
    elif state is State.DEAD:
        table.claim_dead("other", incarnation, "local", 2.0, "test")
    elif state is State.LEFT:
        table.claim_dead("other", incarnation, "other", 2.0, "test")
    assert table.records["other"].state is state
    table.check()


def test_the_local_member_starts_with_incarnation_one(table: MemberTable) -> None:
    assert table.local.incarnation == 1
    assert table.local.state is State.ALIVE


def test_an_unknown_member_joins_by_an_alive_claim_only(table: MemberTable) -> None:
    assert table.claim_suspect("other", 9, 1.0, "") is Verdict.IGNORED
    assert table.claim_dead("other", 9, "x", 1.0, "") is Verdict.IGNORED
    assert table.claim_alive(alive(0), 1.0) is Verdict.IGNORED
    assert table.get("other") is None
    assert table.claim_alive(alive(1), 1.0) is Verdict.JOINED


@pytest.mark.parametrize("state", list(State))
def test_an_alive_claim_needs_a_higher_incarnation(table: MemberTable, state: State) -> None:
    in_state(table, state)
    assert table.claim_alive(alive(5, meta=b"new"), 3.0) is Verdict.IGNORED
    assert table.claim_alive(alive(4), 3.0) is Verdict.IGNORED
    assert table.records["other"].state is state
    verdict = table.claim_alive(alive(6), 3.0)
    gone = state in (State.DEAD, State.LEFT)
    assert verdict is (Verdict.JOINED if gone else Verdict.REFRESHED)
    assert table.records["other"].state is State.ALIVE
    assert table.records["other"].incarnation == 6


def test_a_suspect_is_refuted_by_a_higher_incarnation(table: MemberTable) -> None:
    in_state(table, State.SUSPECT)
    assert table.claim_alive(alive(6), 3.0) is Verdict.REFRESHED
    assert table.records["other"].transitions[-1].cause == "refuted the suspicion"


def test_changed_tags_are_an_update(table: MemberTable) -> None:
    in_state(table, State.ALIVE)
    assert table.claim_alive(alive(6, meta=b"\xff\x81\xa1a\xa1b"), 3.0) is Verdict.UPDATED


def test_suspicion_needs_a_live_member_and_an_incarnation_not_older(table: MemberTable) -> None:
    in_state(table, State.ALIVE)
    assert table.claim_suspect("other", 4, 3.0, "") is Verdict.IGNORED
    assert table.claim_suspect("other", 7, 3.0, "") is Verdict.SUSPECTED
    assert table.records["other"].incarnation == 7
    assert table.claim_suspect("other", 8, 3.0, "") is Verdict.CONFIRMED
    assert table.records["other"].incarnation == 7, "not updated by a confirmation"


@pytest.mark.parametrize("state", [State.DEAD, State.LEFT])
def test_the_dead_are_neither_suspected_nor_declared_dead_again(
    table: MemberTable, state: State
) -> None:
    in_state(table, state)
    assert table.claim_suspect("other", 9, 3.0, "") is Verdict.IGNORED
    assert table.claim_dead("other", 9, "other", 3.0, "") is Verdict.IGNORED
    assert table.records["other"].state is state


@pytest.mark.parametrize("state", [State.ALIVE, State.SUSPECT])
def test_a_member_that_declares_itself_dead_has_left(table: MemberTable, state: State) -> None:
    in_state(table, state)
    assert table.claim_dead("other", 4, "other", 3.0, "") is Verdict.IGNORED
    assert table.claim_dead("other", 5, "other", 3.0, "") is Verdict.DIED
    assert table.records["other"].state is State.LEFT


@pytest.mark.parametrize("state", [State.ALIVE, State.SUSPECT, State.DEAD])
def test_a_name_cannot_move_unless_it_left(table: MemberTable, state: State) -> None:
    in_state(table, state)
    assert table.claim_alive(alive(99, ip=FOREIGN_IP), 3.0) is Verdict.CONFLICT
    assert table.records["other"].address == OTHER_IP


def test_a_name_that_left_moves_even_with_a_lower_incarnation(table: MemberTable) -> None:
    in_state(table, State.LEFT)
    assert table.claim_alive(alive(1, ip=FOREIGN_IP), 3.0) is Verdict.JOINED
    assert table.records["other"].address == FOREIGN_IP


def test_claims_about_ourselves_are_refuted(table: MemberTable) -> None:
    assert table.claim_suspect("local", 1, 1.0, "") is Verdict.REFUTE
    assert table.claim_dead("local", 1, "x", 1.0, "") is Verdict.REFUTE
    assert table.claim_dead("local", 0, "x", 1.0, "") is Verdict.IGNORED
    same = alive(1, "local", ip=LOCAL_IP)
    assert table.claim_alive(same, 1.0) is Verdict.IGNORED
    assert table.claim_alive(alive(2, "local", ip=LOCAL_IP), 1.0) is Verdict.REFUTE
    other_tags = alive(1, "local", ip=LOCAL_IP, meta=b"x")
    assert table.claim_alive(other_tags, 1.0) is Verdict.REFUTE
    assert table.claim_alive(alive(0, "local", ip=OTHER_IP), 1.0) is Verdict.CONFLICT


def test_the_refuting_incarnation_is_above_the_accused_one(table: MemberTable) -> None:
    assert table.next_incarnation(1) == 2
    assert table.next_incarnation(9) == 10
    assert table.next_incarnation(3) == 11


def test_a_leaving_member_no_longer_contradicts(table: MemberTable) -> None:
    table.leaving = True
    assert table.claim_suspect("local", 5, 1.0, "") is Verdict.IGNORED
    assert table.claim_alive(alive(9, "local", ip=LOCAL_IP), 1.0) is Verdict.IGNORED
    assert table.claim_dead("local", 1, "local", 1.0, "") is Verdict.DIED
    assert table.local.state is State.LEFT


@pytest.mark.parametrize(
    "claim",
    [
        alive(1, versions=bytes((0, 5, 2, 2, 5, 5))),
        alive(1, versions=bytes((5, 1, 2, 2, 5, 5))),
        alive(1, ip=b"abc"),
        alive(1, meta=bytes(513)),
        alive(1, node=""),
        alive(1, node="x" * 257),
    ],
)
def test_impossible_claims_are_invalid(table: MemberTable, claim: Alive) -> None:
    assert table.claim_alive(claim, 1.0) is Verdict.INVALID
    assert len(table) == 1


def test_every_member_is_probed_once_per_round(table: MemberTable) -> None:
    for index in range(9):
        table.claim_alive(alive(1, f"m{index}"), 0.0)
    for _ in range(3):
        names = [table.next_probe_target(1.0).name for _ in range(9)]  # type: ignore[union-attr]
        assert len(set(names[-5:])) == 5
    table.claim_dead("m3", 1, "x", 1.0, "")
    later = {r.name for _ in range(40) if (r := table.next_probe_target(2.0))}
    assert later == {f"m{index}" for index in range(9)} - {"m3"}


def test_each_round_has_its_own_order_and_every_order_is_as_likely(table: MemberTable) -> None:
    for index in range(3):
        table.claim_alive(alive(1, f"m{index}"), 0.0)
    orders = Counter(
        tuple(table.next_probe_target(1.0).name for _ in range(3))  # type: ignore[union-attr]
        for _ in range(6000)
    )
    assert len(orders) == 6
    # 1000 each is expected; 150 is five standard errors.
    assert all(abs(count - 1000) < 150 for count in orders.values())


def test_a_record_in_somebodys_hands_does_not_change(table: MemberTable) -> None:
    in_state(table, State.ALIVE)
    held = table.records["other"]
    table.claim_dead("other", 9, "x", 3.0, "test")
    assert (held.state, held.incarnation, len(held.transitions)) == (State.ALIVE, 5, 1)


def test_only_the_last_transitions_are_kept(table: MemberTable) -> None:
    kept = GossipConfig.lan("local").explain_transitions_max
    for incarnation in range(1, kept + 5):
        table.claim_alive(alive(incarnation), 1.0)
        table.claim_suspect("other", incarnation, 1.0, "test")
    transitions = table.records["other"].transitions
    assert len(transitions) == kept
    assert transitions[-1].state is State.SUSPECT
    assert transitions[-1].incarnation == kept + 4


def test_a_table_begins_with_what_is_known_already_and_leaves_shared_records_alone() -> None:
    first = MemberTable(GossipConfig.lan("local"), random.Random(1))
    first.set_local(address=LOCAL_IP, port=7946, meta=b"", now=0.0)
    first.claim_alive(alive(1), 0.0)
    second = MemberTable(GossipConfig.lan("other"), random.Random(2))
    second.adopt(dict(first.records))
    assert second.local.address == OTHER_IP
    assert second.claim_suspect("local", 1, 1.0, "test") is Verdict.SUSPECTED
    second.check()
    first.check()
    assert first.local.state is State.ALIVE


def test_the_long_dead_are_purged_when_the_round_wraps(table: MemberTable) -> None:
    in_state(table, State.DEAD)
    table.next_probe_target(3.0)
    table.next_probe_target(20.0)
    assert "other" in table.records
    table.next_probe_target(33.0)
    assert "other" not in table.records
    # After the purge any address and any incarnation are news.
    assert table.claim_alive(alive(1, ip=FOREIGN_IP), 40.0) is Verdict.JOINED


def test_picks_are_distinct_suitable_and_never_local(table: MemberTable) -> None:
    for index in range(100):
        table.claim_alive(alive(1, f"m{index}"), 0.0)
    for wanted in (1, 3, 50, 200):
        chosen = [r.name for r in table.pick(wanted, lambda r: r.name != "m7")]
        assert len(chosen) == len(set(chosen)) <= wanted
        assert not {"local", "m7"} & set(chosen)
    assert len(table.pick(3, lambda r: True)) == 3


@settings(max_examples=scaled(150))
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alive", "suspect", "dead", "left", "probe"]),
            st.sampled_from(["local", "a", "b"]),
            st.integers(0, 6),
        ),
        max_size=50,
    )
)
def test_incarnations_never_fall_and_invariants_hold(
    steps: list[tuple[str, str, int]],
) -> None:
    table = MemberTable(GossipConfig.lan("local"), random.Random(1))
    table.set_local(address=OTHER_IP, port=7946, meta=b"", now=0.0)
    for now, (verb, name, incarnation) in enumerate(steps):
        before = {n: r.incarnation for n, r in table.records.items()}
        if verb == "alive":
            if table.claim_alive(alive(incarnation, name), now) is Verdict.REFUTE:
                table.next_incarnation(incarnation)
        elif verb == "suspect":
            table.claim_suspect(name, incarnation, now, "")
        elif verb == "probe":
            table.next_probe_target(now)
        else:
            table.claim_dead(name, incarnation, name if verb == "left" else "x", now, "")
        for known, record in table.records.items():
            assert record.incarnation >= before.get(known, 0)
        table.check()
