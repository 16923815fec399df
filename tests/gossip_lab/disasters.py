"""Much at once: many crashes, packets that take long, links of one direction, processes that stand
still, and rings in which not everybody goes by the same rules."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gossip.wire.messages import State
from tests.gossip_lab import failures
from tests.gossip_lab.false_alarms import SETTLE_S, VARIANTS
from tests.gossip_lab.ring import Observation, Ring

GIVE_UP_S = 300.0
#: What the reference's rules are, where ours are better: every switch off.
REFERENCE: dict[str, Any] = {
    "identity_reclaim_s": 0.0,
    "push_pull_strict": True,
    "push_pull_accuses": True,
    "suspects_told": False,
    "unique_identities": False,
    "stall_min_s": 0.0,
    "quarantine_s": 0.0,
    "suspicion_grace_mult": 0,
}


#: Plain SWIM; Lifeguard as the reference has it; all that there is here.
RULES: dict[str, dict[str, Any]] = {
    "SWIM": {**REFERENCE, **VARIANTS["SWIM"]},
    "Lifeguard": {**VARIANTS["Lifeguard"], **REFERENCE},
    "lictor": VARIANTS["Lifeguard"],
}


@dataclass(slots=True)
class MassCrash:
    """Times in seconds after the crashes."""

    detect_half: float
    detect_all: float
    missed: int
    about_the_living: int
    bytes_peak: float
    """Of one second, per live member."""
    queue_max: int


def mass_crash(seed: int, size: int, fraction: float) -> MassCrash:
    """A part of the ring is gone from one moment to the next."""
    ring = Ring(seed, size)
    dice = random.Random(f"mass-{seed}-{size}-{fraction}")
    ring.run(dice.uniform(1.0, 3.0))
    victims = frozenset(dice.sample(sorted(ring.members), max(1, round(fraction * size))))
    for name in victims:
        ring.crash(name)
    began, wanted = ring.now, len(victims) * (size - len(victims))
    known: dict[tuple[str, str], float] = {}
    wrong = 0

    def watch(seen: Observation) -> None:
        nonlocal wrong
        if seen.state is not State.DEAD:
            return
        if seen.subject in victims:
            known.setdefault((seen.observer, seen.subject), seen.at - began)
        else:
            wrong += 1

    ring.watch = watch
    survivors = size - len(victims)
    peak, deepest = 0.0, 0
    while ring.now - began < GIVE_UP_S and len(known) < wanted:
        before = ring.load.packet_bytes
        ring.run(1.0)
        peak = max(peak, (ring.load.packet_bytes - before) / survivors)
        deepest = max(deepest, *(each.core.broadcasts_queued for each in ring.live()))
    times = sorted(known.values())
    return MassCrash(
        detect_half=times[len(times) // 2],
        detect_all=times[-1],
        missed=wanted - len(known),
        about_the_living=wrong,
        bytes_peak=peak,
        queue_max=deepest,
    )


@dataclass(slots=True)
class Wrong:
    """Members called dead or suspected although they live, and how often they contradicted."""

    about_healthy: int = 0
    healthy_about_healthy: int = 0
    about_sick: int = 0
    suspected: int = 0
    refuted: int = 0
    saved_by_tcp: int = 0
    packets: float = 0.0
    """Per member and second."""


def _count(ring: Ring, sick: frozenset[str], seconds: float) -> Wrong:
    found = Wrong(packets=ring.load.packets / len(ring.members) / seconds)
    for seen in ring.seen:
        if seen.state is State.SUSPECT:
            found.suspected += 1
        elif seen.state is State.DEAD and seen.subject in sick:
            found.about_sick += 1
        elif seen.state is State.DEAD:
            found.about_healthy += 1
            found.healthy_about_healthy += seen.observer not in sick
    found.refuted = sum(each.stats.refutations for each in ring.members.values())
    found.saved_by_tcp = sum(each.stats.tcp_fallback_successes for each in ring.members.values())
    return found


def overloaded(
    seed: int, size: int, sick: int, variant: str, *, newest_first: bool, seconds: float = 90.0
) -> Wrong:
    """Members that need 0.8 s for each packet and each step of a stream, one after the other; two
    packets a second come in a quiet ring. The bytes of a stream wait like a packet: TCP tells
    nothing of a busy process that UDP does not."""
    ring = Ring(seed, size, **RULES[variant])
    dice = random.Random(f"overload-{seed}-{sick}")
    names = frozenset(dice.sample(sorted(ring.members), sick))
    ring.run(dice.uniform(1.0, 2.0))
    for name in names:
        ring.overload(name, 0.8, newest_first=newest_first)
    ring.run(seconds)
    for name in names:
        ring.relieve(name)
    ring.run(SETTLE_S)
    return _count(ring, names, seconds + SETTLE_S)


#: What becomes of a packet between two members; n1 is the one with the trouble.
LINKS: dict[str, Callable[[str, str], bool]] = {
    "n1 does not hear n0": lambda sender, target: (sender, target) == ("n0", "n1"),
    "n1 hears nobody": lambda sender, target: target == "n1",
    "nobody hears n1": lambda sender, target: sender == "n1",
    "no UDP to or from n1": lambda sender, target: "n1" in (sender, target),
}


def one_way(seed: int, size: int, link: str, seconds: float = 180.0, **changes: Any) -> Wrong:
    """A network that lets UDP pass in one direction only; streams always pass."""
    ring = Ring(seed, size, **changes)
    ring.run(2.0)
    ring.blocked = LINKS[link]
    ring.run(seconds)
    return _count(ring, frozenset({"n1"}), seconds)


@dataclass(slots=True)
class Pause:
    """One member that stood still; times in seconds after it went on."""

    called_dead_by_it: int
    called_dead_by: int
    alive_again: float
    """Until everybody has it alive; NaN where that did not come within ten minutes."""
    flaps: int
    """Others that were called dead and then alive."""


def pause(seed: int, size: int, seconds: float, **changes: Any) -> Pause:
    """SIGSTOP, and SIGCONT after a while."""
    ring = Ring(seed, size, **changes)
    ring.run(2.0 + seed * 0.37 % 1.0)
    ring.stop("n1", seconds)
    ring.run(seconds)
    resumed = ring.now
    others = [name for name in ring.members if name != "n1"]

    def holds_it(name: str) -> bool:
        record = ring.members[name].core.swim.table.get("n1")
        return record is not None and record.state is State.ALIVE

    back = float("nan")
    while ring.now - resumed < 600.0:
        ring.run(0.1)
        if all(map(holds_it, others)):
            back = ring.now - resumed
            break
    ring.run(SETTLE_S)
    dead = [seen for seen in ring.seen if seen.state is State.DEAD]
    wrong = {seen.subject for seen in dead if seen.subject != "n1"}
    return Pause(
        called_dead_by_it=sum(s.observer == "n1" and s.subject != "n1" for s in dead),
        called_dead_by=len({seen.observer for seen in dead if seen.subject == "n1"}),
        alive_again=back,
        flaps=len(wrong),
    )


def mixed(seed: int, size: int, share: float) -> dict[str, Any]:
    """So large a part of the ring goes by the reference's rules."""

    def differs(index: int) -> dict[str, Any]:
        return REFERENCE if index < round(share * size) else {}

    (crash, *more) = failures.crashes(seed, size, 4, differs=differs)
    lossy = Ring(seed, size, loss=0.1, differs=differs)
    lossy.run(300.0)
    held = Ring(seed, size, differs=differs)
    sick = frozenset(random.Random(f"mixed-{seed}").sample(sorted(held.members), size // 8))
    held.run(1.5)
    for name in sick:
        held.block(name, 16.384)
    held.run(16.384 + SETTLE_S)
    found = (crash, *more)
    return {
        "first": sorted(each.detect_first for each in found)[len(found) // 2],
        "missed": sum(each.missed for each in found),
        "loss_dead": _count(lossy, frozenset(), 300.0).about_healthy,
        "held_dead": _count(held, sick, 1.0).about_healthy,
        "held_dead_healthy": _count(held, sick, 1.0).healthy_about_healthy,
    }
