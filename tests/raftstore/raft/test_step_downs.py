"""Why a leader stops: the reasons that it counts, and that a full one makes room for another."""

import pytest

from raftstore.errors import JournalFull
from raftstore.raft.engine import HIGHER_TERM, HUNG_DISK, LOST_QUORUM, TRANSFERRED
from raftstore.raft.frames import AppendReply
from raftstore.raft.log import MemJournal
from raftstore.raft.stock import use_clock
from tests.raftstore.raft.test_engine import Bench

ALL = ["a", "b", "c"]


class FullJournal(MemJournal):
    full = pressed = True


@pytest.fixture
def bench():
    made = Bench(ALL)
    made.elect("a", ALL)
    yield made
    use_clock(made.before)


def reasons(bench):
    stats = bench.replicas["a"].engine.stats
    assert sum(stats.step_downs_by.values()) == stats.step_downs
    return {reason for reason, count in stats.step_downs_by.items() if count}


def test_nothing_is_counted_before_it_happens(bench):
    assert bench.replicas["a"].engine.stats.step_downs_by == dict.fromkeys(
        (LOST_QUORUM, HUNG_DISK, TRANSFERRED, HIGHER_TERM), 0
    )


def test_a_leader_that_hears_no_majority(bench):
    bench.now += 5.0
    bench.turn("a")
    assert reasons(bench) == {LOST_QUORUM}


def test_a_leader_that_hears_of_a_higher_term(bench):
    bench.replicas["a"].deliver("b", AppendReply(term=99, seq=1, ok=False, index=1))
    bench.turn("a")
    assert reasons(bench) == {HIGHER_TERM}


def test_a_leader_whose_disk_hangs(bench):
    bench.replicas["a"].step_down()
    assert reasons(bench) == {HUNG_DISK}


def test_a_leader_that_hands_over(bench):
    bench.replicas["a"].transfer("t", "b")
    for _ in range(4):
        bench.now += 0.05
        bench.pass_on(ALL)
    assert reasons(bench) == {TRANSFERRED}


def test_a_leader_without_room_hands_over_and_refuses_definitely_until_then(bench):
    a = bench.replicas["a"]
    a.journal.__class__ = FullJournal
    with pytest.raises(JournalFull, match="writes stop"):
        a.propose("t", b"x")
    for _ in range(6):
        bench.now += 0.2
        bench.pass_on(ALL)
    assert a.yielding.count == 1
    assert reasons(bench) == {TRANSFERRED}
    assert any(bench.replicas[n].engine.leads() for n in "bc")


def test_who_is_told_to_stay_stays_though_there_is_no_room(bench):
    a = bench.replicas["a"]
    a._config = type(a._config)(node_id="a", yield_when_full=False)
    a.journal.__class__ = FullJournal
    for _ in range(6):
        bench.now += 0.2
        bench.pass_on(ALL)
    assert a.yielding.count == 0 and a.engine.leads()
