"""A newcomer repeats its claim: when, how often, and that no peer can make it do so for ever."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.insistence import PAUSE_S, Insistence
from gossip.wire import serf as wire

META = wire.encode_tags({"id": "new"})


def said(core: Insistence, until: float) -> list[float]:
    """When it speaks, asked at each of its deadlines."""
    times = []
    while (at := core.deadline) <= until:
        assert core.due(at)
        times.append(at)
    return times


def test_it_repeats_soon_and_when_the_name_is_free() -> None:
    core = Insistence(GossipConfig.lan("me"))
    core.taken_over(META, 10.0)
    assert said(core, 100.0) == [11.0, 13.25, 14.0]
    assert core.times == 3


def test_it_is_silent_where_no_waiting_gives_the_name() -> None:
    for meta, changes in ((b"", {}), (META, {"identity_reclaim_s": 0.0})):
        core = Insistence(GossipConfig.lan("me", **changes))
        core.taken_over(meta, 1.0)
        assert core.deadline == math.inf
    by_time = Insistence(GossipConfig.lan("me", dead_node_reclaim_s=9.0))
    by_time.taken_over(b"", 1.0)
    assert said(by_time, 100.0) == [2.0, 10.25, 11.0]


def test_a_late_loop_says_it_once() -> None:
    core = Insistence(GossipConfig.lan("me"))
    core.taken_over(META, 0.0)
    assert core.due(50.0)
    assert core.deadline == math.inf


@given(st.lists(st.floats(0, 1000), max_size=40))
def test_peers_that_forget_nothing_do_not_make_it_talk_for_ever(moments: list[float]) -> None:
    core = Insistence(GossipConfig.lan("me"))
    for now in sorted(moments):
        core.due(now)
        core.taken_over(META, now)
    said(core, 2000.0)
    assert core.times <= 3 * (1 + 1000 / PAUSE_S)
