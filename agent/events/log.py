"""The last user events of this agent, and why others were not kept.

Takes what gossip delivers, keeps what concerns this node, wakes who waits. A plain object on the
loop: it does no I/O and waits for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from agent.dates import date
from agent.events.event import (
    PREFIX,
    REMOTE_EXEC,
    VERSION,
    EventError,
    ServiceHere,
    UserEvent,
    decode,
    encode,
    why_not,
)
from raftstore.records import Json

#: Events kept for lists, as in the reference; and decisions kept to explain.
KEPT = 256
EXPLAINED = 64
_REASONS = (
    "node filter", "service filter", "tag filter", "broken filter",
    "remote execution", "remote execution is disabled", "malformed", "foreign",
)  # fmt: skip


class Arrived(Protocol):
    """A user event as gossip delivers it."""

    @property
    def ltime(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def payload(self) -> bytes: ...


def _none_passed_over() -> dict[str, int]:
    return dict.fromkeys((reason.replace(" ", "_") for reason in _REASONS), 0)


@dataclass(slots=True)
class EventStats:
    """Counters since start. ``passed_over`` are events that did not concern this node."""

    fired: int = 0
    refused: int = 0
    received: int = 0
    kept: int = 0
    passed_over: dict[str, int] = field(default_factory=_none_passed_over)
    events_held: int = 0
    lists_waiting: int = 0


class EventLog:
    """The events that concern this node, oldest first."""

    def __init__(
        self,
        node: str,
        *,
        send: Callable[[str, bytes], None],
        now: Callable[[], float],
    ) -> None:
        """``send`` tells the ring, ourselves included; ``now`` gives Unix seconds."""
        self._node = node
        self._services: Callable[[], Iterable[ServiceHere]] = tuple
        self._on_remote_exec: Callable[[bytes], None] | None = None
        #: What arrived before it was known what runs here.
        self._early: deque[Arrived] | None = deque(maxlen=KEPT)
        self._send = send
        self._now = now
        self._events: deque[UserEvent] = deque(maxlen=KEPT)
        self._decisions: deque[dict[str, Json]] = deque(maxlen=EXPLAINED)
        self._waiting: dict[object, Callable[[], None]] = {}
        self._stats = EventStats()

    def ready(
        self,
        services: Callable[[], Iterable[ServiceHere]],
        remote_exec: Callable[[bytes], None] | None = None,
    ) -> None:
        """From now on ``services`` says what runs here: judge what came, and what comes.

        ``remote_exec`` is called with the payload of each event that asks for a command; without
        it, none is run.
        """
        self._services = services
        self._on_remote_exec = remote_exec
        early, self._early = self._early or (), None
        for told in early:
            self._judge(told)

    def fire(self, event: UserEvent) -> None:
        """Tell the ring. Raises what ``send`` raises; then nobody hears of it."""
        try:
            self._send(PREFIX + event.name, encode(event))
        except Exception:
            self._stats.refused += 1
            raise
        self._stats.fired += 1

    def arrived(self, told: Arrived) -> None:
        """Gossip delivers an event, each one once."""
        self._stats.received += 1
        if self._early is None:
            self._judge(told)
        else:
            self._early.append(told)

    def _judge(self, told: Arrived) -> None:
        event: UserEvent | None = None
        if not told.name.startswith(PREFIX):
            reason = "foreign"
        else:
            try:
                event = decode(told.payload, told.ltime)
                reason = why_not(event, self._node, self._services())
                if not reason and event.name == REMOTE_EXEC:
                    reason = self._remotely_asked(event)
            except EventError as error:
                reason = "malformed"
                self._decided(told, None, f"malformed: {error}")
        if reason != "malformed":
            self._decided(told, event, reason)
        if reason:
            self._stats.passed_over[reason.replace(" ", "_")] += 1
            return
        assert event is not None, "what is kept was read"
        self._events.append(event)
        self._stats.kept += 1
        waiting, self._waiting = self._waiting, {}
        for wake in waiting.values():
            wake()

    def _remotely_asked(self, event: UserEvent) -> str:
        """Hand a command to those who run it; it is nothing for lists."""
        if self._on_remote_exec is None:
            return "remote execution is disabled"
        self._on_remote_exec(event.payload)
        return "remote execution"

    def list(self, keep: Callable[[UserEvent], bool]) -> tuple[list[UserEvent], int]:
        """The events that ``keep`` keeps, oldest first, and the list's index (1 when empty).

        The index tells lists apart and is not in any order.
        """
        found = [event for event in self._events if keep(event)]
        return found, (found[-1].index if found else 0) or 1

    def watch_once(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call once when the next event is kept; gives a function that cancels."""
        key = object()
        self._waiting[key] = wake

        def cancel() -> None:
            self._waiting.pop(key, None)

        return cancel

    def stats(self) -> EventStats:
        """Counters up to now."""
        self._stats.events_held = len(self._events)
        self._stats.lists_waiting = len(self._waiting)
        return self._stats

    def explain(self) -> Json:
        """The last events that arrived and what became of each, newest first."""
        return {
            "Node": self._node,
            "Services": sorted({service.name for service in self._services()}),
            "Last": list(reversed(self._decisions)),
        }

    def _decided(self, told: Arrived, event: UserEvent | None, reason: str) -> None:
        shown: dict[str, Json] = {"At": date(self._now()), "LTime": told.ltime}
        if event is None:
            shown["Name"] = told.name
        else:
            shown |= {
                "ID": event.id,
                "Name": event.name,
                "NodeFilter": event.node_filter,
                "ServiceFilter": event.service_filter,
                "TagFilter": event.tag_filter,
                "Version": event.version,
                "VersionUnderstood": event.version <= VERSION,
            }
        shown["Kept"] = not reason
        shown["Reason"] = {"foreign": "not an event of this API"}.get(reason, reason)
        self._decisions.append(shown)
