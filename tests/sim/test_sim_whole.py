"""Snapshots and trimming under operators, leases, slow disks and lost ones, all at once.

`make sim SEED=n` repeats one run of every scenario, `make sim RUNS=n` makes more of them.
"""

import pytest

from tests.sim.raft_operators import Operators
from tests.sim.raft_whole import WholeCluster
from tests.sim.test_sim_operators import CHANGES, EVERYTHING, LOST_DISKS, ROUGH_ALL, ROUGH_CHANGES

STALLS = Operators(transfers_per_s=1.0, stalls_per_s=0.8, lease=True, rate_spread=0.03)


@pytest.mark.sim_runs(25)
def test_no_invariant_breaks_while_servers_come_and_go_and_logs_are_trimmed(sim_seed):
    WholeCluster(sim_seed, faults=ROUGH_CHANGES, operators=CHANGES).run(2.5)


@pytest.mark.sim_runs(25)
def test_no_invariant_breaks_when_everything_goes_wrong_at_once(sim_seed):
    WholeCluster(sim_seed, faults=ROUGH_ALL, operators=EVERYTHING).run(2.5)


@pytest.mark.sim_runs(25)
def test_no_invariant_breaks_when_empty_disks_are_filled_from_snapshots(sim_seed):
    WholeCluster(sim_seed, spares=0, faults=ROUGH_ALL, operators=LOST_DISKS).run(3.0)


@pytest.mark.sim_runs(25)
def test_no_invariant_breaks_when_leaders_hand_over_while_disks_stall(sim_seed):
    WholeCluster(sim_seed, spares=0, faults=ROUGH_ALL, operators=STALLS).run(2.5)


def test_the_runs_do_something():
    runs = [
        WholeCluster(seed, faults=ROUGH_CHANGES, operators=CHANGES).run(2.5) for seed in range(10)
    ]
    runs += [
        WholeCluster(seed, spares=0, faults=ROUGH_ALL, operators=LOST_DISKS).run(3.0)
        for seed in range(10)
    ]
    stalls = [
        WholeCluster(seed, spares=0, faults=ROUGH_ALL, operators=STALLS).run(2.5)
        for seed in range(10)
    ]
    assert sum(run.changes_done for run in runs) > 10
    assert sum(run.installed for run in runs) > 8
    assert sum(run.trimmed > 20 for run in runs) > 4
    assert sum(run.disks_replaced for run in runs) > 2
    assert sum(run.disk_step_downs for run in stalls) >= 2
    assert sum(run.transfers_done for run in stalls) >= 2
