"""Refused claims that wait: what is kept, when it is due, and that no new word is needed."""

from __future__ import annotations

import math
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gossip.admission import VERSIONS
from gossip.config import GossipConfig
from gossip.effects import Address, ExchangeState
from gossip.held_claims import HeldClaims, Wait
from gossip.stats import GossipStats
from gossip.swim import Swim
from gossip.wire import serf as wire
from gossip.wire.messages import Alive, Dead, State

HERE, THERE = bytes((10, 0, 0, 2)), bytes((10, 0, 0, 9))


def claim(name: str, incarnation: int, *, ip: bytes = HERE, id_: str = "") -> Alive:
    meta = wire.encode_tags({"id": id_} if id_ else {})
    return Alive(
        incarnation=incarnation, node=name, address=ip, port=7946, meta=meta, versions=VERSIONS
    )


def started(**changes: Any) -> Swim:
    config = GossipConfig.lan("me", push_pull_interval_s=0.0, **changes)
    swim = Swim(config, rng=random.Random(1), packet_budget_bytes=1398, stats=GossipStats())
    swim.start(Address(bytes((10, 0, 0, 1)), 7946), b"", 0.0)
    return swim


def run(swim: Swim, start: float, end: float) -> float:
    """Tick whenever it wants to, without a word from outside; gives how far it came."""
    now = start
    ticks = 0
    while (at := max(now, swim.deadline)) <= end:
        now = at
        swim.tick(now)
        swim.check()
        ticks += 1
        assert ticks < 5000, "it wants to be called all the time"
        assert not any(isinstance(effect, ExchangeState) for effect in swim.out)
        swim.out.clear()
    return now


def test_a_failed_name_is_given_when_its_time_is_over() -> None:
    swim = started()
    swim.receive(claim("n", 5, id_="old"), Address(HERE, 1), 1.0)
    swim.receive(Dead(5, "n", "x"), Address(HERE, 1), 10.0)
    swim.receive(claim("n", 6, ip=THERE, id_="new"), Address(THERE, 1), 12.0)
    assert swim.table.records["n"].address == HERE
    assert len(swim.claims.held) == 1
    run(swim, 12.0, 12.9)
    assert swim.table.records["n"].address == HERE
    run(swim, 12.9, 13.2)
    assert swim.table.records["n"].address == THERE
    assert len(swim.claims.held) == 0


def test_who_claims_while_the_holder_lives_has_the_name_after_its_end() -> None:
    swim = started()
    swim.receive(claim("n", 5, id_="old"), Address(HERE, 1), 1.0)
    swim.receive(claim("n", 7, ip=THERE, id_="new"), Address(THERE, 1), 2.0)
    run(swim, 2.0, 4.0)
    assert swim.table.records["n"].address == HERE
    swim.receive(Dead(5, "n", "n"), Address(HERE, 1), 5.0)  # it left
    run(swim, 5.0, 5.1)
    assert (swim.table.records["n"].address, swim.table.records["n"].state) == (THERE, State.ALIVE)


def test_an_identity_is_let_in_when_its_former_bearer_has_failed() -> None:
    swim = started()
    swim.receive(claim("a", 1, id_="same"), Address(HERE, 1), 1.0)
    swim.receive(claim("b", 1, ip=THERE, id_="same"), Address(THERE, 1), 2.0)
    assert swim.table.get("b") is None
    swim.receive(Dead(1, "a", "x"), Address(HERE, 1), 3.0)
    run(swim, 3.0, 3.1)
    record = swim.table.get("b")
    assert record is not None
    assert record.state is State.ALIVE


def test_what_no_waiting_helps_is_not_kept() -> None:
    swim = started(admits=lambda name, tags: "no" if name == "odd" else "")
    swim.receive(claim("odd", 1), Address(HERE, 1), 1.0)
    swim.receive(claim("n", 5, id_="old"), Address(HERE, 1), 1.0)
    swim.receive(Dead(5, "n", "x"), Address(HERE, 1), 2.0)
    swim.receive(claim("n", 5, ip=THERE, id_="new"), Address(THERE, 1), 3.0)  # older than the end
    swim.receive(claim("n", 6, ip=THERE), Address(THERE, 1), 3.0)  # it does not say who it is
    assert len(swim.claims.held) == 0


NAMES = st.sampled_from("abcdef")


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("keep"), NAMES, st.integers(1, 9), st.floats(0, 9), NAMES),
            st.tuples(st.just("forget"), NAMES),
            st.tuples(st.just("ended"), NAMES),
            st.tuples(st.just("take")),
        )
    )
)
def test_it_is_bounded_and_never_due_again_at_once(steps: list[tuple[object, ...]]) -> None:
    held, now = HeldClaims(3), 0.0
    for step in steps:
        now += 0.3
        match step:
            case ("keep", str(name), int(incarnation), float(until), str(holder)):
                held.keep(claim(name, incarnation), Wait(until, holder), now)
                assert held.deadline > 0
            case ("forget", str(name)):
                held.forget(name)
            case ("ended", str(holder)):
                held.ended(holder, now)
            case _:
                for each in held.take_due(now):
                    held.keep(each, Wait(now), now)
                assert held.deadline > now
        assert len(held) <= 3
        assert (held.deadline == math.inf) >= (len(held) == 0)


def test_the_newest_claim_to_a_name_is_kept() -> None:
    held = HeldClaims(3)
    held.keep(claim("n", 5), Wait(3.0), 0.0)
    held.keep(claim("n", 4), Wait(2.0), 0.0)
    assert [each.incarnation for each in held.take_due(3.0)] == [5]
