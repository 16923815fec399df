"""How many requests are held at the moment, and how they end when the agent stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agent.errors import RequestError
from agent.http.held import HeldRead


class Waiting:
    """The requests that wait for a change. Bounded; ended together at the stop."""

    __slots__ = ("_held", "_stopping", "_tasks", "places_max", "refused")

    def __init__(self, places_max: int) -> None:
        self.places_max = places_max
        self.refused = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self._held: set[HeldRead] = set()
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether nobody is held any more."""
        return self._stopping

    def __len__(self) -> int:
        return len(self._tasks) + len(self._held)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while waiting. Raises RequestError 429 when there is none left."""
        if self._stopping:
            raise _stopping()
        if len(self) >= self.places_max:
            self.refused += 1
            raise RequestError(429, "Too many blocking queries on this agent")
        task = asyncio.current_task()
        assert task is not None, "handlers run in tasks"
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def keep(self, held: HeldRead) -> bool:
        """A place for one that waits without a task; False when there is none left."""
        if self._stopping or len(self) >= self.places_max:
            return False
        self._held.add(held)
        return True

    def let_go(self, held: HeldRead) -> None:
        """It has ended."""
        self._held.discard(held)

    def end_quietly(self) -> bool:
        """Take back the cancellation of a held request that came from ``stop``; False if it did
        not."""
        if not self._stopping:
            return False
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return True

    def raise_if_stopping(self) -> None:
        """Turn the cancellation of a held request into an answer, if it came from ``stop``."""
        if self.end_quietly():
            raise _stopping()

    def stop(self) -> None:
        """End every held request with an answer, and hold no more."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        for held in list(self._held):
            held.stop(_stopping())


def _stopping() -> RequestError:
    return RequestError(500, "Agent is shutting down")
