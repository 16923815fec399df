"""The hurried election after a leader's process died, and the commit rule's short cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.raft.engine import RaftEngine
from raftstore.raft.frames import PreVoteReply, PreVoteRequest
from raftstore.raft.log import MemJournal
from raftstore.raft.stock import use_clock
from tests.raftstore.raft.test_engine import Bench, X, append


@pytest.fixture
def bench():
    made = Bench(list("abc"))
    yield made
    use_clock(made.before)


def followers_of_a(bench):
    bench.elect("a", ["b", "c"])
    bench.now += 0.1
    bench.replicas["a"].engine.send_heartbeats()
    bench.turn("a")
    bench.pass_on(["a", "b", "c"])
    return bench.replicas["b"].engine, bench.replicas["c"].engine


def test_two_who_lose_a_leader_at_once_campaign_one_after_the_other(bench):
    b, c = followers_of_a(bench)
    latest_b = earliest_c = 0.0
    for _ in range(50):
        b._follow(b._members["a"])
        c._follow(c._members["a"])
        b.leader_lost("a")
        c.leader_lost("a")
        latest_b = max(latest_b, b.deadline() - bench.now)
        earliest_c = min(earliest_c or 1.0, c.deadline() - bench.now)
    assert latest_b < 0.06
    assert earliest_c > latest_b + 0.05, "no round of one falls into the first of the other"


def test_the_first_campaign_after_the_death_wins(bench):
    followers_of_a(bench)
    for name in "bc":
        bench.replicas[name].engine.leader_lost("a")
    bench.now += 0.06
    bench.mail.clear()
    for _ in range(4):
        bench.turn("b")
        bench.pass_on(["b", "c"], rounds=1)
    assert bench.replicas["b"].engine.leads()


def test_a_split_vote_in_a_hurry_is_tried_again_soon(bench):
    b, c = followers_of_a(bench)
    b.leader_lost("a")
    c.leader_lost("a")
    bench.now += 0.3
    for engine in (b, c):  # both are cleared to campaign before they hear of each other
        engine._cleared_term = engine.term()
        engine._SyncObj__raftElectionDeadline = 0.0
    bench.turn("b")
    bench.turn("c")
    bench.pass_on(["b", "c"], rounds=2)
    assert b.role() == c.role() == "candidate"
    assert max(b.deadline(), c.deadline()) - bench.now < 0.55  # and not up to an election timeout


def test_who_has_just_started_helps_to_replace_a_leader_that_died(bench):
    b, _ = followers_of_a(bench)
    b._started_at = bench.now  # it came back a moment ago, and has heard its leader since
    request = PreVoteRequest(term=b.term() + 1, round=1, last_index=9, last_term=b.term())
    (reply,) = bench.send("c", "b", request)
    assert isinstance(reply, PreVoteReply) and not reply.granted
    b.leader_lost("a")
    (reply,) = bench.send("c", "b", request)
    assert reply.granted


def test_a_start_alone_gives_no_vote_to_a_stranger_in_a_hurry(bench):  # hazard A7
    b, _ = followers_of_a(bench)
    b._started_at = bench.now
    b.leader_lost("c")  # not who leads
    request = PreVoteRequest(term=b.term() + 1, round=1, last_index=9, last_term=b.term())
    (reply,) = bench.send("c", "b", request)
    assert not reply.granted


class OneByOne(RaftEngine):
    """PySyncObj's own commit rule, entry by entry."""

    def _commit_majority(self, own: int) -> None:
        pass


@settings(max_examples=30, deadline=None)
@given(
    names=st.sampled_from(["abc", "abcd", "abcde", "ab", "a"]),
    old=st.integers(0, 4),
    new=st.integers(0, 6),
    dice=st.randoms(use_true_random=False),
)
def test_the_short_cut_commits_what_the_loop_commits(names, old, new, dice):
    commits = []
    seed = dice.random()
    for kind in (RaftEngine, OneByOne):
        bench = Bench(list(names), kind)
        try:
            draw = random.Random(seed)
            replica = bench.replicas["a"]
            if old and len(names) > 1:  # entries of an earlier leader that nobody has committed
                bench.send("b", "a", append(1, 0, [(X, 1)] * old, term=1, commit=1))
            bench.elect("a", list(names[1:]), settle=False)
            engine, journal = replica.engine, replica.journal
            for _ in range(new):
                engine.append_payloads([b"p"], 1.0)
            replica.persisted(journal.take()) if journal.take() else None
            for peer in engine.peer_ids():
                engine._SyncObj__raftMatchIndex[engine._members[peer]] = draw.randint(
                    0, journal.last_index
                )
            engine.tick()
            commits.append((engine.commit_index(), journal.commit_hint, engine.applied_index()))
        finally:
            use_clock(bench.before)
    assert commits[0] == commits[1]


def test_extending_a_journal_is_appending_to_it():
    entries = [(X, index, 1) for index in range(1, 6)] + [(b"\x04config", 6, 2), (X, 7, 2)]
    one, other = MemJournal(), MemJournal()
    for entry in entries:
        one.append(entry)
    other.extend(entries[:3])
    other.extend(entries[3:])
    assert one.take() == other.take()
    for name in ("unsaved_bytes", "bytes_since_snapshot", "last_index", "config", "state_dirty"):
        assert getattr(one, name) == getattr(other, name)
    with pytest.raises(AssertionError):
        other.extend([(X, 9, 2)])
