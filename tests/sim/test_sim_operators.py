"""Membership, transfer, leases, clocks and disks in the simulated world, and controls for each.

`make sim SEED=n` repeats one run of every scenario, `make sim RUNS=n` makes more of them.
"""

import pytest

from raftstore.raft.engine import RaftEngine
from raftstore.raft.lease import Lease
from raftstore.raft.replica import Replica
from tests.sim.raft_cluster import Faults, InvariantError
from tests.sim.raft_operators import OperatedCluster, Operators

SMOOTH = Faults()
CHANGES = Operators(changes_per_s=3, transfers_per_s=0.7, coups_per_s=0.3)
LEASES = Operators(
    lease=True,
    corners_per_s=0.5,
    transfers_per_s=0.5,
    orphan=0.5,
    jumps_per_s=0.5,
    rate_spread=0.03,
)
EVERYTHING = Operators(
    changes_per_s=2,
    transfers_per_s=0.5,
    lease=True,
    rate_spread=0.03,
    jumps_per_s=0.6,
    stalls_per_s=0.3,
)
LOST_DISKS = Operators(losses_per_s=1.0, transfers_per_s=0.3, lease=True, rate_spread=0.03)
ROUGH_CHANGES = Faults(cuts_per_s=1.0, crashes_per_s=0.4)
ROUGH_ALL = Faults(cuts_per_s=0.8, crashes_per_s=0.3, power_losses_per_s=0.1)
CONTROL_SEEDS_MAX = 60


@pytest.mark.sim_runs(45)
def test_no_invariant_breaks_while_servers_come_and_go(sim_seed):
    OperatedCluster(sim_seed, faults=SMOOTH, operators=CHANGES).run(2.0)


@pytest.mark.sim_runs(75)
def test_no_invariant_breaks_while_servers_come_and_go_and_crash(sim_seed):
    OperatedCluster(sim_seed, faults=ROUGH_CHANGES, operators=CHANGES).run(2.5)


@pytest.mark.sim_runs(80)
def test_no_lease_serves_an_old_value(sim_seed):
    OperatedCluster(sim_seed, spares=0, faults=SMOOTH, operators=LEASES).run(2.5)


@pytest.mark.sim_runs(80)
def test_no_invariant_breaks_when_everything_goes_wrong_at_once(sim_seed):
    OperatedCluster(sim_seed, faults=ROUGH_ALL, operators=EVERYTHING).run(2.5)


@pytest.mark.sim_runs(40)
def test_no_invariant_breaks_when_servers_come_back_with_an_empty_disk(sim_seed):
    OperatedCluster(sim_seed, spares=0, faults=ROUGH_ALL, operators=LOST_DISKS).run(3.0)


def test_servers_that_lost_their_disk_vote_again_in_the_end():
    runs = [
        OperatedCluster(seed, spares=0, faults=SMOOTH, operators=LOST_DISKS).run(3.0)
        for seed in range(1, 6)
    ]
    assert sum(run.disks_lost for run in runs) >= 3
    assert sum(run.disks_replaced for run in runs) >= 3
    for run in runs:
        assert run.run_until(run.now + 20, lambda run=run: len(run.last_config[1].voters) == 3)


def test_the_runs_do_something():
    runs = [
        OperatedCluster(seed, faults=ROUGH_ALL, operators=EVERYTHING).run() for seed in range(1, 25)
    ]
    assert sum(run.changes_done for run in runs) >= 8
    assert sum(run.transfers_done for run in runs) >= 3
    assert sum(run.disk_step_downs for run in runs) >= 1
    assert sum(n.replica.lease_reads for run in runs for n in run.members()) > 10
    assert any({n.name for n in run.members()} != set(run.founders) for run in runs)


# -- controls


def first_failure(
    seconds=4.0,
    *,
    first=0,
    engine=RaftEngine,
    lease=Lease,
    counts_sleep=True,
    cluster=None,
    **world,
):
    make = cluster or OperatedCluster

    class Weakened(Replica):
        engine_class = engine

        def __init__(self, *args):
            super().__init__(*args)
            self.lease = lease(self.lease._length_s)
            self.engine.on_lease_reply = self.lease.answered

    for seed in range(first, first + CONTROL_SEEDS_MAX):
        cluster = make(seed, **world)
        cluster.replica_class = Weakened
        if not counts_sleep:
            cluster.boot_clock_of = cluster.clock_of
        try:
            cluster.run(seconds)
        except InvariantError as error:
            return str(error)
    return ""


class Unguarded(RaftEngine):
    """Configurations follow each other before the one before is committed."""

    def may_change(self):
        return self.leads()


class Disloyal(RaftEngine):
    """Hazard A7: votes for anybody, whether or not a leader is heard."""

    def _loyal(self):
        return self.leads()


class Stubborn(Lease):
    """Keeps what was promised before an election was ordered."""

    def revoke(self):
        pass


def test_control_configurations_that_overtake_each_other_break_the_cluster():
    operators = Operators(coups_per_s=0.5)
    assert "committed" in first_failure(engine=Unguarded, faults=SMOOTH, operators=operators)


def test_control_a_lease_on_voters_that_are_not_loyal_reads_old_values():
    operators = Operators(lease=True, corners_per_s=0.7)
    world = {"spares": 0, "faults": SMOOTH, "operators": operators}
    assert "stale read" in first_failure(engine=Disloyal, first=78, **world)


def test_control_a_lease_that_outlives_an_ordered_election_reads_old_values():
    operators = Operators(lease=True, transfers_per_s=1, orphan=0.7)
    world = {"spares": 0, "faults": SMOOTH, "operators": operators}
    assert "stale read" in first_failure(lease=Stubborn, **world)


def test_control_a_lease_on_a_clock_that_sleeps_with_the_machine_reads_old_values():
    operators = Operators(lease=True, jumps_per_s=1)
    world = {"spares": 0, "faults": SMOOTH, "operators": operators}
    assert "stale read" in first_failure(counts_sleep=False, first=40, **world)


class Trusting(RaftEngine):
    """Whoever answers under the name of a member counts as that member."""

    def counts(self, node_id):
        return True

    def disks(self):
        return {}


class LosesOne(OperatedCluster):
    def all_disks_noted(self):
        return self.disks_lost == 0 and self.last_config is not None


def test_control_a_server_whose_disk_was_lost_must_not_count_as_having_promised():
    operators = Operators(losses_per_s=1.0)
    world = {"spares": 0, "faults": SMOOTH, "operators": operators}
    assert "lacks a committed entry" in first_failure(
        5.0, first=25, engine=Trusting, cluster=LosesOne, **world
    )
