"""A healthy member that stalls for a moment and is accused, in a ring of both kinds of agents.

The ring of `tests/gossip/test_interop_rings.py`: three members by the reference's rules and three
of ours, full exchanges every second from ours, one of each kind crashes. Whom the living call dead.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from gossip.config import GossipConfig
from tests.gossip_lab.disasters import REFERENCE
from tests.sim.gossip_net import SimNet

OURS, THEIRS = ("n0", "n1", "n2", "n-killed"), ("s0", "s1", "s2", "s-killed")
VICTIM = "s0"
PROFILES = {"local": GossipConfig.local, "lan": GossipConfig.lan}


@dataclass(slots=True)
class Accused:
    """Sums over the rings."""

    rings: int
    suspected: int = 0
    """Rings in which somebody suspected it."""
    called_dead: int = 0
    """Rings in which one of ours held it for dead."""
    by_ours_first: int = 0
    """Of these: the first one whose suspicion ran out was one of ours."""


def accused(seed: int, rings: int, told: bool, profile: str, stall_s: float) -> Accused:
    """``profile`` is that of the reference's members, ``stall_s`` how long the victim stands
    still."""
    found = Accused(rings)
    for run in range(rings):
        said = _about_the_victim(_one(f"{seed}-{run}", told, profile, stall_s))
        found.suspected += any(state == "SUSPECT" for _, state, _ in said)
        ends = [(who, cause) for who, state, cause in said if state == "DEAD"]
        if any(who in OURS for who, _ in ends):
            found.called_dead += 1
            found.by_ours_first += next(w for w, cause in ends if "ran out" in cause) in OURS
    return found


def _about_the_victim(trace: list[str]) -> list[tuple[str, str, str]]:
    """Who changed its mind about it, to what, and why."""
    lines = [line.split(maxsplit=5) for line in trace]
    return [(line[1], line[2], line[5]) for line in lines if len(line) > 5 and line[3] == VICTIM]


def _one(seed: str, told: bool, profile: str, stall_s: float) -> list[str]:
    dice = random.Random(seed)
    net = SimNet(int(dice.random() * 1e9), checks=False)
    ours = GossipConfig.local(
        "n0", suspects_told=told, probe_interval_s=0.5, probe_timeout_s=0.3,
        gossip_interval_s=0.05, push_pull_interval_s=1.0, suspicion_mult=4, retransmit_mult=4,
    )  # fmt: skip
    theirs = PROFILES[profile]("s0", **REFERENCE)
    for name in (*OURS, *THEIRS):
        net.add(name, dataclasses.replace(ours if name in OURS else theirs, name=name))
        if name != "n0":
            net.join(name, "n0")
    assert net.run(60.0, net.converged) is not None
    net.run(dice.uniform(1.0, 3.0))
    net.trace.clear()
    net.kill("n-killed")
    net.kill("s-killed")
    net.run(dice.uniform(0.0, 3.0))
    net.pause(VICTIM)
    net.run(stall_s)
    net.go_on(VICTIM)
    net.run(15.0)
    return net.trace
