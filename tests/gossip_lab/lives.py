"""Rings whose members come, go, part and speak: partitions, joins, names, queries, events.

On `tests.sim.gossip_net`, where every packet is sealed and opened and every join is an exchange:
for rings of up to some hundreds.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from gossip.asking import Question
from gossip.config import GossipConfig
from gossip.effects import QueryReplied
from gossip.errors import UserEventTooLong
from gossip.roster import MemberStatus
from tests.sim.gossip_net import SimAgent, SimNet

LOOK_S = 0.25


def grown(seed: int, size: int, *, loss: float = 0.0, **changes: Any) -> SimNet:
    """A ring that knows itself, without the checks of each step."""
    net = SimNet(seed, checks=False)
    config = GossipConfig.lan("profile", **changes)
    for index in range(size):
        net.add(f"n{index}", dataclasses.replace(config, name=f"n{index}"))
        if index:
            net.join(f"n{index}", f"n{index // 2}")
    assert math.isfinite(settled(net, 300.0)), f"seed {seed}: the ring did not converge"
    net.loss = loss
    net.trace.clear()
    return net


def settled(net: SimNet, within_s: float) -> float:
    """Seconds until everybody sees exactly the living; infinite when that did not come."""
    began = net.now
    while net.now - began < within_s:
        net.run(LOOK_S)
        if net.converged():
            return net.now - began
    return math.inf


def noted(net: SimNet, word: str) -> int:
    """Lines that begin with the word."""
    return sum(line.split()[2] == word for line in net.trace)


@dataclass(slots=True)
class Parted:
    called_dead: int
    back_after: float
    members_after: int


def partition(seed: int, size: int, smaller: int, seconds: float, **changes: Any) -> Parted:
    """Two sides that do not hear each other, and then do."""
    net = grown(seed, size, **changes)
    net.part({f"n{index}" for index in range(smaller)})
    net.run(seconds)
    dead = noted(net, "DEAD")
    net.heal()
    back = settled(net, 600.0)
    counts = [len(agent.core.roster.entries) for agent in net.live()]
    return Parted(dead, back, min(counts))


@dataclass(slots=True)
class Joined:
    settled_after: float
    packets: float
    exchanges: float
    refused: int


def mass_join(seed: int, size: int, seeds: int, per_second: float) -> Joined:
    """Everybody joins by one of a few, all at once (``per_second`` 0) or so many a second."""
    net = SimNet(seed, checks=False)
    for index in range(size):
        net.add(f"n{index}", GossipConfig.lan(f"n{index}"))
        if index >= seeds:
            net.join(f"n{index}", f"n{index % seeds}")
        elif index:
            net.join(f"n{index}", "n0")
        if per_second:
            net.run(1.0 / per_second)
    after = settled(net, 300.0)
    dropped = sum(sum(agent.stats.dropped.values()) for agent in net.agents.values())
    return Joined(after, net.packets / size, net.exchanges / size, dropped)


def name_case(seed: int, size: int, case: str, *, loss: float = 0.0) -> float:
    """Seconds until all know who has the name n1 now; infinite where nobody got it."""
    net = grown(seed, size, loss=loss)
    former = net.agents["n1"]
    former.core.set_tags({"id": "old"}, net.now)
    net.settle(former)
    net.run(5.0)
    net.kill("n1")
    known = case != "same address, before it is missed"
    if known:
        net.run(120.0, lambda: net.all_see("n1", MemberStatus.FAILED))
    began = net.now
    identity = "new" if "another agent" in case else "old"
    config = GossipConfig.lan("n1", tags={"id": identity})
    agent = net.add("n1", config, elsewhere="new address" in case)
    net.join("n1", "n0")
    after = settled(net, 120.0)
    assert net.now >= began
    assert (agent.address != former.address) is ("new address" in case)
    return after


NAME_CASES = (
    "same address, before it is missed",
    "same address, after it failed",
    "new address, the same agent",
    "new address, another agent",
)


def two_bearers(seed: int, size: int) -> tuple[bool, bool]:
    """Two live members of one name: whether the first stayed, and whether the second did."""
    net = grown(seed, size)
    first = net.agents["n1"]
    second = net.add("n1", GossipConfig.lan("n1", tags={"id": "new"}), elsewhere=True)
    net.join("n1", "n0")
    net.agents["n1-again"], net.agents["n1"] = second, first
    net.run(60.0)
    return first.running, second.running


def answered(seed: int, size: int, loss: float, relays: int) -> float:
    """Which part of the ring's acknowledgements of a query came in time."""
    net = grown(seed, size, loss=loss)
    asker = net.agents["n0"]
    question = Question(name="who", ack=True, relay_factor=relays)
    asker.core.queries.ask(question, asker.core.tags, net.now)
    net.settle(asker)
    net.run(60.0)
    acks = {e.sender for who, e in net.news if who == "n0" and isinstance(e, QueryReplied)}
    return len(acks - {"n0"}) / (size - 1)


@dataclass(slots=True)
class Flood:
    """What became of events that were told fast; what was dropped is per member."""

    delivered: float
    at_end: float
    """Delivered by the time at which the last one was told."""
    too_old: float
    """Copies that came when their Lamport time was past the buffer of events."""
    unsaid: float
    """Messages that a full queue dropped."""
    queue_max: int
    packets: float
    """A member and second, while it is told."""
    refused: int


def flood(
    seed: int, size: int, rate: float, length: int, seconds: float = 10.0, **changes: Any
) -> Flood:
    """One member tells so many events a second; which part of them the others heard."""
    net = grown(seed, size, **changes)
    teller: SimAgent = net.agents["n0"]
    before = {agent.name: agent.stats.user_events for agent in net.live()}
    packets, deepest, told, refused = net.packets, 0, 0, 0

    def share() -> float:
        heard = sum(a.stats.user_events - before[a.name] for a in net.live() if a.name != "n0")
        return heard / told / (size - 1) if told else math.nan

    while told + refused < rate * seconds:
        try:
            name = f"e{told}"
            payload = bytes(length - len(name))
            teller.core.user_event(name, payload, coalesce=False, now=net.now)
            told += 1
        except UserEventTooLong:
            refused += 1
        net.settle(teller)
        net.run(1.0 / rate)
        deepest = max(deepest, *(agent.core.broadcasts_queued for agent in net.live()))
    at_end, sent = share(), (net.packets - packets) / size / seconds
    net.run(60.0)
    return Flood(
        delivered=share(),
        at_end=at_end,
        too_old=sum(a.stats.dropped.get("user_event_too_old", 0) for a in net.live()) / size,
        unsaid=sum(a.core.broadcasts_dropped for a in net.live()) / size,
        queue_max=deepest,
        packets=sent,
        refused=refused,
    )
