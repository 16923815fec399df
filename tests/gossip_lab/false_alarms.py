"""Members that do not run for a while, and who is called dead although nobody is.

The grids follow the Lifeguard paper's threshold and interval experiments: C members are held for D
seconds, once or again and again. One false alarm is one member marked dead by one observer while it
lives. Told apart: those about healthy members (the paper's false positives), of these the ones at
healthy observers (its FP-), and those about the members that are held, which for that time cannot
be told from dead ones.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import Any

from gossip.wire.messages import State
from tests.gossip_lab.ring import Ring

SIZE = 128
SETTLE_S = 60.0
"""After the last release: no suspicion of a ring of this size runs longer than 50.6 s."""

PARTS = ("lha_probe", "lha_suspicion", "buddy_system", "suspects_told")
#: Which of the parts are on; the last one is ours and goes with the whole.
VARIANTS: dict[str, dict[str, bool]] = {
    "SWIM": dict.fromkeys(PARTS, False),
    "LHA-Probe": dict.fromkeys(PARTS, False) | {"lha_probe": True},
    "LHA-Suspicion": dict.fromkeys(PARTS, False) | {"lha_suspicion": True},
    "Buddy system": dict.fromkeys(PARTS, False) | {"buddy_system": True},
    "Lifeguard": dict.fromkeys(PARTS, True),
}


class Anomaly(enum.Enum):
    """How a member does not run."""

    BLOCKED = "blocked"
    """Messages wait in both directions, timers run: the paper's."""
    STOPPED = "stopped"
    """The process stands still."""


@dataclass(slots=True)
class Alarms:
    """Counts of false alarms, and what the ring sent meanwhile."""

    runs: int = 0
    about_healthy: int = 0
    healthy_about_healthy: int = 0
    about_held: int = 0
    episodes: int = 0
    """Different (member, incarnation) pairs of healthy members: a spread broadcast counts once."""
    packets: int = 0
    member_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Cell:
    """``held`` members, each for ``seconds``; again after ``pause_s`` until ``until_s``."""

    held: int
    seconds: float
    pause_s: float | None = None
    until_s: float = 0.0


def alarms(
    seed: int, cell: Cell, anomaly: Anomaly, variant: str, *, size: int = SIZE, **changes: Any
) -> Alarms:
    """One run of one cell."""
    ring = Ring(seed, size, **VARIANTS[variant], **changes)
    dice = random.Random(f"anomaly-{seed}-{cell}")
    held = dice.sample(sorted(ring.members), cell.held)
    ring.run(dice.uniform(1.0, 2.0))
    hold = ring.block if anomaly is Anomaly.BLOCKED else ring.stop
    began = ring.now
    if cell.pause_s is None:
        for name in held:
            hold(name, cell.seconds)
        ring.run(cell.seconds + SETTLE_S)
    else:
        while ring.now - began < cell.until_s:
            for name in held:
                hold(name, cell.seconds)
            ring.run(cell.seconds + cell.pause_s)
        ring.run(SETTLE_S)
    return _count(ring, frozenset(held), ring.now - began)


def _count(ring: Ring, held: frozenset[str], seconds: float) -> Alarms:
    found = Alarms(runs=1, packets=ring.load.packets, member_seconds=len(ring.members) * seconds)
    episodes = set()
    for seen in ring.seen:
        if seen.state is not State.DEAD:
            continue
        if seen.subject in held:
            found.about_held += 1
            continue
        found.about_healthy += 1
        episodes.add((seen.subject, seen.incarnation))
        if seen.observer not in held:
            found.healthy_about_healthy += 1
    found.episodes = len(episodes)
    return found
