"""A member crashes: when the first one knows, when all do, and what it costs."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

from gossip import suspicion
from gossip.config import GossipConfig
from gossip.wire.messages import State
from tests.gossip_lab.ring import Delay, Observation, Ring

GIVE_UP_S = 240.0


@dataclass(slots=True)
class Failure:
    """One crash; all times in seconds after it."""

    suspect_first: float
    detect_first: float
    known_at: list[float] = field(repr=False)
    """When each live member that did hear of it did, ascending."""
    observers: int
    packets: float
    """Per member and second, from the crash until all knew."""
    packet_bytes: float

    @property
    def missed(self) -> int:
        return self.observers - len(self.known_at)

    @property
    def detect_all(self) -> float:
        return self.known_at[-1] if not self.missed else math.nan

    def spread(self, fraction: float) -> float:
        """From the first one that knew until this fraction of all did."""
        wanted = math.ceil(fraction * self.observers)
        if len(self.known_at) < wanted:
            return math.nan
        return self.known_at[wanted - 1] - self.known_at[0]


def expected_detection_s(size: int, config: GossipConfig) -> float:
    """Mean until the first "dead" without loss: wait for a probe, the probe, the suspicion."""
    _, shortest, _ = suspicion.bounds(config, size)
    interval = config.probe_interval_s
    return interval * (size - 1) / size + interval + shortest


def crashes(
    seed: int,
    size: int,
    count: int,
    *,
    loss: float = 0.0,
    delay: Delay | None = None,
    **changes: Any,
) -> list[Failure]:
    """One ring in which ``count`` members crash one after the other, at random moments."""
    ring = Ring(seed, size, loss=loss, delay=delay, **changes)
    dice = random.Random(f"crashes-{seed}")
    failures = []
    for victim in dice.sample(sorted(ring.members), count):
        ring.run(dice.uniform(1.0, 3.0))
        failures.append(_crash(ring, victim))
    return failures


def _crash(ring: Ring, victim: str) -> Failure:
    began, before = ring.now, (ring.load.packets, ring.load.packet_bytes)
    suspected: list[float] = []
    known: dict[str, float] = {}

    def watch(seen: Observation) -> None:
        if seen.subject != victim:
            return
        if seen.state is State.SUSPECT and not suspected:
            suspected.append(seen.at - began)
        elif seen.state is State.DEAD:
            known.setdefault(seen.observer, seen.at - began)

    ring.crash(victim)
    ring.watch = watch
    observers = len(ring.live())
    ring.run(GIVE_UP_S, lambda: len(known) == observers)
    ring.watch = None
    ring.seen.clear()
    member_seconds = observers * (ring.now - began)
    times = sorted(known.values())
    return Failure(
        suspect_first=suspected[0] if suspected else math.nan,
        detect_first=times[0] if times else math.nan,
        known_at=times,
        observers=observers,
        packets=(ring.load.packets - before[0]) / member_seconds,
        packet_bytes=(ring.load.packet_bytes - before[1]) / member_seconds,
    )
