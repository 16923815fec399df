"""What takes long, done between other work: rows of one entry, long listings, many wakings.

All of it is about one state that others change meanwhile. A slice lasts two milliseconds, then the
loop turns once for everybody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from raftstore.queries import Answer, At, Query
from raftstore.slices import SLICE_S
from raftstore.state import StateMachine
from raftstore.state.listings import Moved
from raftstore.watches import Watch, Watches

T = TypeVar("T")

#: How often a listing begins again because something changed, before applying waits for it.
GATHER_TRIES = 3
#: Watches that are called in one turn of the loop; each makes an answer, at 50 to 100 µs.
WOKEN_AT_ONCE = 32


class Paced:
    """The paced work of one store."""

    def __init__(
        self, state: Callable[[], StateMachine], watches: Watches, resume: Callable[[], None]
    ) -> None:
        """``state`` gives the one in force; ``resume`` is told when applying may go on."""
        self._state = state
        self._watches = watches
        self._resume = resume
        self._waking: deque[Watch] = deque()
        self._wakes: asyncio.Handle | None = None
        self._finishing: asyncio.Handle | None = None
        self._settling: list[asyncio.Future[None]] = []
        self._gathering = 0

    def holds_applies(self) -> bool:
        """Whether nothing may be applied now."""
        return self._gathering > 0 or self._state().unfinished

    # Entries

    def applied(self) -> None:
        """Something was applied: wake whom it concerns, and go on with what is left of it."""
        state = self._state()
        self.wake(self._watches.watching(state.touched()))
        if state.unfinished and self._finishing is None:
            self._finishing = asyncio.get_running_loop().call_soon(self._finish_some)

    def _finish_some(self) -> None:
        self._finishing = None
        self._state().finish_some()
        self.applied()
        if not self._state().unfinished:
            for future in self._settling:
                if not future.done():
                    future.set_result(None)
            self._settling.clear()
            self._resume()

    async def settled(self) -> None:
        """Return once no entry is half applied."""
        while self._state().unfinished:
            settling: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settling.append(settling)
            await settling

    # Watches

    def wake(self, watches: list[Watch]) -> None:
        """Call back, blocking queries in slices: a thousand answers would keep others waiting."""
        for watch in watches:
            if watch.patient:
                self._waking.append(watch)
            else:
                self._watches.call(watch)  # what was kept of the answer must go before it is asked
        if self._waking and self._wakes is None:
            self._wake_some()

    def _wake_some(self) -> None:
        self._wakes = None
        for _ in range(min(len(self._waking), WOKEN_AT_ONCE)):
            self._watches.call(self._waking.popleft())
        if self._waking:
            self._wakes = asyncio.get_running_loop().call_soon(self._wake_some)

    # Listings

    async def gathered(self, query: Query[T], at: At | None = None) -> Answer[T]:
        """The answer, as of ``at`` if that is given, in slices where it is long.

        What changes meanwhile makes it begin again; the last time nothing is applied until it ends.
        """
        for _ in range(GATHER_TRIES):
            answer = await self._gather(query, at)
            if answer is not None:
                return answer
        self._gathering += 1
        try:
            while (answer := await self._gather(query, at)) is None:
                await self.settled()
        finally:
            self._gathering -= 1
            if not self._gathering:
                self._resume()
        return answer

    async def _gather(self, query: Query[T], at: At | None) -> Answer[T] | None:
        """None if something got in between."""
        if at is not None:
            await self.settled()  # a row that is half swept away is neither there nor undone
        state = self._state()
        steps = state.gather(query) if at is None else state.gather_at(query, at)
        if steps is None:
            return state.answer(query)
        loop = asyncio.get_running_loop()
        until = loop.time() + SLICE_S
        try:
            while True:
                next(steps)
                if loop.time() > until:
                    await asyncio.sleep(0)
                    until = loop.time() + SLICE_S
                    if self._state() is not state:
                        return None
        except StopIteration as end:
            answer: Answer[T] = end.value
            return answer
        except Moved:
            return None
