"""Blocking queries without a task: a question that waits is a watch, a timer and its connection.

A thousand clients that watch one service ask the same but for their index and wait. So a blocking
query is taken apart: what it asks (its target without those two) is a read as prompt.py keeps them,
made once for all who ask the same; when it is to be answered is decided here. What is not plain (a
cached answer, the past, a bound on age, a wait that only the long way's rules can read) is left to
the long way from the start.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from agent.backend import Prompt
from agent.http.lane import Seen
from raftstore.errors import QueueFull
from raftstore.queries import Query

_INDEX = b"index="
_WAIT = b"wait="
_DIGITS_MAX = 19
_PLAIN_WAIT = re.compile(rb"[0-9]{1,6}(?:ms|s|m|h)")
_TARGET_AT = len(b"GET ")


class Blocking(NamedTuple):
    """A blocking query taken apart. ``wait`` is "" when it names none."""

    target: bytes
    min_index: int
    wait: str


def taken_apart(target: bytes) -> Blocking | None:
    """What a target asks, and until when it waits; None for what is none of the usual ones."""
    path, mark, query = target.partition(b"?")
    if not mark or _INDEX not in query:
        return None
    index: bytes | None = None
    wait: bytes | None = None
    rest: list[bytes] = []
    for part in query.split(b"&"):
        if part.startswith(_INDEX):
            if index is not None:
                return None
            index = part[len(_INDEX) :]
        elif part.startswith(_WAIT):
            if wait is not None:
                return None
            wait = part[len(_WAIT) :]
            if not _PLAIN_WAIT.fullmatch(wait):
                return None
        elif b"%" in part.partition(b"=")[0]:
            return None  # a name that only the long way's reader knows
        else:
            rest.append(part)
    if (
        index is None
        or not (index.isascii() and index.isdigit())
        or len(index) > _DIGITS_MAX
        or not int(index)
    ):
        return None
    asked = path + mark + b"&".join(rest) if rest else path
    return Blocking(asked, int(index), (wait or b"").decode("ascii"))


def without_wait(seen: Seen, target: bytes) -> Seen:
    """The same request for a target that answers at once, as bytes too."""
    data = b"".join((b"GET ", target, seen.data[_TARGET_AT + len(seen.target) :]))
    return seen._replace(target=target, data=data)


class Holder(Protocol):
    """Whose connection it is: it says when the client is gone."""

    def hold(self, within_s: float, give_up: Callable[[], None]) -> None: ...


class Places(Protocol):
    """Who counts those that wait, and ends them at the stop."""

    def keep(self, held: HeldRead) -> bool: ...

    def let_go(self, held: HeldRead) -> None: ...


class HeldRead:
    """One blocking query. ``answer`` is called once, with None or with what went wrong; never when
    the client gave up."""

    __slots__ = ("_answer", "_backend", "_cancel", "_min_index", "_places", "_query", "_timer",
                 "_until")  # fmt: skip

    def __init__(
        self,
        backend: Prompt,
        places: Places,
        query: Query[Any],
        *,
        min_index: int,
        answer: Callable[[Exception | None], None],
    ) -> None:
        self._backend = backend
        self._places = places
        self._query = query
        self._min_index = min_index
        self._answer: Callable[[Exception | None], None] | None = answer
        self._cancel: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0

    def begin(self, holder: Holder, wait_s: float, *, stale: bool) -> bool:
        """Wait for up to ``wait_s``; False when there is no place left, and nothing is done."""
        if not self._places.keep(self):
            return False
        self._until = asyncio.get_running_loop().time() + wait_s
        holder.hold(wait_s, self.give_up)
        if stale:
            self._look(None)
        else:
            self._backend.fresh_soon(self._look)
        return True

    def give_up(self) -> None:
        """The client is gone."""
        self._end()

    def stop(self, reason: Exception) -> None:
        """The agent stops."""
        self._finish(reason)

    def _look(self, error: Exception | None) -> None:
        """Answer now, or watch for what changes the answer."""
        self._cancel = None
        if self._answer is None:
            return
        if error is not None or self._backend.index_of(self._query) > self._min_index:
            self._finish(error)
            return
        try:
            self._cancel = self._backend.watch_patiently(self._query, self._changed)
        except QueueFull as full:
            self._finish(full)
            return
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._until, self._finish)

    def _changed(self) -> None:
        self._look(None)

    def _finish(self, error: Exception | None = None) -> None:
        answer = self._end()
        if answer is not None:
            answer(error)

    def _end(self) -> Callable[[Exception | None], None] | None:
        """Wait no longer; gives whom to tell, None if it had ended already."""
        answer, self._answer = self._answer, None
        if answer is None:
            return None
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._places.let_go(self)
        return answer
