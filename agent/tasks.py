"""Owned tasks: every task has a name and an owner, and an error in one is never lost.

A bare ``asyncio.create_task`` keeps no strong reference, so the task may vanish in the middle; the
linter bans it in favour of this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

log = logging.getLogger("lictor.agent.tasks")

#: After this many seconds a task that still runs is cancelled again.
CANCEL_AGAIN_S = 1.0

T = TypeVar("T")


def when_ended(task: asyncio.Task[T], done: Callable[[T], None], *, stopped: T) -> None:
    """Call back with what a task gives, or ``stopped`` if it is cancelled, even before it began."""

    def ended(task: asyncio.Task[T]) -> None:
        failed = task.cancelled() or task.exception() is not None
        done(stopped if failed else task.result())

    task.add_done_callback(ended)


class TaskOwner:
    """Owns background tasks: logs what they raise, and cancels all of them at the end."""

    __slots__ = ("_closed", "_tasks")

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], *, name: str, awaited: bool = False
    ) -> asyncio.Task[T]:
        """Start a task that lives no longer than this owner.

        ``awaited`` says that somebody awaits the result and answers for its errors.
        """
        assert not self._closed, f"spawn({name}) after close"
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended_awaited if awaited else self._ended)
        return task

    def _ended_awaited(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen, also when the one who awaited has gone

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("task failed name=%s", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        self._closed = True
        tasks = set(self._tasks)
        while tasks:
            # More than once: what a library awaits may swallow one, as `wait_for` of 3.11 does when
            # its time comes at that very moment.
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S)

    def __len__(self) -> int:
        return len(self._tasks)
