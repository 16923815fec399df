"""What is remembered of elections: how each began and ended, and that it stays bounded."""

from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.elections import (
    ALONE,
    KEPT_MAX,
    LEADER_GONE,
    NO_LEADER_HEARD,
    NO_MAJORITY,
    OPEN,
    ORDERED,
    WON,
    Elections,
)
from raftstore.raft.engine import LOST_QUORUM
from raftstore.raft.stock import use_clock
from tests.raftstore.raft.test_engine import Bench

ABC = ["a", "b", "c"]


def test_rounds_that_nobody_grants_are_one_attempt_however_many():
    elections = Elections()
    for second in range(5000):
        elections.asked(float(second), 4, NO_LEADER_HEARD, {"a"})
    (only,) = elections.attempts()
    assert (only.at, only.pre_vote_rounds, only.votes) == (0.0, 5000, ("a",))
    assert only.outcome == OPEN and not only.campaigned and only.ended_at is None


def test_pre_votes_and_the_election_after_them_are_one_attempt():
    elections, granted, votes = Elections(), {"a"}, {"a"}
    elections.asked(1.0, 4, LEADER_GONE, granted)
    granted.add("b")
    assert elections.attempts()[0].votes == ("a", "b")
    elections.campaigned(1.1, 4, NO_LEADER_HEARD, votes)
    votes.add("c")
    elections.won(1.2, 4, "a")
    votes.add("late")
    (only,) = elections.attempts()
    assert (only.reason, only.campaigned, only.votes) == (LEADER_GONE, True, ("a", "c"))
    assert (only.outcome, only.ended_at) == (WON, 1.2)
    assert [(led.term, led.leader) for led in elections.leaders()] == [(4, "a")]


def test_a_split_vote_ends_when_the_next_try_begins():
    elections = Elections()
    elections.campaigned(1.0, 4, NO_LEADER_HEARD, {"a"})
    elections.asked(2.0, 5, NO_LEADER_HEARD, {"a"})
    second, first = elections.attempts()
    assert (first.outcome, first.ended_at, second.outcome) == (NO_MAJORITY, 2.0, OPEN)
    elections.overtaken(3.0, 9)
    assert elections.attempts()[0].outcome == "a newer term, 9, was heard of"
    elections.led_by(4.0, 9, "b")  # the attempt is over already
    assert elections.attempts()[0].ended_at == 3.0


def test_a_leader_that_is_heard_again_is_not_a_new_one():
    elections = Elections()
    for _ in range(3):
        elections.led_by(1.0, 4, "b")
    assert len(elections.leaders()) == 1


def test_an_end_of_leading_says_how_long_it_lasted_and_in_which_term():
    elections = Elections()
    elections.won(10.0, 7, "a")
    elections.stepped_down(12.5, LOST_QUORUM)
    (only,) = elections.step_downs()
    assert (only.term, only.led_s, only.reason) == (7, 2.5, LOST_QUORUM)


@given(st.lists(st.tuples(st.sampled_from("acwlod"), st.integers(1, 9)), max_size=200))
def test_no_order_of_events_breaks_it_or_makes_it_grow(events):
    elections = Elections()
    for now, (kind, term) in enumerate(events):
        match kind:
            case "a":
                elections.asked(float(now), term, NO_LEADER_HEARD, {"a"})
            case "c":
                elections.campaigned(float(now), term, ORDERED, {"a"})
            case "w":
                elections.won(float(now), term, "a")
            case "l":
                elections.led_by(float(now), term, "b")
            case "o":
                elections.overtaken(float(now), term)
            case "d":
                elections.stepped_down(float(now), LOST_QUORUM)
    attempts = elections.attempts()
    assert len(attempts) <= KEPT_MAX and len(elections.leaders()) <= KEPT_MAX
    assert len(elections.step_downs()) <= KEPT_MAX
    assert all(one.outcome != OPEN for one in attempts[1:])
    assert all((one.ended_at is None) == (one.outcome == OPEN) for one in attempts)


def test_the_engine_tells_each_kind_of_election_by_its_cause():
    bench = Bench(ABC)
    try:
        bench.elect("a", ABC)
        a, b = (bench.replicas[n].engine for n in "ab")
        assert a.elections.attempts()[0].outcome == WON
        assert set(a.elections.attempts()[0].votes) >= {"a"}
        assert [(led.leader, led.term) for led in b.elections.leaders()] == [("a", a.term())]
        bench.replicas["a"].transfer("t", "b")
        for _ in range(4):
            bench.now += 0.05
            bench.pass_on(ABC)
        assert b.elections.attempts()[0].reason == ORDERED
        assert a.elections.step_downs()[0].term == b.term() - 1
        for engine in (a, bench.replicas["c"].engine):
            engine.leader_lost("b")
        bench.now += 2.0
        bench.turn("a")
        assert a.elections.attempts()[0].reason == LEADER_GONE
        bench.now += 9.0
        bench.turn("b")
        assert b.elections.step_downs()[0].reason == LOST_QUORUM
        bench.now += 9.0
        bench.turn("b")
        assert b.elections.attempts()[0].reason == NO_LEADER_HEARD
    finally:
        use_clock(bench.before)


def test_the_only_voter_says_so():
    bench = Bench(["a"])
    try:
        bench.now += 1.0
        bench.turn("a")
        assert [one.reason for one in bench.replicas["a"].engine.elections.attempts()] == [ALONE]
    finally:
        use_clock(bench.before)
