"""What all parts of one agent stand on: configuration, metrics, tasks, and how each is closed."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.config.schema import AgentConfig
from agent.listening import Sockets
from agent.metrics import AgentMetrics
from agent.program import Program
from agent.quotas import Quotas
from agent.tasks import TaskOwner

log = logging.getLogger("lictor.agent")


class Closers:
    """How to close what was opened, last first."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    def add(self, name: str, close: Callable[[], Awaitable[object]]) -> None:
        """``close`` is called once, after everything that is added later is closed."""
        self._open.append((name, close))

    async def close(self) -> None:
        """Close everything; a part that fails to is logged, and does not keep the others open."""
        while self._open:
            name, close = self._open.pop()
            try:
                await close()
            except Exception:  # one part's trouble must not keep the others open
                log.exception("stop failed part=%s", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Given to every part. ``fail`` ends the agent, with the reason for its log."""

    config: AgentConfig
    node_id: str
    rng: random.Random
    owner: TaskOwner
    metrics: AgentMetrics
    closers: Closers
    quotas: Quotas
    fail: Callable[[str], None]
    sockets: Sockets
    program: Program
