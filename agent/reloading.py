"""Reading the configuration anew, and having it taken over.

Reading is a thread's work: a parser of HCL takes a millisecond a line. One reload at a time, so
that what was asked for last is in force last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from agent.config.schema import AgentConfig
from agent.errors import AgentError
from raftstore.records import Json

log = logging.getLogger("lictor.agent")

#: Files are looked at every so many seconds where `auto_reload_config` is set, and read once they
#: have stayed the same for so long: an editor may be in the middle of writing.
LOOK_S = 1.0


class Source(Protocol):
    """Where the configuration comes from. All of it may block, and raise ConfigError."""

    def read(self) -> AgentConfig:
        """Everything anew."""
        ...

    def taken(self) -> list[str]:
        """What was read last is in force, as far as it can be; gives the keys that have to wait."""
        ...

    def plan(self) -> Json:
        """What a reload would change now; it changes nothing."""
        ...

    @property
    def read_stamp(self) -> object:
        """How the files looked when they were read last, successfully or not."""
        ...

    def stamp(self) -> object:
        """How they look now."""
        ...


class Reload:
    """An agent's way to its configuration."""

    def __init__(
        self,
        source: Source,
        take_over: Callable[[AgentConfig], Awaitable[None]],
        bulk: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """``take_over`` raises AgentError when it has changed nothing. ``bulk`` stands around the
        making of very many objects (agent/loop/collector.py)."""
        self._bulk = bulk
        self._source = source
        self._take_over = take_over
        self._one_at_a_time = asyncio.Lock()

    async def now(self) -> None:
        """Read and take over. Raises AgentError; then everything is as it was."""
        async with self._one_at_a_time:
            with self._bulk():
                await self._take_over(await asyncio.to_thread(self._source.read))
            for key in await asyncio.to_thread(self._source.taken):
                log.warning("changed key waits for a restart of the agent key=%s", key)
            log.info("configuration reloaded")

    async def logged(self) -> None:
        """The same for a signal, which nobody waits for."""
        try:
            await self.now()
        except AgentError as error:
            log.error("Reload config failed, the old configuration stays error=%s", error)

    async def readable(self) -> bool:
        """Whether the files could be started with; what is wrong with them is logged."""
        try:
            async with self._one_at_a_time:
                await asyncio.to_thread(self._source.read)
        except AgentError as error:
            log.error("not restarting, the configuration is refused error=%s", error)
            return False
        return True

    async def explain(self) -> Json:
        """What a reload would change now."""
        return await asyncio.to_thread(self._source.plan)

    async def follow(self, *, look_s: float = LOOK_S) -> None:
        """Reload whenever the files have changed and then stayed the same for a moment."""
        last: object = None
        while True:
            await asyncio.sleep(look_s)
            seen = await asyncio.to_thread(self._source.stamp)
            if seen == last and seen != self._source.read_stamp:
                log.info("configuration files have changed")
                await self.logged()
            last = seen
