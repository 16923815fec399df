"""The timers of one node on its loop. They say when; what to do then is the driver's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from raftstore.errors import StoreError
from raftstore.raft.callers import STEP_S, Deadlines, Waiting
from raftstore.raft.requests import Outcome

SLACK_S = 0.001
"""Timers fire a little late, so that the engine's strict comparison finds the deadline passed."""
NEVER = float("inf")


class Alarm:
    """One timer for the engine's deadline, which moves with every message.

    It is not moved to a later time: one that rings early is just set again.
    """

    def __init__(self, now: Callable[[], float], ring: Callable[[], None]) -> None:
        """``now`` is the clock of the deadlines, in seconds."""
        self._loop = asyncio.get_running_loop()
        self._now = now
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._at = NEVER

    def set(self, deadline: float) -> None:
        """Ring at ``deadline`` at the latest, or a little later."""
        if deadline >= self._at:
            return
        self.cancel()
        self._at = deadline
        delay = max(0.0, deadline - self._now()) + SLACK_S
        self._handle = self._loop.call_later(delay, self._rings)

    def again_in(self, delay_s: float) -> None:
        """Ring again after so many seconds, whatever the deadline, unless it is set for sooner."""
        self.set(self._now() + delay_s)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._at = None, NEVER

    def _rings(self) -> None:
        self._handle, self._at = None, NEVER
        self._ring()


class CallerTimer:
    """Tells callers whose time is up, a step late at most."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines()
        self._handle: asyncio.TimerHandle | None = None

    def watch(self, waiting: Waiting, timeout_s: float) -> None:
        """Settle it after so many seconds unless it is dropped before."""
        self._deadlines.add(waiting, self._loop.time() + timeout_s)
        if self._handle is None:
            self._handle = self._loop.call_later(STEP_S, self._look)

    def settle(self, results: Iterable[tuple[object, Outcome | StoreError]]) -> None:
        """Tell callers what became of what they asked for."""
        for waiting, result in results:
            assert isinstance(waiting, Waiting)
            self._deadlines.drop(waiting)
            waiting.settle(result)

    def _look(self) -> None:
        due = self._deadlines.due(self._loop.time())
        # Set before anybody is told, and each is told by itself: whatever one of them does with it,
        # the others hear of their deadlines too, or nobody would ever again.
        self._handle = None
        if len(self._deadlines):
            self._handle = self._loop.call_later(STEP_S, self._look)
        for waiting in due:
            self._loop.call_soon(waiting.settle, waiting.too_late())

    def cancel(self) -> None:
        """Look at nobody any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Graces:
    """How long links that have closed may take to come back."""

    def __init__(self, grace_s: float, over: Callable[[str], None]) -> None:
        """``over`` is told of a peer whose link did not come back."""
        self._grace_s = grace_s
        self._over = over
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def begin(self, peer: str) -> None:
        """A link closed. One that closes again in its grace gets no more time."""
        if peer not in self._handles:
            loop = asyncio.get_running_loop()
            self._handles[peer] = loop.call_later(self._grace_s, self._ended, peer)

    def end(self, peer: str) -> None:
        """The link is back."""
        handle = self._handles.pop(peer, None)
        if handle is not None:
            handle.cancel()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        for peer in list(self._handles):
            self.end(peer)

    def _ended(self, peer: str) -> None:
        del self._handles[peer]
        self._over(peer)
