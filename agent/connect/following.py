"""Asks again and again: hands on each answer that is newer than the last, and never gives up."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from agent.backend import Ask, Backend, Consistency
from agent.connect.leaves import Leaf
from agent.connect.renewal import Retry
from agent.errors import AgentError
from raftstore.errors import StoreError
from raftstore.queries import Query

log = logging.getLogger("lictor.agent.connect.feeds")

T = TypeVar("T")

#: Seconds for which a question is held until there is news.
WAIT_S = 300.0


class Leaves(Protocol):
    """Where leaf certificates come from (leaves.py)."""

    async def leaf(self, service: str, *, min_index: int = 0, wait_s: float = 0.0) -> Leaf: ...


class Following:
    """Follows answers of the state, and leaves; each call runs until it is cancelled."""

    def __init__(self, backend: Backend, leaves: Leaves, rng: random.Random) -> None:
        self._backend = backend
        self._leaves = leaves
        self._rng = rng

    async def answers(self, name: str, query: Query[T], take: Callable[[T], None]) -> None:
        """Every new answer of a query; ``name`` is for the log."""
        index = 0

        async def once() -> None:
            nonlocal index
            # The first answer is a fresh one; from then on an answer is newer than the last.
            mode = Consistency.STALE if index else Consistency.DEFAULT
            reply = await self._backend.ask(
                query, Ask(consistency=mode, min_index=index, wait_s=WAIT_S if index else 0.0)
            )
            if reply.index < index:  # another history: begin again
                index = 0
                return
            if reply.index != index:
                index = reply.index
                take(reply.value)

        await self._repeat(name, once)

    async def leaf(self, service: str, take: Callable[[Any], None]) -> None:
        """Every new leaf of a service."""
        index = 0

        async def once() -> None:
            nonlocal index
            found = await self._leaves.leaf(service, min_index=index, wait_s=WAIT_S)
            index = found.modify_index
            take(found)

        await self._repeat("leaf", once)

    async def _repeat(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        retry = Retry(self._rng)
        while True:
            try:
                await once()
            except (AgentError, StoreError) as error:
                pause_s = retry.failed_s()
                log.info("not known what=%s retry_s=%.1f error=%s", name, pause_s, error)
                await asyncio.sleep(pause_s)
            else:
                retry.succeeded()
