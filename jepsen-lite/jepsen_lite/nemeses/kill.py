"""Agents die without warning and come back with the data they had."""

from __future__ import annotations

import random

from jepsen_lite.cluster import Cluster, Node


class Kill:
    """Kills a random minority, at least one node."""

    def inject(self, cluster: Cluster, rng: random.Random) -> str:
        running = [node for node in cluster.nodes if node.running]
        count = rng.randint(1, max(1, (len(cluster.nodes) - 1) // 2))
        return _kill(cluster, rng.sample(running, min(count, len(running))))

    def heal(self, cluster: Cluster) -> str:
        cluster.heal()
        return "restarted what was down"


class KillAll(Kill):
    """Kills every node at once: what was acknowledged must be on disk."""

    def inject(self, cluster: Cluster, rng: random.Random) -> str:
        return _kill(cluster, [node for node in cluster.nodes if node.running])


def _kill(cluster: Cluster, victims: list[Node]) -> str:
    for node in victims:
        cluster.kill(node)
    return "killed " + " ".join(node.name for node in victims)
