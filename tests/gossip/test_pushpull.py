"""Full-state exchange: version checks, scaling, and what records claim."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gossip import pushpull
from gossip.config import GossipConfig
from gossip.effects import Address
from gossip.errors import RemoteError
from gossip.stats import GossipStats
from gossip.swim import Swim
from gossip.wire.messages import Alive, Dead, NodeState, State, Suspect
from tests.gossip import vectors
from tests.strategies import scaled

GOOD = bytes((1, 5, 2, 2, 5, 5))


def node(versions: bytes, state: State = State.ALIVE, name: str = "n1") -> NodeState:
    return NodeState(
        incarnation=3,
        name=name,
        address=bytes(4),
        port=1,
        meta=None,
        versions=versions,
        state=state,
    )


@pytest.mark.parametrize("row", vectors.load()["push_pull_scale"], ids=lambda r: str(r["n"]))
def test_the_scale_equals_the_recorded_one(row: dict[str, Any]) -> None:
    assert pushpull.scale(row["n"]) == row["multiplier"]


@pytest.mark.parametrize(
    ("versions", "state", "fits"),
    [
        (GOOD, State.ALIVE, True),
        (bytes((1, 5, 5, 2, 5, 5)), State.ALIVE, True),
        (bytes((1, 5, 2, 6, 7, 6)), State.ALIVE, False),
        (b"", State.ALIVE, False),
        (b"", State.DEAD, False),
        (bytes((3, 5, 3, 2, 5, 5)), State.ALIVE, False),
        (bytes((3, 5, 3, 2, 5, 5)), State.LEFT, True),
    ],
)
def test_everybody_must_understand_what_everybody_speaks(
    versions: bytes, state: State, fits: bool
) -> None:
    nodes = [node(GOOD, name="good"), node(versions, state)]
    if fits:
        pushpull.verify(nodes, [])
    else:
        with pytest.raises(RemoteError, match="incompatible"):
            pushpull.verify(nodes, [])


def test_the_dead_and_the_suspect_become_our_suspicions_and_the_left_have_left() -> None:
    nodes = [node(GOOD, state, state.name) for state in State]
    alive, suspect, dead, left = pushpull.claims(nodes, "me")
    assert isinstance(alive, Alive)
    assert suspect == Suspect(3, "SUSPECT", "me")
    assert dead == Suspect(3, "DEAD", "me")
    assert left == Dead(3, "LEFT", "LEFT")


@pytest.mark.parametrize("accuses", [False, True])
def test_a_suspect_in_a_table_is_probed_and_only_by_the_references_rule_accused(
    accuses: bool,
) -> None:
    config = GossipConfig.lan("me", push_pull_accuses=accuses)
    swim = Swim(config, rng=random.Random(1), packet_budget_bytes=1398, stats=GossipStats())
    swim.start(Address(bytes((10, 0, 0, 1)), 7946), b"", 0.0)
    names = [f"n{index}" for index in range(20)]
    swim.merge(tuple(node(GOOD, name=name) for name in names), 0.0)
    told = node(GOOD, State.SUSPECT, "n7")
    swim.merge((told, node(GOOD, State.SUSPECT, "me"), node(GOOD, State.DEAD, "n8")), 0.1)
    assert swim.table.records["n7"].state is (State.SUSPECT if accuses else State.ALIVE)
    assert swim.table.records["n8"].state is State.SUSPECT, "somebody's time has run out"
    assert swim.table.local.incarnation == 4, "we contradict what is said of ourselves"
    target = swim.table.next_probe_target(0.2)
    assert target is not None
    assert (target.name == "n7") is not accuses
    swim.table.probe_next("n9")
    swim.table.next_probe_target(0.3)
    swim.merge((dataclasses.replace(told, incarnation=2),), 0.4)
    assert "n7" not in swim.table._urgent, "old news"
    swim.check()


NODES = st.builds(
    NodeState,
    incarnation=st.integers(0, 3),
    name=st.sampled_from(["me", "a", "b", "c"]),
    address=st.sampled_from([bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))]),
    port=st.sampled_from([7946, 7946, 0]),
    meta=st.sampled_from([b"", b"x"]),
    versions=st.just(GOOD),
    # Most are alive, as in a ring: then a few examples find what a wrong comparison leaves out.
    state=st.sampled_from([*State, State.ALIVE, State.ALIVE]),
)


PLAIN = NodeState(
    incarnation=1,
    name="a",
    address=bytes((10, 0, 0, 2)),
    port=7946,
    meta=b"",
    versions=GOOD,
    state=State.ALIVE,
)


@example([PLAIN], [dataclasses.replace(PLAIN, incarnation=2)])
@settings(max_examples=scaled(80))
@given(st.lists(NODES, max_size=8), st.lists(NODES, max_size=8))
def test_what_is_left_out_of_a_merge_would_have_changed_nothing(
    before: list[NodeState], exchange: list[NodeState]
) -> None:
    outcomes = []
    for filtered in (True, False):
        swim = Swim(
            GossipConfig.lan("me", push_pull_accuses=True),
            rng=random.Random(1),
            packet_budget_bytes=1398,
            stats=GossipStats(),
        )
        swim.start(Address(bytes((10, 0, 0, 1)), 7946), b"", 0.0)
        swim.merge(tuple(before), 1.0)
        if filtered:
            swim.merge(tuple(exchange), 2.0)
        else:
            for claim in pushpull.claims(exchange, "me"):
                swim.receive(claim, Address(b"", 0), 2.0)
        swim.check()
        table = {
            r.name: (r.address, r.port, r.incarnation, r.state, r.meta, r.changed_at)
            for r in swim.table
        }
        told = [effect for effect in swim.out if not hasattr(effect, "cause")]
        queued = swim.queue.take(9999, transmits_max=9, counted=False)
        outcomes.append((table, told, sorted(queued), swim.awareness.score))
    assert outcomes[0] == outcomes[1]
