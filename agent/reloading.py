"""Reading the configuration anew, and having it taken over.

Reading is a thread's work: a parser of HCL takes a millisecond a line. One reload at a time, so
that what was asked for last is in force last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.config.schema import AgentConfig
from agent.errors import AgentError

log = logging.getLogger("lictor.agent")


class Reload:
    """An agent's way to its configuration."""

    def __init__(
        self, read: Callable[[], AgentConfig], take_over: Callable[[AgentConfig], Awaitable[None]]
    ) -> None:
        """``read`` runs in a thread. Both raise AgentError and have changed nothing then."""
        self._read = read
        self._take_over = take_over
        self._one_at_a_time = asyncio.Lock()

    async def now(self) -> None:
        """Read and take over. Raises AgentError; then everything is as it was."""
        async with self._one_at_a_time:
            await self._take_over(await asyncio.to_thread(self._read))
            log.info("configuration reloaded")

    async def logged(self) -> None:
        """The same for a signal, which nobody waits for."""
        try:
            await self.now()
        except AgentError as error:
            log.error("reload failed, keeping the old configuration error=%s", error)
