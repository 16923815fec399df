"""Archives restored through the log while servers crash, come and go, and logs are trimmed.

`make sim SEED=n` repeats one run of every scenario, `make sim RUNS=n` makes more of them.
"""

import pytest

from raftstore.state.staging import Staging
from tests.sim.raft_archives import ArchiveCluster
from tests.sim.raft_cluster import Faults, InvariantError
from tests.sim.raft_operators import Operators

ROUGH = Faults(cuts_per_s=0.4, crashes_per_s=0.6, power_losses_per_s=0.1)
RESTORES = Operators(
    restores_per_s=2.0, changes_per_s=1.0, transfers_per_s=0.5, jumps_per_s=0.15, stalls_per_s=0.2
)
CONTROL_SEEDS_MAX = 60


def restored(seed):
    return ArchiveCluster(seed, faults=ROUGH, operators=RESTORES).run(3.0)


@pytest.mark.sim_runs(20)
def test_an_archive_is_in_force_on_all_servers_at_one_entry_or_on_none(sim_seed):
    restored(sim_seed)


def test_the_runs_do_something():
    runs = [restored(seed) for seed in range(1, 13)]
    assert sum(run.model.swaps for run in runs) >= 4
    assert sum(run.parts_lost for run in runs) >= 10
    assert sum(run.installed for run in runs) >= 3
    assert sum(run.restored for run in runs) >= 8
    assert sum(run.wholes_compared for run in runs) >= 100


# -- controls: with one safeguard taken away a seed must fail


def first_failure(first):
    """Begins a little before one that failed when this was written: the earlier ones cost time."""
    for seed in range(first, first + CONTROL_SEEDS_MAX):
        try:
            restored(seed)
        except InvariantError as error:
            return str(error)
    return ""


def test_control_a_snapshot_without_the_parts_that_are_staged_is_noticed(monkeypatch):
    rows = Staging.rows
    monkeypatch.setattr(Staging, "rows", lambda self: rows(self)[:-1] or rows(self))
    error = first_failure(8)
    assert "has another state than others" in error or "has other keys than the model" in error


def test_control_an_archive_that_is_put_in_force_though_a_part_is_missing_is_noticed(monkeypatch):
    monkeypatch.setattr(Staging, "problem", lambda self, parts, sha256: "")
    assert "other keys than the model" in first_failure(17)
