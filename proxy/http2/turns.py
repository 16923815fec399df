"""Whose frames are next: of those who have sent many at once, one has a turn of the loop.

Decides nothing: first come, first served. A flood on many connections so costs everybody else no
more of each turn than one on a single connection.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Those who wait for their turn."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._next: asyncio.Handle | None = None

    async def turn(self) -> None:
        """Wait for the next turn of the loop that nobody else has."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if self._next is None:
            self._next = loop.call_soon(self._give)
        await mine

    def _give(self) -> None:
        self._next = None
        while self._waiting:
            mine = self._waiting.popleft()
            if not mine.done():  # whoever waited may have been cancelled
                mine.set_result(None)
                break
        if self._waiting:
            self._next = asyncio.get_running_loop().call_soon(self._give)
