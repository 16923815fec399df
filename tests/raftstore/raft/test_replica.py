"""One replica's bounds and answers, step by step."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.errors import JournalFull, LeadershipLost, NoLeader, QueueFull, Refused
from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import Append, AppendReply, Probe, ProbeReply
from raftstore.raft.log import PAYLOAD, MemJournal, payload_command
from raftstore.raft.members import bootstrap_config
from raftstore.raft.replica import Replica
from raftstore.raft.requests import Outcome
from raftstore.raft.stock import use_clock
from tests.raftstore.raft.test_engine import Bench
from tests.sim.raft_cluster import sim_config


class Clock:
    now = 100.0


@pytest.fixture
def clock():
    before = use_clock(lambda: Clock.now)
    yield Clock
    use_clock(before)


def turn(replica, stamp=50.0):
    work = replica.step(stamp)
    replica.apply()
    if work.batch is not None:
        replica.persisted(work.batch)
    return work


def alone(clock, apply=lambda index, stamp, payload: payload, **settings):
    """A leader without peers."""
    config = RaftConfig(node_id="a", **settings)
    replica = Replica(config, MemJournal(), apply, random.Random(1))
    assert replica.bootstrap(bootstrap_config({"a": ""}).encode())
    assert not replica.bootstrap(b"again")
    turn(replica)
    turn(replica)
    assert replica.engine.leads()
    return replica


def test_a_proposal_is_answered_only_after_its_batch_is_on_disk(clock):
    replica = alone(clock)
    replica.propose("t", b"x")
    work = replica.step(50.0)
    replica.apply()
    assert work.batch is not None and replica.take_results() == []
    replica.persisted(work.batch)
    assert replica.wants_step()
    replica.step(50.0)
    replica.apply()
    assert replica.take_results() == [("t", Outcome(3, b"x"))]


def test_stamps_never_fall_even_if_the_wall_clock_does(clock):
    stamps = []
    replica = alone(clock, lambda index, stamp, payload: stamps.append(stamp))
    for stamp in (50.0, 40.0, 60.0):
        replica.propose("t", b"x")
        turn(replica, stamp)
    turn(replica)
    assert stamps == [50.0, 50.0, 60.0]


def test_the_intake_is_bounded_by_number_and_by_bytes(clock):
    replica = alone(clock, intake_max=3, intake_bytes_max=100)
    with pytest.raises(QueueFull):
        replica.propose("t", b"x" * 101)
    for number in range(3):
        replica.propose(number, b"x")
    with pytest.raises(QueueFull):
        replica.propose("t", b"x")
    turn(replica)
    replica.propose("t", b"x" * 100)


def test_a_payload_beyond_the_limit_is_refused(clock):
    with pytest.raises(Refused, match="too large"):
        alone(clock, payload_bytes_max=10).propose("t", b"x" * 11)


def test_entries_in_flight_are_bounded_and_the_rest_waits_its_turn(clock):
    replica = alone(clock, inflight_entries_max=2)
    for number in range(5):
        replica.propose(number, b"x")
    turn(replica)
    assert replica.journal.last_index == 4
    done = []
    for _ in range(5):
        turn(replica)
        done += [ticket for ticket, _ in replica.take_results()]
    assert done == [0, 1, 2, 3, 4]


def test_a_withdrawn_proposal_never_enters_the_log(clock):
    replica = alone(clock)
    replica.propose("t", b"x").withdrawn = True
    turn(replica)
    assert replica.journal.last_index == 2


def test_a_full_journal_refuses_writes_and_serves_reads(clock):
    class FullJournal(MemJournal):
        is_full = False

        @property
        def full(self):
            return self.is_full

    replica = Replica(RaftConfig(node_id="a"), FullJournal(), lambda i, s, p: p, random.Random(1))
    replica.bootstrap(bootstrap_config({"a": ""}).encode())
    for _ in range(3):
        turn(replica)
    replica.propose("queued", b"x")
    replica.journal.is_full = True
    with pytest.raises(JournalFull):
        replica.propose("t", b"x")
    replica.read("r")
    turn(replica)
    results = dict(replica.take_results())
    assert isinstance(results["queued"], JournalFull)
    assert results["r"] == Outcome(2)


def test_a_deposed_leader_says_unknown_to_what_entered_and_refused_to_what_did_not(clock):
    replica = alone(clock, inflight_entries_max=1)
    replica.engine._adopt_config()
    replica.propose("entered", b"x")
    replica.step(50.0)  # its batch is not on disk yet
    replica.propose("waiting", b"y")
    replica.engine._new_term(9)
    turn(replica)
    results = dict(replica.take_results())
    assert isinstance(results["entered"], LeadershipLost) and not results["entered"].definite
    assert results["waiting"].definite


def test_without_a_leader_nothing_is_queued(clock):
    replica = Replica(RaftConfig(node_id="a"), MemJournal(), lambda i, s, p: p, random.Random(1))
    with pytest.raises(NoLeader):
        replica.propose("t", b"x")
    with pytest.raises(NoLeader):
        replica.read("t")


def test_the_inbox_is_bounded(clock):
    replica = alone(clock, inbox_messages_max=2)
    append = Append(term=1, seq=1, prev_index=0, prev_term=0, commit=0, entries=())
    assert replica.deliver("b", append)
    assert replica.deliver("b", append)
    assert not replica.deliver("b", append)


def test_a_read_without_peers_needs_no_step(clock):
    replica = alone(clock)
    replica.propose("w", b"x")
    work = replica.step(50.0)  # whose batch is on its way
    replica.read("r")
    assert replica.begin_reads() == []
    assert replica.take_results() == [("r", Outcome(2))]
    replica.persisted(work.batch)


@pytest.fixture
def three(clock):
    made = Bench(["a", "b", "c"])
    made.elect("a", ["b", "c"])
    for replica in made.replicas.values():
        replica.take_results()
    yield made
    use_clock(made.before)


def test_a_read_waits_for_no_disk_on_either_side(three):
    a, b = three.replicas["a"], three.replicas["b"]
    a.propose("w", b"x")
    ours = a.step(50.0)
    a.read("r")
    probes = [out.message for out in a.begin_reads() if out.peer == "b"]
    assert [type(probe) for probe in probes] == [Probe]
    b.deliver("a", next(out.message for out in ours.early if out.peer == "b"))
    theirs = b.step(50.0)
    assert theirs.batch is not None and ours.batch is not None  # both are on their way
    (answer,) = b.answer("a", probes[0])
    assert answer == ("a", ProbeReply(a.engine.term(), probes[0].round))
    assert a.answer("b", answer.message) == []
    assert a.take_results() == [("r", Outcome(a.engine.commit_index()))]
    assert a.engine.commit_index() < a.journal.last_index


def test_only_the_leader_that_is_followed_is_confirmed(three):
    a, b = three.replicas["a"], three.replicas["b"]
    term = a.engine.term()
    assert b.answer("c", Probe(term, 1)) == []
    assert b.answer("a", Probe(term - 1, 1)) == []
    assert b.answer("a", Probe(term + 1, 1)) == []
    assert b.answer("a", Append(
        term=term, seq=1, prev_index=1, prev_term=0, commit=1, entries=()
    )) is None  # fmt: skip
    b.journal.set_term(term + 1, "c")  # what it will be is not on disk: wait for that
    assert b.answer("a", Probe(term, 1)) is None


def test_an_answer_of_a_stranger_or_of_an_earlier_term_confirms_nothing(three):
    a = three.replicas["a"]
    a.read("r")
    (probe, *_) = [out.message for out in a.begin_reads()]
    assert a.answer("x", ProbeReply(probe.term, probe.round)) == []
    assert a.answer("b", ProbeReply(probe.term - 1, probe.round)) == []
    assert a.take_results() == []
    assert a.answer("c", ProbeReply(probe.term, probe.round)) == []
    assert [ticket for ticket, _ in a.take_results()] == ["r"]


def test_reads_begin_no_round_before_an_entry_of_the_own_term_is_applied(three):
    b = three.replicas["b"]
    three.elect("b", ["a", "c"], settle=False)
    b.read("r")
    assert b.begin_reads() == []
    three.pass_on(["a", "b", "c"])
    assert [ticket for ticket, _ in b.take_results()] == ["r"]


def test_what_followers_acknowledge_is_noted_at_once_and_committed_by_the_next_step(three):
    a, b = three.replicas["a"], three.replicas["b"]
    committed = a.engine.commit_index()
    a.propose("w", b"x")
    ours = a.step(50.0)
    b.deliver("a", next(out.message for out in ours.early if out.peer == "b"))
    theirs = b.step(50.0)
    (ack,) = [out.message for out in theirs.late if out.peer == "a"]
    assert a.answer("b", ack) == []  # while our own disk is busy
    assert not a.wants_step()
    assert a.engine.match_index("b") == a.journal.last_index
    assert a.engine.commit_index() == committed
    a.persisted(ours.batch)
    assert a.wants_step()
    three.turn("a")
    assert a.engine.commit_index() == committed + 1
    assert [ticket for ticket, _ in a.take_results()] == ["w"]
    assert a.answer("c", ack) == []
    assert not a.wants_step()


def test_a_leader_commits_before_its_step_what_its_own_disk_has_too(three):
    a, b = three.replicas["a"], three.replicas["b"]
    committed = a.engine.commit_index()
    a.propose("w", b"x")
    ours = a.step(50.0)
    b.deliver("a", next(out.message for out in ours.early if out.peer == "b"))
    theirs = b.step(50.0)
    (ack,) = [out.message for out in theirs.late if out.peer == "a"]
    assert not a.commit()  # nobody has it yet
    a.answer("b", ack)
    assert not a.commit()  # our own disk is busy
    assert a.engine.commit_index() == committed
    a.persisted(ours.batch)
    assert a.commit()
    assert a.engine.commit_index() == committed + 1
    assert a.take_results() == []
    a.apply()
    assert [ticket for ticket, _ in a.take_results()] == ["w"]
    assert not a.commit()  # nothing is left
    b.persisted(theirs.batch)
    three.turn("a")
    for message in three.letters("a", "b", Append):
        b.deliver("a", message)
    b.step(50.0)
    assert b.engine.apply_is_due()
    assert not b.commit()  # a follower acknowledges first


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.sampled_from(["abc", "a"]))
def test_commands_of_every_size_around_a_batch_s_arrive_whole_and_in_order(offsets, names):
    made = Bench(list(names))
    try:
        made.elect("a", list(names[1:]))
        a = made.replicas["a"]
        limit = sim_config("a").append_bytes_max
        head = len(payload_command(0.0, b""))
        sent = [bytes([n]) * (limit - head - 3 + offset) for n, offset in enumerate(offsets)]
        for payload in [*sent, b"small"]:
            a.propose(payload, payload)
        made.pass_on(list(names), rounds=4 * len(sent) + 8)
        for replica in made.replicas.values():
            log = replica.journal.entries(1, replica.journal.last_index)
            assert [c[head:] for c, _, _ in log if c[0] == PAYLOAD] == [*sent, b"small"]
            assert replica.engine.applied_index() == replica.journal.last_index
    finally:
        use_clock(made.before)


def test_an_acknowledgement_that_opens_a_window_has_the_rest_sent(three):
    a, b = three.replicas["a"], three.replicas["b"]
    for number in range(40):  # more than a window
        a.propose(number, b"x" * 50)
    three.mail.clear()
    three.turn("a")
    first = three.letters("a", "b", Append)
    assert not a.engine.send_is_due()
    for message in first:
        b.deliver("a", message)
    three.turn("b")
    for reply in three.letters("b", "a", AppendReply):
        a.answer("b", reply)
    assert a.engine.send_is_due()
    a.engine.commit_is_due = lambda: False  # not only for what the acknowledgements commit
    assert a.wants_step()
    three.mail.clear()
    three.turn("a")
    assert three.letters("a", "b", Append)


def test_refusals_and_other_terms_wait_for_a_step(three):
    a = three.replicas["a"]
    term = a.engine.term()
    for reply in (
        AppendReply(term=term, seq=1, ok=False, index=1),
        AppendReply(term=term + 1, seq=1, ok=True, index=1),
        AppendReply(term=term - 1, seq=1, ok=True, index=1),
    ):
        assert a.answer("b", reply) is None
    a.transfer("t", "b")
    assert a.answer("b", AppendReply(term=term, seq=1, ok=True, index=1)) is None


def test_only_proposals_make_a_step_wait_for_more(three):
    a = three.replicas["a"]
    assert a.only_proposals() == 0
    a.propose("w", b"x")
    a.propose("v", b"x")
    assert a.only_proposals() == 2
    a.deliver("b", AppendReply(term=1, seq=1, ok=False, index=1))
    assert a.only_proposals() == 0
