"""User events: told to every member, delivered once by each, replays dropped.

Gossip wire contract, section 5.4. Owned by gossip.serf, which passes the effects on.
"""

from __future__ import annotations

from gossip.broadcasts import BroadcastQueue
from gossip.config import GossipConfig
from gossip.effects import Effect, UserEventArrived
from gossip.errors import UserEventTooLong
from gossip.lamport import LTIME_MAX, LamportClock, SeenBuffer
from gossip.stats import GossipStats
from gossip.wire import serf as wire


class UserEvents:
    """The events of one member: what it fires, and what it has seen."""

    __slots__ = ("_config", "_queue", "_resumed", "_seen", "_stats", "clock", "out")

    def __init__(self, config: GossipConfig, *, queue: BroadcastQueue, stats: GossipStats) -> None:
        self._config = config
        self._queue = queue
        self._stats = stats
        self.clock = LamportClock()
        self._seen = SeenBuffer(
            config.events_buffer, config.events_per_ltime_max, config.events_bytes_max
        )
        self._resumed = False
        self.out: list[Effect] = []

    def seen_before(self, ltime: int) -> None:
        """A former life saw events up to this time: they are not delivered again."""
        self.clock.witness(ltime)
        self._seen.floor = max(self._seen.floor, ltime + 1)
        self._resumed = True

    def ignore_before(self, ltime: int) -> None:
        """We enter a ring that is at this time. What was told before was not for us; but who has
        been there and comes back hears what it missed."""
        if not self._resumed:
            self._seen.floor = max(self._seen.floor, min(ltime, LTIME_MAX))

    def fire(self, name: str, payload: bytes, *, coalesce: bool) -> None:
        """Tell every member, ourselves included. Raises UserEventTooLong."""
        limit = self._config.user_event_bytes_max
        if len(name.encode()) + len(payload) > limit:
            raise UserEventTooLong(limit, "before")
        event = wire.UserEvent(self.clock.time, name, payload, coalesce)
        data = wire.encode(event)
        if len(data) > limit:
            raise UserEventTooLong(limit, "after")
        self.clock.increment()
        self.receive(event, data)

    def receive(self, event: wire.UserEvent, payload: bytes | None) -> None:
        """``payload`` is what to pass on; None when it came with a push/pull."""
        self.clock.witness(event.ltime)
        body = event.payload or b""
        size = len(event.name.encode()) + len(body)
        if size > self._config.user_event_received_bytes_max:
            self._stats.drop("user_event_too_long")
            return
        if payload is not None and self._seen.too_old(event.ltime, self.clock.time):
            # Events come faster than gossip carries them (docs/operate/gossip.md).
            self._stats.drop("user_event_too_old")
            return
        if not self._seen.add(event.ltime, (event.name, body), self.clock.time, size):
            return
        self._stats.user_events += 1
        if payload is not None:
            self._queue.add(payload)
        self.out.append(UserEventArrived(event.ltime, event.name, body))

    def slots(self) -> tuple[wire.EventSlot, ...]:
        """What we have seen lately, for a member that may have missed it."""
        return tuple(
            wire.EventSlot(ltime, tuple(keys))  # type: ignore[arg-type]
            for ltime, keys in self._seen
        )
