"""Snapshots in the simulated world: crashes and losses at every phase, on both sides.

`make sim SEED=n` repeats one run of every scenario, `make sim RUNS=n` makes more of them.
"""

import pytest

from raftstore.raft.engine import RaftEngine
from raftstore.raft.replica import Replica
from tests.sim.raft_cluster import CUTS, ROUGH, Faults, InvariantError
from tests.sim.raft_snapshots import SnapCluster

CRASHES = Faults(cuts_per_s=1.0, crashes_per_s=1.5, power_losses_per_s=0.3)
CONTROL_SEEDS_MAX = 60


class Eager(SnapCluster):
    takes_per_s = 5.0


@pytest.mark.sim_runs(6)
def test_no_invariant_breaks_under_cuts(sim_seed):
    SnapCluster(sim_seed, faults=CUTS).run(4.0)


@pytest.mark.sim_runs(15)
def test_no_invariant_breaks_under_crashes_and_power_losses(sim_seed):
    Eager(sim_seed, faults=CRASHES).run(4.0)


@pytest.mark.sim_runs(6)
def test_no_invariant_breaks_when_links_lose_repeat_reorder_and_hold_back(sim_seed):
    Eager(sim_seed, size=5, faults=ROUGH).run(3.0)


def test_the_runs_do_something():
    runs = [Eager(seed, faults=CRASHES).run() for seed in range(16)]
    assert sum(run.taken for run in runs) > 100
    assert sum(run.installed for run in runs) > 5
    assert sum(run.restored for run in runs) > 20
    assert sum(run.trimmed > 20 for run in runs) > 2


# -- controls: with one safeguard taken away a seed must fail


def first_failure(make, seconds=8.0, *, first=0):
    for seed in range(first, first + CONTROL_SEEDS_MAX):
        try:
            make(seed).run(seconds)
        except InvariantError as error:
            return error
    return None


class PointsEarly(Eager):
    """The journal points to a file that is not on disk yet."""

    def sealed(self, node, life, name, data):
        if node.life != life:
            return
        super().sealed(node, life, name, data)
        data = node.disk.files.pop(name)

        def arrive():
            if node.life == life:
                node.disk.files[name] = data

        self.after(self.rng.uniform(0.0, 0.3), arrive)


class Forgetful(RaftEngine):
    """After an install the old state goes on as if it were the new one."""

    def install(self, pointer, config, stamp):
        super().install(pointer, config, stamp)
        self._SyncObj__raftLastApplied = pointer.index - 1


class ForgetfulReplica(Replica):
    engine_class = Forgetful


class Repeats(Eager):
    replica_class = ForgetfulReplica


def test_control_a_pointer_that_is_ahead_of_its_file_is_noticed():
    error = first_failure(lambda seed: PointsEarly(seed, faults=CRASHES))
    assert "points to a snapshot that is not there" in str(error)


def test_control_an_entry_applied_over_the_snapshot_that_holds_it_is_noticed():
    assert first_failure(lambda seed: Repeats(seed, faults=CRASHES))


class TrimsFirst(Eager):
    """The log is trimmed in a write of its own, before the one that sets the pointer."""

    def crash(self, node):
        if node.replica is not None and node.writing is not None:
            first = node.writing.batch.state.first_index
            node.disk.log = {index: e for index, e in node.disk.log.items() if index > first}
            node.writing = None
        super().crash(node)


def test_control_a_log_that_is_trimmed_before_its_snapshot_counts_is_noticed():
    error = first_failure(lambda seed: TrimsFirst(seed, faults=CRASHES), first=31)
    assert "missing from a log" in str(error)
