"""Queries of ours: each member counts once, in time, and within the bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.asking import Asking, Question, default_timeout_s
from gossip.config import GossipConfig
from gossip.effects import QueryEnded, QueryReplied
from gossip.errors import QueryError
from gossip.stats import GossipStats
from gossip.wire import serf as wire


def asking(**changes: int) -> tuple[Asking, GossipStats]:
    stats = GossipStats()
    return Asking(GossipConfig.lan("me", **changes), stats), stats


def query(
    query_id: int = 7, *, ltime: int = 3, flags: int = 0, timeout_s: float = 2.0
) -> wire.Query:
    return wire.Query(
        ltime=ltime,
        id=query_id,
        address=bytes(4),
        port=1,
        source_node="me",
        filters=None,
        flags=flags,
        relay_factor=0,
        timeout_ns=2_000_000_000,
        name="uptime",
        payload=b"",
    )


def response(
    sender: str, query_id: int = 7, *, ltime: int = 3, flags: int = 0
) -> wire.QueryResponse:
    return wire.QueryResponse(ltime=ltime, id=query_id, sender=sender, flags=flags, payload=b"up")


def test_a_member_counts_once_for_its_ack_and_once_for_its_answer() -> None:
    core, stats = asking()
    core.open(query(flags=wire.QUERY_FLAG_ACK), 0.0)
    assert core.receive(response("a", flags=1)) == QueryReplied(3, 7, "a", None)
    assert core.receive(response("a", flags=1)) is None
    assert core.receive(response("a")) == QueryReplied(3, 7, "a", b"up")
    assert core.receive(response("a")) is None
    assert core.receive(response("b")) is not None
    assert stats.query_answers == 2


def test_an_ack_that_nobody_asked_for_is_dropped() -> None:
    core, _ = asking()
    core.open(query(), 0.0)
    assert core.receive(response("a", flags=1)) is None


@given(st.integers(0, 9), st.integers(0, 9))
def test_only_our_own_running_query_is_answered(query_id: int, ltime: int) -> None:
    core, _ = asking()
    core.open(query(), 0.0)
    found = core.receive(response("a", query_id, ltime=ltime))
    assert (found is not None) == ((query_id, ltime) == (7, 3))


def test_a_late_answer_is_dropped() -> None:
    core, _ = asking()
    assert core.deadline == math.inf
    core.open(query(), 10.0)
    assert core.deadline == 12.0
    assert core.tick(11.9) == []
    assert core.tick(12.0) == [QueryEnded(3, 7)]
    assert core.receive(response("a")) is None
    assert len(core) == 0


def test_answers_and_running_queries_are_bounded() -> None:
    core, stats = asking(query_answers_max=2, queries_running_max=1)
    core.check(Question(name="x"))
    core.open(query(), 0.0)
    with pytest.raises(QueryError, match="more than 1 queries"):
        core.check(Question(name="x"))
    assert [core.receive(response(name)) is not None for name in "abc"] == [True, True, False]
    assert stats.dropped == {"too_many_answers": 1}


@pytest.mark.parametrize(
    "question",
    [
        Question(name="x", relay_factor=6),
        Question(name="x", relay_factor=-1),
        Question(name="x", timeout_s=-1.0),
        Question(name="x", timeout_s=math.nan),
    ],
)
def test_what_cannot_be_asked_is_refused(question: Question) -> None:
    with pytest.raises(QueryError):
        asking()[0].check(question)


@given(st.lists(st.text(max_size=9), max_size=4), st.dictionaries(st.text(), st.text(), max_size=3))
def test_filters_travel(nodes: list[str], tags: dict[str, str]) -> None:
    found = Question(name="x", nodes=tuple(nodes), tags=tags).filters() or ()
    decoded = [wire.decode_filter(data) for data in found]
    assert [value for kind, value in decoded if kind == wire.FILTER_NODE] == (
        [tuple(nodes)] if nodes else []
    )
    assert dict(value for kind, value in decoded if kind == wire.FILTER_TAG) == tags


def test_the_timeout_grows_with_the_rings_magnitude() -> None:
    config = GossipConfig.lan("me")
    figures = [round(default_timeout_s(config, size), 3) for size in (1, 9, 10, 99, 999, 9999)]
    assert figures == [3.2, 3.2, 6.4, 6.4, 9.6, 12.8]
