"""What held the event loop: counted by length, and the worst kept to explain.

A *hold* is a stretch in which the loop did one thing and nothing else could happen. What counts is
the time that was ours: processor time of the loop's thread, and waiting for anything but a
processor (a disk, a lock, a thread of ours that has the interpreter). Time in which the machine ran
somebody else's program is taken off, or a busy machine would look like a bug.

Pure: clocks, stacks and the scheduler's accounts come from the shell (watchdog.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from agent.dates import date
from agent.histogram import Histogram
from raftstore.records import Json

#: Nothing may hold the loop longer: the promise of the architecture, in seconds.
HOLD_MAX_S = 0.010
#: Holds over that which are kept to be explained.
KEPT_MAX = 64
#: Upper ends of the histogram, in seconds.
BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch by the clocks, in seconds.

    ``queued_s`` is how long the process' threads stood in line for a processor meanwhile;
    ``collecting_s`` the part of ``cpu_s`` that was the garbage collector's.
    """

    wall_s: float
    cpu_s: float
    queued_s: float = 0.0
    collecting_s: float = 0.0

    @property
    def blocked_s(self) -> float:
        """Waiting for anything but a processor."""
        return max(0.0, self.wall_s - self.cpu_s - self.queued_s)

    @property
    def own_s(self) -> float:
        """What is ours of it."""
        return min(self.wall_s, self.cpu_s + self.blocked_s)


@dataclass(frozen=True, slots=True)
class Hold:
    """A stretch that was too long. ``at`` is when it ended, in seconds since the epoch."""

    at: float
    span: Span
    what: str
    stack: tuple[str, ...]

    def explained(self) -> Json:
        """As data for operators."""
        return {
            "At": date(self.at),
            "HeldMs": _ms(self.span.own_s),
            "WallMs": _ms(self.span.wall_s),
            "CPUMs": _ms(self.span.cpu_s),
            "BlockedMs": _ms(self.span.blocked_s),
            "QueuedMs": _ms(self.span.queued_s),
            "CollectorMs": _ms(self.span.collecting_s),
            "What": self.what,
            "Stack": list(self.stack),
        }


class Passes(Protocol):
    """What the garbage collector has done (collector.py)."""

    @property
    def passes(self) -> int: ...
    @property
    def freezes(self) -> int: ...
    @property
    def highest_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class HoldStats:
    """What became metrics. ``hold_s`` are lengths of what was measured, too long or not."""

    hold_s: Histogram
    hold_highest_s: float
    holds_over_limit: int
    collector_highest_s: float
    collector_passes: int
    collector_freezes: int


class Holds:
    """All holds of one loop."""

    def __init__(self, collector: Passes, *, exact: bool, hold_max_s: float = HOLD_MAX_S) -> None:
        """``exact``: every callback is measured, not only how late a timer is."""
        self._collector = collector
        self.exact = exact
        self.hold_max_s = hold_max_s
        self.lengths = Histogram(BOUNDS_S)
        self.over = 0
        self._kept: deque[Hold] = deque(maxlen=KEPT_MAX)

    def note(self, span: Span) -> bool:
        """Count a stretch; True if it was too long, and should be kept with its stack."""
        own_s = span.own_s
        self.lengths.observe(own_s)
        if own_s <= self.hold_max_s:
            return False
        self.over += 1
        return True

    def keep(self, hold: Hold) -> None:
        """Remember one that was too long; the oldest is forgotten for it."""
        self._kept.append(hold)

    def stats(self) -> HoldStats:
        """For the metrics."""
        return HoldStats(
            hold_s=self.lengths,
            hold_highest_s=self.lengths.highest,
            holds_over_limit=self.over,
            collector_highest_s=self._collector.highest_s,
            collector_passes=self._collector.passes,
            collector_freezes=self._collector.freezes,
        )

    def recent(self) -> tuple[Hold, ...]:
        """The kept ones, oldest first."""
        return tuple(self._kept)

    def explained(self) -> dict[str, Json]:
        """As data for operators, newest first."""
        return {
            "Measured": "each callback" if self.exact else "each turn",
            "LimitMs": _ms(self.hold_max_s),
            "Count": self.lengths.count,
            "Over": self.over,
            "HighestMs": _ms(self.lengths.highest),
            "Collector": {
                "Passes": self._collector.passes,
                "Freezes": self._collector.freezes,
                "HighestMs": _ms(self._collector.highest_s),
            },
            "Holds": [hold.explained() for hold in reversed(self._kept)],
        }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
