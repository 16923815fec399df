"""A member that was held for dead repeats that it lives: when, how often, and never for ever."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.admission import VERSIONS
from gossip.config import GossipConfig
from gossip.insistence import PAUSE_S, Insistence
from gossip.wire import serf as wire
from gossip.wire.messages import NodeState, State

META = wire.encode_tags({"id": "new"})
HERE, ELSEWHERE = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


def node(address: bytes, state: State, meta: bytes = META) -> NodeState:
    return NodeState(
        incarnation=3,
        name="me",
        address=address,
        port=7946,
        meta=meta,
        versions=VERSIONS,
        state=state,
    )


def taken_over(core: Insistence, meta: bytes, now: float) -> None:
    """A peer has our name as a dead member's at another address; ``meta`` are our tags."""
    core.buried(node(ELSEWHERE, State.DEAD), node(HERE, State.ALIVE, meta), now)


def said(core: Insistence, until: float) -> list[float]:
    """When it speaks, asked at each of its deadlines."""
    times = []
    while (at := core.deadline) <= until:
        assert core.due(at)
        times.append(at)
    return times


def test_it_repeats_soon_and_when_the_name_is_free() -> None:
    core = Insistence(GossipConfig.lan("me"))
    taken_over(core, META, 10.0)
    assert said(core, 100.0) == [11.0, 13.25, 14.0]
    assert core.times == 3


def test_it_is_silent_where_no_waiting_gives_the_name() -> None:
    for meta, changes in ((b"", {}), (META, {"identity_reclaim_s": 0.0})):
        core = Insistence(GossipConfig.lan("me", **changes))
        taken_over(core, meta, 1.0)
        assert core.deadline == math.inf
    by_time = Insistence(GossipConfig.lan("me", dead_node_reclaim_s=9.0))
    taken_over(by_time, b"", 1.0)
    assert said(by_time, 100.0) == [2.0, 10.25, 11.0]


@pytest.mark.parametrize(
    ("address", "state"),
    [(HERE, State.DEAD), (HERE, State.LEFT), (ELSEWHERE, State.LEFT)],
)
def test_where_nobody_has_to_be_waited_for_it_repeats_soon(address: bytes, state: State) -> None:
    core = Insistence(GossipConfig.lan("me", identity_reclaim_s=0.0))
    core.buried(node(address, state), node(HERE, State.ALIVE, b""), 10.0)
    assert said(core, 100.0) == [10.25, 11.0]


def test_who_is_called_dead_repeats_once_a_minute_at_most() -> None:
    core = Insistence(GossipConfig.lan("me"))
    for tenth in range(600):
        core.called_dead(tenth / 10)
    assert said(core, 100.0) == [0.25, 1.0]
    core.called_dead(PAUSE_S)
    assert len(said(core, 100.0)) == 2


def test_a_late_loop_says_it_once() -> None:
    core = Insistence(GossipConfig.lan("me"))
    taken_over(core, META, 0.0)
    assert core.due(50.0)
    assert core.deadline == math.inf


EVENTS = st.lists(
    st.tuples(st.floats(0, 1000), st.sampled_from(["dead", "home", "taken"])), max_size=40
)


@given(EVENTS)
def test_each_occasion_is_answered_and_no_peer_makes_it_talk_for_ever(
    events: list[tuple[float, str]],
) -> None:
    core = Insistence(GossipConfig.lan("me"))
    times: list[float] = []
    for now, what in sorted(events):
        times += said(core, now)
        if what == "dead":
            core.called_dead(now)
        elif what == "home":
            core.buried(node(HERE, State.DEAD), node(HERE, State.ALIVE), now)
        else:
            taken_over(core, META, now)
    times += said(core, 2000.0)
    assert core.times == len(times) <= 3 * (1 + 1000 / PAUSE_S)
    for now, _ in events:
        # Within a second, or it has said it not long ago.
        assert any(now - PAUSE_S - 4.0 <= at <= now + 1.0 for at in times)
