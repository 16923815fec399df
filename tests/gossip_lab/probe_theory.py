"""A check of the simulation itself: how often a probe of a live member fails under pure loss.

With packets delivered with probability q independently, a direct round trip succeeds with q**2 and
one through a helper with q**4, so a probe with k helpers fails with (1 - q**2) * (1 - q**4)**k
(A. Das, I. Gupta, A. Motivala, SWIM, DSN 2002, section 3.1, per probe instead of per period).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.gossip_lab.ring import Ring


@dataclass(frozen=True, slots=True)
class ProbeFailures:
    """Measured against the formula."""

    delivered: float
    helpers: int
    probes: int
    failed: int

    @property
    def expected(self) -> float:
        q, k = self.delivered, self.helpers
        return (1 - q**2) * (1 - q**4) ** k

    @property
    def measured(self) -> float:
        return self.failed / self.probes

    @property
    def standard_errors(self) -> float:
        """How far apart the two are."""
        spread = math.sqrt(self.expected * (1 - self.expected) / self.probes)
        return (self.measured - self.expected) / spread


def failures(
    seed: int, delivered: float, helpers: int, *, size: int = 100, seconds: float = 60.0
) -> ProbeFailures:
    """Probes of a ring in which nobody dies and nobody is declared dead."""
    ring = Ring(
        seed,
        size,
        loss=1.0 - delivered,
        tcp_pings=False,
        indirect_checks=helpers,
        suspicion_mult=1000,  # nobody is declared dead meanwhile
        gossip_interval_s=1e6,  # suspicions ride on probes only; they do not matter here
        push_pull_interval_s=0.0,
        lha_probe=False,
        lha_suspicion=False,
        buddy_system=False,
    )
    ring.run(seconds)
    stats = [member.stats for member in ring.members.values()]
    running = sum(member.core.swim.probing for member in ring.members.values())
    probes = sum(s.probes for s in stats) - running
    return ProbeFailures(delivered, helpers, probes, sum(s.probe_failures for s in stats))
