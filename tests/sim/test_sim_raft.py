"""The real engine in the simulated world; the controls prove that the world can find its bugs.

`make sim SEED=n` repeats one run of every scenario, `make sim RUNS=n` makes more of them.
"""

import os
import subprocess
import sys

import pytest

from raftstore.raft.engine import RaftEngine
from raftstore.raft.frames import AppendReply
from raftstore.raft.reads import ReadIndex
from raftstore.raft.replica import Replica
from tests.sim.raft_cluster import CUTS, ROUGH, Cluster, Faults, InvariantError
from tests.sim.raft_script import ScriptedCluster
from tests.sim.stock_raft import StockCluster

SLOW_LINKS = Faults(cuts_per_s=1.5, delay_s=(0.005, 0.4))
POWER_CUTS = Faults(cuts_per_s=1.0, crashes_per_s=1.5, power_losses_per_s=0.5)
ECHOES = Faults(power_losses_per_s=0.5, duplicate=0.9, delay_s=(0.001, 0.1), sync_s=(0.0005, 0.002))
CONTROL_SEEDS_MAX = 60


@pytest.mark.sim_runs(70)
def test_no_invariant_breaks_under_cuts(sim_seed):
    Cluster(sim_seed, faults=CUTS).run(2.5)


def test_the_runs_do_something():
    runs = [Cluster(seed, faults=CUTS).run() for seed in range(5)]
    assert sum(len(run.acked) for run in runs) > 500
    assert sum(run.reads_done for run in runs) > 50
    assert sum(run.prompt_answers for run in runs) > 50
    assert sum(len(run.leaders) for run in runs) > 5


@pytest.mark.sim_runs(270)
def test_no_invariant_breaks_under_crashes_and_power_losses(sim_seed):
    Cluster(sim_seed, faults=POWER_CUTS).run(3.0)


@pytest.mark.sim_runs(20)
def test_no_invariant_breaks_when_links_lose_repeat_reorder_and_hold_back(sim_seed):
    Cluster(sim_seed, size=5, faults=ROUGH).run(2.5)


@pytest.mark.sim_runs(170)
def test_no_invariant_breaks_on_slow_links(sim_seed):
    Cluster(sim_seed, faults=SLOW_LINKS).run(3.0)


@pytest.mark.sim_runs(25)
def test_no_invariant_breaks_when_answers_come_twice_during_elections(sim_seed):
    Cluster(sim_seed, size=5, faults=ECHOES).run(2.5)


def test_the_same_seed_gives_the_same_run_under_every_hash_seed():
    program = (
        "from tests.sim.raft_cluster import ROUGH, Cluster\n"
        "print(Cluster(7, size=5, faults=ROUGH, traced=True).run(2.0).trace.hexdigest())\n"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(traces) == 1 and b"" not in traces
    seven, eight = (Cluster(seed, traced=True).run(2.0).trace.digest() for seed in (7, 8))
    assert seven != eight


def test_a_failure_names_its_seed_and_how_to_repeat_it():
    cluster = Cluster(11)
    cluster.after(0.5, lambda: cluster.committed.reverse())
    with pytest.raises(InvariantError, match=r"seed 11 .*make sim SEED=11"):
        cluster.run(3.0)


# -- controls: with one safeguard taken away, or with the released engine, a seed must fail


def first_failure(make, seconds=8.0):
    for seed in range(CONTROL_SEEDS_MAX):
        try:
            make(seed).run(seconds)
        except InvariantError as error:
            return error
    return None


class Barrierless(Cluster):
    barrier = False

    def __init__(self, seed):
        super().__init__(seed, faults=POWER_CUTS)
        self.unsynced = {}


class CutsAlways(RaftEngine):
    """Hazard A1: the log is cut after ``prev`` whether or not there is a conflict."""

    def _take_entries(self, peer, message):
        self._journal.cut_from(message.prev_index + 1)
        for entry in message.entries:
            self._journal.append(entry)
        return True


class Untagged(RaftEngine):
    """Hazard A2: an acknowledgement counts whatever term asked for it."""

    def _reply_is_current(self, reply):
        return True


class CountsVotes(RaftEngine):
    """Hazard A4: answers are counted, whoever gave them."""

    counted = (0, 0)

    def _won_with(self, peer):
        term, count = self.counted
        self.counted = (self.term(), count + 1 if term == self.term() else 2)
        return self.counted[1] > (len(self._peers) + 1) / 2


class Forgetful(Replica):
    """Hazard C5: who asked a leader that was deposed meanwhile is never told."""

    def _notice_leadership(self):
        if not self.engine.leads():
            self._pending.clear()
        super()._notice_leadership()


class AsksOnce(Replica):
    """A round of reads whose probes are lost with their links is not asked again."""

    class Rounds(ReadIndex):
        unconfirmed = False

    def __init__(self, *args):
        super().__init__(*args)
        self.reads = self.Rounds()
        self.engine.on_probe_reply = self.reads.answered


def with_replica(replica, size, faults):
    def make(seed):
        cluster = Cluster(seed, size=size, faults=faults)
        cluster.replica_class = replica
        return cluster

    return make


def with_engine(engine, size, faults):
    return with_replica(type("Weakened", (Replica,), {"engine_class": engine}), size, faults)


def test_control_acknowledging_before_the_disk_loses_entries():
    assert first_failure(Barrierless)


def test_control_cutting_the_log_on_every_append_loses_entries():
    assert first_failure(with_engine(CutsAlways, 3, ROUGH))


def late_acknowledgement(engine):
    """What n1 acknowledged in one term, and lost in the next, arrives in the third."""
    cluster = ScriptedCluster(size=5)
    cluster.replica_class = type("Scripted", (Replica,), {"engine_class": engine})

    def script():
        old, robbed = cluster.nodes["n0"], cluster.nodes["n1"]
        cluster.elect("n0", "01234")
        cluster.pass_on("01234")
        for number in range(4):  # these reach n1 alone, and its answer stays on the way
            cluster.propose(old, b"lost%d" % number)
        cluster.turn_all(["n0"])
        cluster.pass_on("01", rounds=1)
        late = [m for m in cluster.mail if m[:2] == ("n1", "n0") and isinstance(m[2], AppendReply)]
        assert late and late[-1][2].index == robbed.replica.journal.last_index
        cluster.elect("n2", "234")  # whose first entry takes their place on n0
        cluster.relink("n0", "n2")
        cluster.pass_on("02")
        cluster.elect("n0", "034")
        cluster.propose(old, b"only with n3")
        cluster.mail.clear()
        for _, _, message in late:
            cluster.hand_in(old, "n1", message)
        cluster.relink("n0", "n3")
        cluster.pass_on("03")
        cluster.elect("n2", "124")  # who have never had it

    cluster.play(script)
    return cluster


def test_an_acknowledgement_of_another_term_commits_nothing():
    cluster = late_acknowledgement(RaftEngine)
    assert not any(payload.startswith(b"only") for payload in cluster.payloads)


def test_control_counting_acknowledgements_of_another_term_loses_what_is_committed():
    with pytest.raises(InvariantError, match="lacks a committed entry"):
        late_acknowledgement(Untagged)


def test_control_counting_votes_elects_two_leaders():
    assert "two leaders" in str(first_failure(with_engine(CountsVotes, 5, ECHOES), 5.0))


def test_control_a_leader_that_forgets_who_asked_leaves_them_waiting():
    assert "never answers" in str(first_failure(with_replica(Forgetful, 3, CUTS)))


def test_control_a_round_of_reads_that_is_not_asked_again_leaves_them_waiting():
    assert "never answers" in str(first_failure(with_replica(AsksOnce, 3, CUTS), 2.5))


def test_control_the_released_engine_loses_committed_entries_by_cuts_alone(caplog):
    error = first_failure(lambda seed: StockCluster(seed, faults=SLOW_LINKS), 15.0)
    assert "committed" in str(error)
