"""The handlers one by one: each hazard of the stock engine, and that ours does not have it."""

import random

import pytest

from raftstore.raft.engine import RaftEngine, SafetyViolation
from raftstore.raft.frames import (
    Append,
    AppendReply,
    SnapshotOffer,
    VoteReply,
    VoteRequest,
)
from raftstore.raft.log import NOOP_COMMAND, MemJournal, payload_command
from raftstore.raft.members import bootstrap_config
from raftstore.raft.replica import Replica
from raftstore.raft.stock import use_clock
from tests.sim.raft_cluster import sim_config

X = payload_command(1.0, b"x")


class Bench:
    """Replicas whose every message is delivered by hand, under a clock moved by hand."""

    def __init__(self, names, engine_class=RaftEngine):
        self.now = 1000.0
        self.before = use_clock(lambda: self.now)
        self.mail = []
        self.committed = []
        record = bootstrap_config(dict.fromkeys(names, "")).encode()
        weak = type("Weak", (Replica,), {"engine_class": engine_class})
        self.replicas = {}
        for name in names:
            self.replicas[name] = weak(
                sim_config(name), MemJournal(), lambda i, s, p: p, random.Random(1)
            )
            self.replicas[name].bootstrap(record)
        for name, replica in self.replicas.items():
            for other in names:
                if other != name:
                    replica.engine.connected(other)
            self.turn(name)
        self.mail.clear()

    def turn(self, name):
        replica = self.replicas[name]
        work = replica.step(self.now)
        replica.apply()
        if work.batch:
            replica.persisted(work.batch)
        self.mail += [(name, *out) for out in (*work.early, *work.late)]

    def pass_on(self, names, rounds=6):
        """Deliver mail among ``names`` until it is quiet; mail to others is dropped."""
        for _ in range(rounds):
            mail, self.mail = self.mail, []
            for source, target, message in mail:
                if source in names and target in names:
                    self.replicas[target].deliver(source, message)
            for name in names:
                self.turn(name)

    def elect(self, name, voters, *, settle=True):
        """Make one lead; unless it may settle, its first appends stay in the mail."""
        self.now += 5.0
        self.replicas[name].engine.leader_lost(name)
        self.replicas[name].engine._SyncObj__raftElectionDeadline = 0.0
        for other in voters:  # the others' timers are not due
            self.replicas[other].engine._SyncObj__raftElectionDeadline = self.now + 100
        self.mail.clear()
        self.turn(name)
        for _ in range(10):
            if self.replicas[name].engine.leads():
                break
            if not self.mail:  # refused for an old term, which it has learnt now: again
                self.replicas[name].engine._SyncObj__raftElectionDeadline = 0.0
                self.turn(name)
            self.pass_on([name, *voters], rounds=1)
        if settle:
            self.pass_on([name, *voters])
        assert self.replicas[name].engine.leads()

    def letters(self, source, target, kind):
        return [m for s, t, m in self.mail if (s, t) == (source, target) and isinstance(m, kind)]

    def send_all(self, source, target, message):
        """One message, handled at once; everything said upon it."""
        self.mail.clear()
        self.replicas[target].deliver(source, message)
        self.turn(target)
        return list(self.mail)

    def send(self, source, target, message):
        """One message, handled at once; the answers to its sender."""
        return [m for _, t, m in self.send_all(source, target, message) if t == source]


@pytest.fixture
def bench():
    benches = []

    def make(names="abc", engine_class=RaftEngine):
        benches.append(Bench(list(names), engine_class))
        return benches[-1]

    yield make
    for one in reversed(benches):
        use_clock(one.before)


def append(prev, prev_term, entries=(), *, term=1, commit=1, seq=1):
    rows = tuple((command, prev + 1 + i, t) for i, (command, t) in enumerate(entries))
    return Append(
        term=term, seq=seq, prev_index=prev, prev_term=prev_term, commit=commit, entries=rows
    )


def test_a_repeated_append_removes_nothing(bench):  # hazard A1
    b = bench()
    long = append(1, 0, [(NOOP_COMMAND, 1), (X, 1), (X, 1)], commit=4)
    assert b.send("a", "b", long)[-1].index == 4
    (reply,) = b.send("a", "b", append(1, 0, [(NOOP_COMMAND, 1)], commit=4))
    assert reply.ok and reply.index == 2  # what this message has verified, and no more
    assert b.replicas["b"].journal.last_index == 4
    assert b.replicas["b"].engine.commit_index() == 4


def test_a_heartbeat_commits_no_more_than_it_verifies(bench):  # hazard A1, second half
    b = bench()
    b.send("a", "b", append(1, 0, [(NOOP_COMMAND, 1), (X, 1)]))
    b.send("c", "b", append(1, 0, (), term=2, commit=3))  # c's log may differ after 1
    assert b.replicas["b"].engine.commit_index() == 1


def test_only_a_conflict_cuts_the_log_and_only_from_there(bench):
    b = bench()
    b.send("a", "b", append(1, 0, [(NOOP_COMMAND, 1), (X, 1), (X, 1)], commit=2))
    b.send("c", "b", append(2, 1, [(NOOP_COMMAND, 2)], term=2, commit=2))
    journal = b.replicas["b"].journal
    assert (journal.last_index, journal.last_term) == (3, 2)
    assert b.replicas["b"].engine.stats.conflict_entries_cut == 2


def test_a_conflict_with_a_committed_entry_stops_the_node(bench):
    b = bench()
    b.send("a", "b", append(1, 0, [(NOOP_COMMAND, 1), (X, 1)], commit=3))
    with pytest.raises(SafetyViolation):
        b.send("c", "b", append(1, 0, [(NOOP_COMMAND, 2)], term=2))


def test_a_stranger_cannot_end_a_process(bench):
    """Who may bring a newer configuration is let in, and may lie."""
    b = bench()
    b.elect("a", ["b", "c"])
    a, follower = b.replicas["a"], b.replicas["b"]
    term = a.engine.term()
    for name in "ab":  # neither a second leader of the term, nor a conflict with what is committed
        assert b.send("x", name, append(1, 0, [(X, term)], term=term)) == []
        offer = SnapshotOffer(term=term, index=9, index_term=1, size=9, sha256=bytes(32))
        assert b.send("x", name, offer) == []
    assert a.engine.leads() and follower.engine.leader_id() == "a"
    assert a.engine.commit_index() == 2
    assert b.send("x", "a", append(1, 0, [(NOOP_COMMAND, term + 1)], term=term + 1)) == []
    assert a.journal.last_index == 2 and a.engine.stats.strangers_dropped == 3
    b.elect("a", ["b", "c"])
    with pytest.raises(SafetyViolation):  # a member that does this has broken Raft
        b.send("c", "a", append(1, 0, term=a.engine.term()))


class BelievesOldTerms(RaftEngine):
    def _reply_is_current(self, reply):
        return True


def commits_by_an_old_acknowledgement(b):
    """Hazard A2: an answer of the leader's first term arrives in its second."""
    b.elect("a", ["d", "e"], settle=False)
    a = b.replicas["a"]
    (first,) = [reply for m in b.letters("a", "b", Append) for reply in b.send("a", "b", m)]
    a.propose("t", b"will be overwritten")
    (written,) = [m for m in b.send_all("b", "a", first) if m[1] == "b"]
    (held,) = b.send("a", "b", written[2])
    assert held.ok and held.index == 3
    b.elect("c", ["d", "e"])
    for names in ("cde", "abcde"):  # what was lost to a and b is sent again after a while
        b.now += 0.6
        b.pass_on(names)
    assert b.replicas["b"].journal.last_index == 2  # what it acknowledged is gone, rightly
    b.elect("a", ["d", "e"], settle=False)
    (noop,) = b.letters("a", "d", Append)
    (answer,) = b.send("a", "d", noop)
    a.deliver("d", answer)
    a.deliver("b", held)
    b.turn("a")
    # Two of five hold entry 3: d and a itself.
    assert [r.journal.last_index for r in b.replicas.values()] == [3, 2, 2, 3, 2]
    return a.engine.commit_index() >= 3


def test_an_old_acknowledgement_does_not_count_in_a_later_term(bench):
    assert not commits_by_an_old_acknowledgement(bench("abcde"))


def test_control_without_the_term_tag_an_old_acknowledgement_commits(bench):
    assert commits_by_an_old_acknowledgement(bench("abcde", BelievesOldTerms))


def test_a_refusal_never_moves_sending_below_the_known_match(bench):  # hazard A3
    b = bench()
    b.elect("a", ["b"])
    a = b.replicas["a"].engine
    match = a.match_index("b")
    assert match == 2
    refusal = AppendReply(term=a.term(), seq=10**6, ok=False, index=1)
    b.send("b", "a", refusal)
    assert a._progress["b"].next_index == match + 1


def test_one_voter_answering_twice_elects_nobody(bench):  # hazard A4
    b = bench("abcde")
    a = b.replicas["a"]
    a.engine._SyncObj__raftElectionDeadline = 0.0
    a.engine._cleared_term = a.engine.term()
    b.turn("a")
    assert a.engine.role() == "candidate"
    for source in ("b", "b", "b", "stranger"):
        b.send(source, "a", VoteReply(a.engine.term(), True))
    assert a.engine.role() == "candidate"
    b.send("c", "a", VoteReply(a.engine.term(), True))
    assert a.engine.role() == "leader"


def test_a_repeated_vote_request_gets_the_same_answer_and_others_a_refusal(bench):  # hazard A5
    b = bench()
    request = VoteRequest(term=3, last_index=1, last_term=0, transfer=False)
    for _ in range(2):
        assert b.send("a", "b", request) == [VoteReply(3, True)]
    assert b.send("c", "b", request) == [VoteReply(3, False)]
    older = VoteRequest(term=2, last_index=1, last_term=0, transfer=False)
    assert b.send("c", "b", older) == [VoteReply(3, False)]


def test_a_deposed_leader_learns_of_the_new_term_from_a_refusal(bench):  # hazard A5
    b = bench()
    b.elect("a", ["b"])
    b.send("a", "c", append(1, 0, (), term=1))
    b.replicas["c"].engine._new_term(7)
    (refusal,) = b.send("a", "c", append(1, 0, (), term=1))
    assert not refusal.ok and refusal.term == 7
    b.send("c", "a", refusal)
    assert not b.replicas["a"].engine.leads()


def test_a_voter_that_hears_a_leader_keeps_term_and_vote(bench):  # hazard A7
    b = bench()
    b.send("a", "b", append(1, 0, (), term=1))
    request = VoteRequest(term=9, last_index=99, last_term=8, transfer=False)
    assert b.send("c", "b", request) == [VoteReply(1, False)]
    b.now += 1.5
    assert b.send("c", "b", request) == [VoteReply(9, True)]


def test_a_partitioned_node_does_not_raise_the_term(bench):  # hazard A7
    b = bench()
    b.elect("a", ["b"])
    term = b.replicas["a"].engine.term()
    for _ in range(20):
        b.now += 3.0
        b.turn("c")
    assert b.replicas["c"].engine.term() <= term


def test_a_leader_without_answers_steps_down_within_the_election_timeout(bench):  # hazard A6
    b = bench()
    b.elect("a", ["b"])
    b.now += 1.1
    b.turn("a")
    assert not b.replicas["a"].engine.leads()


def test_a_vote_and_an_acknowledgement_wait_for_the_disk(bench):  # persist before send
    b = bench()
    replica = b.replicas["b"]
    replica.deliver("a", append(1, 0, [(NOOP_COMMAND, 1)]))
    work = replica.step(b.now)
    assert work.batch is not None and not work.early
    assert [type(message) for _, message in work.late] == [AppendReply]
    replica.persisted(work.batch)
    b.now += 5
    replica.deliver("c", VoteRequest(term=5, last_index=9, last_term=5, transfer=False))
    work = replica.step(b.now)
    assert work.batch is not None and work.batch.state.vote == "c"
    assert VoteReply(5, True) in [message for _, message in work.late]


def test_applying_never_passes_what_is_on_disk(bench):
    b = bench()
    replica = b.replicas["b"]
    replica.deliver("a", append(1, 0, [(NOOP_COMMAND, 1), (X, 1)], commit=3))
    work = replica.step(b.now)
    replica.apply()  # beside the write
    assert replica.engine.commit_index() == 3
    assert replica.engine.applied_index() == 1
    replica.persisted(work.batch)
    assert replica.wants_step()
    replica.apply()
    assert replica.engine.applied_index() == 3


def test_a_long_lagging_log_is_sent_within_the_window(bench):  # hazard F3
    b = bench()
    b.elect("a", ["b"])
    a = b.replicas["a"]
    for n in range(40):
        a.propose(n, b"x" * 20)
    b.mail.clear()
    b.turn("a")
    sizes = [len(m.entries) for s, t, m in b.mail if t == "b" and isinstance(m, Append)]
    assert 0 < len(sizes) <= 4 and max(sizes) <= 4


def test_the_stock_ways_to_change_the_engine_are_closed(bench):
    engine = bench().replicas["a"].engine
    for call in (engine._applyCommand, engine.addNodeToCluster, engine.setCodeVersion):
        with pytest.raises(RuntimeError):
            call(b"x", None)
