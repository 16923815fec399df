"""Which requests were carried out already, so that a retried write is applied once.

Part of the replicated state: every server remembers and forgets the same, driven by replicated time
alone (raft-engine contract 2.8). A sender tells with each request below which counter all of its
requests are finished; those are forgotten, and so are senders that stay silent.

What a transaction gave back may be megabytes. Such answers share one bound in bytes; past it, the
oldest are replaced by the word that the request was carried out: it is still applied only once.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sortedcontainers import SortedDict

from raftstore.commands import Outcome, Rejected, RequestId
from raftstore.config import StateLimits
from raftstore.errors import AnswerGone

ANSWER_GONE = "this request has been carried out, but its answer is no longer kept"
ANSWERED = "this request has been answered before"
#: Outcomes up to this size are bounded by their number alone.
_LIGHT_BYTES = 256


@dataclass(slots=True)
class _Window:
    """What is remembered of one sender. Counters below ``floor`` are finished."""

    floor: int = 0
    last_at: float = 0.0
    outcomes: dict[int, Outcome] = field(default_factory=dict)


class Dedupe:
    """Outcomes of recent requests by sender and counter."""

    __slots__ = ("_bytes", "_heavy", "_limits", "_oldest_at", "_windows")

    def __init__(self, limits: StateLimits) -> None:
        self._limits = limits
        self._windows: OrderedDict[str, _Window] = OrderedDict()  # longest silent first
        self._oldest_at = -math.inf  # no sender has been silent since before then
        #: Where the outcomes over ``_LIGHT_BYTES`` are: sender and counter by index, which no two
        #: commands share, so a restored state lets go of the same ones.
        self._heavy: SortedDict[int, tuple[str, int]] = SortedDict()
        self._bytes = 0

    def recall(self, index: int, request: RequestId) -> Outcome | None:
        """What became of this request, None if it is new."""
        window = self._windows.get(request.sender)
        if window is None:
            return None
        if request.counter < window.floor:
            # Its sender has its answer or has given up: nobody waits for this late copy.
            return Rejected(index, ANSWERED)
        return window.outcomes.get(request.counter)

    def remember(self, stamp: float, request: RequestId, outcome: Outcome) -> None:
        """Keep the outcome; forget what is finished, too old or too much."""
        window = self._windows.get(request.sender)
        if window is None:
            window = self._windows[request.sender] = _Window()
        outcomes = window.outcomes
        outcomes[request.counter] = outcome
        if isinstance(outcome, Rejected) or outcome.value is not True:
            size = _size(outcome)
            if size > _LIGHT_BYTES:
                self._add_heavy(request.sender, request.counter, outcome.index, size)
        window.last_at = stamp
        self._windows.move_to_end(request.sender)
        floor = request.floor
        if floor == window.floor + 1:  # nearly always: the oldest of a sender's has its answer
            finished = outcomes.pop(window.floor, None)
            window.floor = floor
            if self._heavy and finished is not None:
                self._forget(finished)
        elif floor > window.floor:
            self._raise_floor(window, floor)
        while len(outcomes) > self._limits.outcomes_max:
            self._raise_floor(window, min(outcomes) + 1)
        while self._bytes > self._limits.outcomes_bytes_max:
            self._lighten()
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
            if self._heavy:
                for outcome in window.outcomes.values():
                    self._forget(outcome)

    def _add_heavy(self, sender: str, counter: int, index: int, size: int) -> None:
        assert index not in self._heavy
        self._heavy[index] = sender, counter
        self._bytes += size

    def _forget(self, outcome: Outcome) -> None:
        """It is remembered no more."""
        if self._heavy.pop(outcome.index, None) is not None:
            self._bytes -= _size(outcome)

    def _lighten(self) -> None:
        """Of the oldest heavy outcome keep only that it was."""
        index, (sender, counter) = self._heavy.peekitem(0)
        outcomes = self._windows[sender].outcomes
        self._forget(outcomes[counter])
        outcomes[counter] = Rejected(index, ANSWER_GONE)

    def _raise_floor(self, window: _Window, floor: int) -> None:
        """Forget what lies below ``floor``: one by one when few, in one pass when it leapt."""
        outcomes = window.outcomes
        counters: Iterable[int] = range(window.floor, floor)
        if floor - window.floor > len(outcomes):
            counters = [held for held in outcomes if held < floor]
        for counter in counters:
            finished = outcomes.pop(counter, None)
            if self._heavy and finished is not None:
                self._forget(finished)
        window.floor = floor

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
        for counter, outcome in outcomes:
            size = _size(outcome)
            if size > _LIGHT_BYTES:
                self._add_heavy(sender, counter, outcome.index, size)

    def check(self) -> None:
        """Assert what only our own bug can break."""
        assert len(self._windows) <= self._limits.senders_max
        assert all(window.last_at >= self._oldest_at for window in self._windows.values())
        assert self._bytes <= self._limits.outcomes_bytes_max
        sizes = [
            size
            for window in self._windows.values()
            for outcome in window.outcomes.values()
            if (size := _size(outcome)) > _LIGHT_BYTES
        ]
        assert (len(sizes), sum(sizes)) == (len(self._heavy), self._bytes)
        for window in self._windows.values():
            assert len(window.outcomes) <= self._limits.outcomes_max
            assert all(counter >= window.floor for counter in window.outcomes)


def gone(outcome: object) -> AnswerGone | None:
    """What its caller is told of an outcome that says no more than that there has been one.

    For the state a repeated request is refused; its caller wants to know what came of the first.
    """
    if isinstance(outcome, Rejected) and outcome.reason in (ANSWER_GONE, ANSWERED):
        return AnswerGone(outcome.reason)
    return None


def _first(item: tuple[int, Outcome]) -> int:
    return item[0]


def _size(outcome: Outcome) -> int:
    """Bytes of the part that may be large: a transaction's answer, or words of the client."""
    part = outcome.reason if isinstance(outcome, Rejected) else outcome.value
    return len(part) if type(part) is bytes or type(part) is str else 0
