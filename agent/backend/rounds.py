"""Reads that must be fresh, confirmed together: one round with the leader for all of them.

A read may use a round only if it was there before the round began, or the answer could be older
than the question. So reads gather while a round is on its way and share the next one: with 64
clients a round confirms about 60 reads, and one client alone never waits for another. A round that
takes long (an election) does not hold up those behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agent.errors import NoClusterLeader
from agent.tasks import TaskOwner

#: Called with None when this server's state is fresh enough, else with what went wrong.
Done = Callable[[Exception | None], None]

#: A round that takes longer than this many seconds no longer holds up the next one.
PATIENCE_S = 0.02


class ReadRounds:
    """Gathers reads and confirms them round by round with ``catch_up``."""

    def __init__(self, catch_up: Callable[[], Awaitable[None]], owner: TaskOwner) -> None:
        self._catch_up = catch_up
        self._owner = owner
        self._gathered: list[Done] = []
        self._due: asyncio.Handle | None = None
        self._on_their_way = 0
        self._newest_at = 0.0
        self._closed = False

    async def fresh(self) -> None:
        """Return once this server's state is no older than the call."""
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if confirmed.done():
                return
            if error is None:
                confirmed.set_result(None)
            else:
                confirmed.set_exception(error)

        self.join(done)
        await confirmed

    def join(self, done: Done) -> None:
        """Call back once this server's state is no older than the call; must not raise."""
        self._gathered.append(done)
        if self._closed:
            self._begin()
        elif self._due is None:
            loop = asyncio.get_running_loop()
            if not self._on_their_way:
                # One turn of the loop: all that came with the same wake-up join.
                self._due = loop.call_soon(self._begin)
            else:
                self._due = loop.call_at(self._newest_at + PATIENCE_S, self._begin)

    def _begin(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        gathered, self._gathered = self._gathered, []
        if self._closed:
            for done in gathered:
                done(NoClusterLeader())
        elif gathered:
            self._on_their_way += 1
            self._newest_at = asyncio.get_running_loop().time()
            self._owner.spawn(self._round(gathered), name="read round")

    async def _round(self, gathered: list[Done]) -> None:
        failure: Exception | None = NoClusterLeader()  # if we are cancelled: this server stops
        try:
            await self._catch_up()
            failure = None
        except Exception as error:
            failure = error
        finally:
            self._on_their_way -= 1
            for done in gathered:
                done(failure)
            self._begin()

    def close(self) -> None:
        """No more rounds; who has gathered is told so."""
        self._closed = True
        self._begin()
