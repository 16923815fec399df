"""One piece of news in a quiet ring: how fast it spreads, how many copies, who never hears."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gossip.serf import Serf
from gossip.wire.messages import MessageType
from tests.gossip_lab.ring import Ring


@dataclass(slots=True)
class Spread:
    """One broadcast; times in seconds after it was made."""

    members: int
    heard_at: list[float] = field(repr=False)
    copies: float
    """Sent per member that heard it."""

    def at(self, fraction: float) -> float:
        wanted = math.ceil(fraction * self.members)
        return self.heard_at[wanted - 1] if len(self.heard_at) >= wanted else math.nan

    @property
    def missed(self) -> int:
        return self.members - len(self.heard_at)


def tag_change(seed: int, size: int, *, loss: float = 0.0, seconds: float = 6.0) -> Spread:
    """n0 changes its tags; without push/pull, so that it is gossip alone that is measured."""
    ring = Ring(seed, size, loss=loss, push_pull_interval_s=0.0, count_types=True)
    ring.run(ring_phase(seed))
    began = ring.now
    heard: dict[str, float] = {"n0": 0.0}
    ring.on_change = lambda member, name: heard.setdefault(member, ring.now - began)

    def change(core: Serf, now: float) -> None:
        core.set_tags({"v": "2"}, now)

    ring.act("n0", change)
    ring.run(seconds)
    copies = ring.load.by_type.get(MessageType.ALIVE.name.lower(), 0)
    return Spread(size, sorted(heard.values()), copies / len(heard))


def ring_phase(seed: int) -> float:
    """A moment that is another one for each seed."""
    return 1.0 + (seed * 0.137) % 1.0
