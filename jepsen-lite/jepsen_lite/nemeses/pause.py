"""Agents freeze, as under a stopped virtual machine or a long pause of the host, and thaw."""

from __future__ import annotations

import random

from jepsen_lite.cluster import Cluster


class Pause:
    """Freezes one random node; a frozen leader wakes up believing that it still leads."""

    def inject(self, cluster: Cluster, rng: random.Random) -> str:
        running = [node for node in cluster.nodes if node.running]
        if not running:
            return "nobody left to pause"
        victim = rng.choice(running)
        cluster.pause(victim)
        return f"paused {victim.name}"

    def heal(self, cluster: Cluster) -> str:
        cluster.heal()
        return "resumed what was frozen"
