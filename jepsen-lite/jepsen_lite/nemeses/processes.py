"""Processes die, freeze, starve, or are restarted one after the other."""

from __future__ import annotations

import random
import threading

from jepsen_lite.cluster import Cluster, ClusterError, Node
from jepsen_lite.nemeses.nemesis import Nemesis

_ROLL_WAIT_S = 60.0
#: A starved process runs for the first of these and stands for the second, over and over.
_RUN_S, _STAND_S = 0.02, 0.08


def running(cluster: Cluster) -> list[Node]:
    """The nodes that run."""
    return [node for node in cluster.nodes if node.running]


def minority(cluster: Cluster, rng: random.Random) -> list[Node]:
    """Some running nodes, at least one and never half."""
    count = rng.randint(1, max(1, (len(cluster.nodes) - 1) // 2))
    alive = running(cluster)
    return rng.sample(alive, min(count, len(alive)))


def leader_or_any(cluster: Cluster, rng: random.Random) -> list[Node]:
    """The leader; any running node while there is none."""
    leader = cluster.leader()
    if leader is not None:
        return [leader]
    alive = running(cluster)
    return [rng.choice(alive)] if alive else []


def named(nodes: list[Node]) -> str:
    """Names for people."""
    return " ".join(node.name for node in nodes) or "nobody"


def _kill(cluster: Cluster, victims: list[Node]) -> str:
    for node in victims:
        cluster.kill(node)
    return f"killed {named(victims)}"


def _pause(cluster: Cluster, victims: list[Node]) -> str:
    for node in victims:
        cluster.pause(node)
    return f"froze {named(victims)}"


def _roll(cluster: Cluster, rng: random.Random) -> str:
    """Each node is asked to end and started again, the next one when all agree on a leader."""
    order = rng.sample(cluster.nodes, len(cluster.nodes))
    for node in order:
        if not node.running:
            continue
        try:
            cluster.terminate(node)
        except ClusterError:
            cluster.kill(node)
            return f"{node.name} would not end and was killed"
        cluster.launch(node)
        cluster.wait_for_leader(_ROLL_WAIT_S)
    return f"restarted {named(order)} one after the other"


class _Starving:
    """Stops and continues processes in short turns until it is told to end."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, cluster: Cluster, rng: random.Random) -> str:
        victims = rng.sample(running(cluster), rng.randint(1, max(1, len(running(cluster)))))
        self.end(cluster)
        self._over.clear()
        self._thread = threading.Thread(target=self._starve, args=(cluster, victims), daemon=True)
        self._thread.start()
        return f"a fifth of a processor for {named(victims)}"

    def _starve(self, cluster: Cluster, victims: list[Node]) -> None:
        while not self._over.is_set():
            for node in victims:
                cluster.pause(node)
            self._over.wait(_STAND_S)
            for node in victims:
                cluster.resume(node)
            self._over.wait(_RUN_S)

    def end(self, cluster: Cluster) -> str:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        cluster.heal()
        return "all processors are free"


_starving = _Starving()

KILL = Nemesis(inject=lambda cluster, rng: _kill(cluster, minority(cluster, rng)))
KILL_LEADER = Nemesis(inject=lambda cluster, rng: _kill(cluster, leader_or_any(cluster, rng)))
#: Every node at once: what was acknowledged must be on disk.
KILL_ALL = Nemesis(inject=lambda cluster, _rng: _kill(cluster, running(cluster)))
PAUSE = Nemesis(inject=lambda cluster, rng: _pause(cluster, minority(cluster, rng)))
#: A frozen leader wakes up believing that it still leads.
PAUSE_LEADER = Nemesis(inject=lambda cluster, rng: _pause(cluster, leader_or_any(cluster, rng)))
ROLLING = Nemesis(inject=_roll)
STARVE = Nemesis(inject=_starving.begin, heal=_starving.end)
