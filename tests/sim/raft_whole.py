"""Operators, clocks and disks together with snapshots and trimming, in one simulated cluster."""

from __future__ import annotations

from typing import Any

from tests.sim.raft_cluster import Faults
from tests.sim.raft_operators import OperatedCluster, Operators
from tests.sim.raft_snapshots import SnapCluster, SnapDisk


class WholeCluster(OperatedCluster, SnapCluster):
    """A run in which everything may happen that the two make happen."""

    takes_per_s = 4.0

    def __init__(
        self, seed: int, *, size: int = 3, spares: int = 2, faults: Faults, operators: Operators
    ) -> None:
        super().__init__(seed, size=size, spares=spares, faults=faults, operators=operators)
        for node in self.nodes.values():
            node.disk = SnapDisk()

    def new_disk(self) -> Any:
        return SnapDisk()
