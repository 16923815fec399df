"""Members that leave, crash and come by turns: who is called dead wrongly, who stays in tables."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from gossip.serf import Serf
from gossip.wire.messages import State
from tests.gossip_lab.ring import Member, Ring

STALE_S = 60.0
"""After the last change: who is still shown alive then."""
GIVE_UP_S = 300.0
LOOK_S = 5.0


@dataclass(slots=True)
class Churned:
    """What happened, and what was wrong afterwards."""

    left: int
    crashed: int
    joined: int
    called_dead_alive: int
    """Members marked dead by somebody while both lived."""
    shown_failed_left: int
    """Marks of *dead* instead of *left* about members that said that they leave."""
    stale: int
    """Pairs of a live member and an ended one that it has alive, or a live one that it lacks, a
    minute after the last change."""
    unsettled: float
    """Seconds until all tables hold exactly the living."""
    table_max: int


def churn(seed: int, size: int, per_minute: float, minutes: float = 5.0) -> Churned:
    """A part of the ring is exchanged each minute: leaves, crashes, newcomers, by turns."""
    ring = Ring(seed, size)
    dice = random.Random(f"churn-{seed}-{size}-{per_minute}")
    ends: dict[str, float] = {}
    said: set[str] = set()
    counts = {"leave": 0, "crash": 0, "join": 0}
    ring.run(2.0)
    began, serial = ring.now, size
    pause_s = 60.0 / (per_minute * size)
    while (wait_s := dice.expovariate(1.0 / pause_s)) + ring.now - began < 60.0 * minutes:
        ring.run(wait_s)
        deed = dice.choice(("leave", "crash", "join"))
        chosen = dice.choice([each.name for each in ring.live() if each.name not in ends])
        counts[deed] += 1
        if deed == "join":
            ring.enter(f"n{serial}", chosen)
            serial += 1
            continue
        ends[chosen] = ring.now
        if deed == "crash":
            ring.crash(chosen)
        else:
            said.add(chosen)
            ring.act(chosen, Serf.leave)
    ended = ring.now
    ring.run(STALE_S)
    stale = sum(map(len, _differences(ring)))
    while any(map(len, _differences(ring))) and ring.now - ended < GIVE_UP_S:
        ring.run(LOOK_S)
    settled = ring.now - ended if not any(map(len, _differences(ring))) else math.inf
    dead = [
        seen
        for seen in ring.seen
        if seen.state is State.DEAD and seen.at < ends.get(seen.observer, math.inf)
    ]
    return Churned(
        left=counts["leave"],
        crashed=counts["crash"],
        joined=counts["join"],
        called_dead_alive=sum(seen.at < ends.get(seen.subject, math.inf) for seen in dead),
        shown_failed_left=sum(seen.subject in said for seen in dead),
        stale=stale,
        unsettled=settled,
        table_max=max(len(each.core.swim.table) for each in ring.live()),
    )


def _differences(ring: Ring) -> list[set[str]]:
    """Of each live member: the names that it has alive and that are not, or the other way."""
    living = {each.name for each in ring.live()}
    return [living ^ _alive(each) for each in ring.live()]


def _alive(member: Member) -> set[str]:
    table = member.core.swim.table
    return {record.name for record in table if record.state in (State.ALIVE, State.SUSPECT)}
