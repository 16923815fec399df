"""A simulated cluster in which nothing happens by chance: an adversary with a plan.

Messages wait until the script delivers them, timers run out when it says so. For attacks that take
so many steps in the right order that dice do not find them. The invariants are those of every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from raftstore.raft.stock import use_clock
from tests.sim.raft_cluster import Cluster, Faults, Node

#: Longer than any timer of an election.
LONG_S = 5.0


class ScriptedCluster(Cluster):
    """Servers n0, n1, ..., all started."""

    def __init__(self, *, size: int) -> None:
        super().__init__(1, size=size, faults=Faults(slow_sync=0.0))
        self.mail: list[tuple[str, str, Any]] = []

    def play(self, script: Callable[[], None]) -> None:
        """Start all and run a script under this cluster's clock. Raises InvariantError."""
        before = use_clock(lambda: self.now)
        try:
            for node in self.nodes.values():
                self.start(node)
            script()
        finally:
            use_clock(before)

    def tick(self, node: Node, life: int) -> None:
        """No timer runs by itself."""

    def send(self, source: str, target: str, message: Any) -> None:
        self.mail.append((source, target, message))

    def turn_all(self, names: Iterable[str]) -> None:
        for name in names:
            self.step(self.nodes[name])
        self.run_until(self.now + 0.05)  # writes to the disk end

    def pass_on(self, names: str, *, rounds: int = 6) -> None:
        """Deliver what these servers ("012") have for each other; all else is lost."""
        group = [f"n{digit}" for digit in names]
        for _ in range(rounds):
            mail, self.mail = self.mail, []
            for source, target, message in mail:
                if source in group and target in group:
                    self.hand_in(self.nodes[target], source, message)
            self.turn_all(group)

    def elect(self, name: str, voters: str) -> None:
        """One of ``voters`` campaigns, and wins with the others; its first appends wait."""
        self.now += LONG_S
        self.mail.clear()
        for digit in voters:
            engine = self.nodes[f"n{digit}"].replica.engine
            engine._SyncObj__raftElectionDeadline = self.now + LONG_S
        candidate = self.nodes[name]
        for _ in range(3):  # refused for an old term, it learns that and asks again
            candidate.replica.engine._SyncObj__raftElectionDeadline = 0.0
            self.turn_all([name])
            for _ in range(4):
                self.pass_on(voters, rounds=1)
                if self.leads(candidate):
                    return
        raise AssertionError(f"{name} was not elected")
