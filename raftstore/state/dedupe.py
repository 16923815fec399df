"""Which requests were carried out already, so that a retried write is applied once.

Part of the replicated state: every server remembers and forgets the same, driven by replicated time
alone (raft-engine contract 2.8). A sender tells with each request below which counter all of its
requests are finished; those are forgotten, and so are senders that stay silent.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from raftstore.commands import Outcome, Rejected, RequestId
from raftstore.config import StateLimits


@dataclass(slots=True)
class _Window:
    """What is remembered of one sender. Counters below ``floor`` are finished."""

    floor: int = 0
    last_at: float = 0.0
    outcomes: dict[int, Outcome] = field(default_factory=dict)


class Dedupe:
    """Outcomes of recent requests by sender and counter."""

    __slots__ = ("_limits", "_oldest_at", "_windows")

    def __init__(self, limits: StateLimits) -> None:
        self._limits = limits
        self._windows: OrderedDict[str, _Window] = OrderedDict()  # longest silent first
        self._oldest_at = -math.inf  # no sender has been silent since before then

    def recall(self, index: int, request: RequestId) -> Outcome | None:
        """What became of this request, None if it is new."""
        window = self._windows.get(request.sender)
        if window is None:
            return None
        if request.counter < window.floor:
            # Its sender has its answer or has given up: nobody waits for this late copy.
            return Rejected(index, "this request has been answered before")
        return window.outcomes.get(request.counter)

    def remember(self, stamp: float, request: RequestId, outcome: Outcome) -> None:
        """Keep the outcome; forget what is finished, too old or too much."""
        window = self._windows.get(request.sender)
        if window is None:
            window = self._windows[request.sender] = _Window()
        outcomes = window.outcomes
        outcomes[request.counter] = outcome
        window.last_at = stamp
        self._windows.move_to_end(request.sender)
        floor = request.floor
        if floor == window.floor + 1:  # nearly always: the oldest of a sender's has its answer
            outcomes.pop(window.floor, None)
            window.floor = floor
        elif floor > window.floor:
            _raise_floor(window, floor)
        while len(outcomes) > self._limits.outcomes_max:
            _raise_floor(window, min(outcomes) + 1)
        if (
            stamp - self._limits.sender_idle_s > self._oldest_at
            or len(self._windows) > self._limits.senders_max
        ):
            self._forget_senders(stamp)

    def _forget_senders(self, stamp: float) -> None:
        oldest_at = stamp - self._limits.sender_idle_s
        while self._windows:
            sender, window = next(iter(self._windows.items()))
            if window.last_at >= oldest_at and len(self._windows) <= self._limits.senders_max:
                self._oldest_at = window.last_at
                return
            del self._windows[sender]

    def __len__(self) -> int:
        return sum(len(window.outcomes) for window in self._windows.values())

    def rows(self) -> Iterator[tuple[str, int, float, list[tuple[int, Outcome]]]]:
        """For a snapshot: sender, floor, last use, outcomes; longest silent first.

        Nothing may be remembered meanwhile.
        """
        for sender, window in self._windows.items():
            outcomes = sorted(window.outcomes.items(), key=_first)
            yield sender, window.floor, window.last_at, outcomes

    def load(
        self, sender: str, floor: int, last_at: float, outcomes: list[tuple[int, Outcome]]
    ) -> None:
        """From a snapshot, in the order of ``rows``."""
        self._windows[sender] = _Window(floor, last_at, dict(outcomes))
        self._oldest_at = -math.inf

    def check(self) -> None:
        """Assert what only our own bug can break."""
        assert len(self._windows) <= self._limits.senders_max
        assert all(window.last_at >= self._oldest_at for window in self._windows.values())
        for window in self._windows.values():
            assert len(window.outcomes) <= self._limits.outcomes_max
            assert all(counter >= window.floor for counter in window.outcomes)


def _first(item: tuple[int, Outcome]) -> int:
    return item[0]


def _raise_floor(window: _Window, floor: int) -> None:
    """Forget what lies below ``floor``: one by one when few, in one pass when it leapt."""
    if floor <= window.floor:
        return
    if floor - window.floor <= len(window.outcomes):
        for counter in range(window.floor, floor):
            window.outcomes.pop(counter, None)
    else:
        for counter in [held for held in window.outcomes if held < floor]:
            del window.outcomes[counter]
    window.floor = floor
