"""What happened on this host lately: what a change of a check's status may have to do with.

Decides what belongs to a moment, for ``explain``. Bounded: many checks that change push out older
changes, but never what befell the host itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from raftstore.records import CheckId, Json

#: Changes of checks that are remembered, and things that befell the host.
CHANGES_MAX = 1024
EVENTS_MAX = 64
#: What lies within so many seconds of a result is told with it.
NEAR_S = 2.0
#: How many of the checks that changed at the same moment are named.
NAMED_MAX = 5
#: Characters of an event.
TEXT_MAX = 256


@dataclass(frozen=True, slots=True)
class _Change:
    at: float
    check_id: CheckId
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class _Event:
    """Lasted from ``since`` until ``at``."""

    since: float
    at: float
    text: str


class Moments:
    """All times are Unix times, in seconds."""

    __slots__ = ("_changes", "_events")

    def __init__(self) -> None:
        self._changes: deque[_Change] = deque(maxlen=CHANGES_MAX)
        self._events: deque[_Event] = deque(maxlen=EVENTS_MAX)

    def changed(self, at: float, check_id: CheckId, before: str, after: str) -> None:
        """The status of a check changed."""
        self._changes.append(_Change(at, check_id, before, after))

    def befell(self, at: float, text: str, lasted_s: float = 0.0) -> None:
        """Something happened to the host that ended just now."""
        self._events.append(_Event(at - lasted_s, at, text[:TEXT_MAX]))

    def around(self, since: float, until: float, besides: CheckId) -> Json:
        """What happened from ``since`` to ``until`` and shortly before and after; not to one check.

        None if nothing did.
        """
        since, until = since - NEAR_S, until + NEAR_S
        others = [
            change
            for change in _from(self._changes, since)
            if change.at <= until and change.check_id != besides
        ]
        events = [e.text for e in self._events if e.at >= since and e.since <= until]
        if not others and not events:
            return None
        return {
            "Host": list(events),
            "OtherChecksChanged": len(others),
            "OtherChecks": [f"{c.check_id}: {c.before} -> {c.after}" for c in others[:NAMED_MAX]],
        }


def _from(changes: deque[_Change], since: float) -> Iterable[_Change]:
    """Those that are not older, oldest first."""
    found: list[_Change] = []
    for change in reversed(changes):
        if change.at < since:
            break
        found.append(change)
    return reversed(found)
