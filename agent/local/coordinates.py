"""Sends this agent's network coordinate to the servers now and then (agent contract 7).

How often depends on the ring's size, so that the servers get about as many in a large one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.backend.coordinates import CoordinateCalls
from agent.config.schema import CoordinateConfig
from agent.dates import date
from agent.distance import to_json
from agent.errors import AgentError
from gossip.coordinates import Coordinate
from raftstore import definitions
from raftstore.errors import StoreError
from raftstore.records import Json, NodeName

log = logging.getLogger("lictor.agent.coordinates")

#: The pause before the first sending; it doubles up to the usual one, so that a new agent is found
#: among the others soon after its node is in the catalog.
FIRST_PAUSE_S = 1.0
#: Members listed when this is explained.
EXPLAINED_MAX = 64


def pause_s(sent: int, members: int, config: CoordinateConfig, rng: random.Random) -> float:
    """Seconds until the next sending: up to twice the usual, so that agents spread."""
    usual = max(config.sync_interval_min_s, members / config.sync_rate_target)
    if sent < 16:
        usual = min(usual, FIRST_PAUSE_S * 2**sent)
    return usual * (1.0 + rng.random())


@dataclass(slots=True)
class SendingStats:
    """Counters since start."""

    sent: int = 0
    failures: int = 0


class Measures(Protocol):
    """What gossip knows of distances."""

    def coordinate(self, name: str = "") -> Coordinate | None: ...
    def measured(self) -> tuple[str, ...]: ...
    def coordinate_resets(self) -> int: ...


class CoordinateSender:
    """Owns the loop; what is measured is gossip's."""

    def __init__(
        self,
        config: CoordinateConfig,
        calls: CoordinateCalls,
        gossip: Measures,
        *,
        node: str,
        members: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._config = config
        self.calls = calls
        self._gossip = gossip
        self._node = NodeName(node)
        self._members = members
        self._rng = rng
        self._sent_at: float | None = None
        self._failed = ""
        self._stats = SendingStats()

    def stats(self) -> SendingStats:
        """Counters up to now."""
        return self._stats

    async def run(self) -> None:
        """Send for ever."""
        rounds = 0
        while True:
            await asyncio.sleep(pause_s(rounds, self._members(), self._config, self._rng))
            rounds += 1
            await self.send()

    async def send(self) -> None:
        """Send once; a failure is counted, the next round tries again."""
        own = self._gossip.coordinate()
        if own is None:
            return
        try:
            update = definitions.Coordinate(node=self._node, content=to_json(own))
            await self.calls.update(update)
        except (AgentError, StoreError) as error:
            self._stats.failures += 1
            self._failed = str(error)
            log.debug("coordinate not sent error=%s", error)
        else:
            self._stats.sent += 1
            self._sent_at, self._failed = time.time(), ""

    def explain(self) -> Json:
        """Where we think we are, what that rests on, and when the servers heard of it."""
        own = self._gossip.coordinate()
        measured = self._gossip.measured()
        return {
            "Enabled": own is not None,
            "Coordinate": None if own is None else to_json(own),
            "Resets": self._gossip.coordinate_resets(),
            "SentAt": date(self._sent_at) if self._sent_at else None,
            "LastFailure": self._failed,
            "MeasuredCount": len(measured),
            "Measured": [
                {"Node": name, "Coordinate": to_json(known)}
                for name in measured[:EXPLAINED_MAX]
                if (known := self._gossip.coordinate(name)) is not None
            ],
        }
