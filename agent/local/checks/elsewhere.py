"""Alias checks of what other nodes run: follows those nodes in the catalog.

One question per node, held by a server until something changes there. While no server answers, the
last known status stays: that says nothing about the other node.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from agent.backend import Ask, Backend, Consistency
from agent.definitions import CheckDefinition
from agent.errors import ForwardError, RequestError
from agent.local.checks.alias import judge, target_missing
from agent.tasks import TaskOwner
from raftstore.errors import StoreError
from raftstore.queries import NodeChecks, NodeServices
from raftstore.records import CheckId

log = logging.getLogger("lictor.agent.local.checks")

#: How long a server holds the question, and pauses after failures, in seconds.
WAIT_S = 300.0
PAUSE_MIN_S = 1.0
PAUSE_MAX_S = 30.0

#: Takes an alias check's id, its status and its output.
OnStatus = Callable[[CheckId, str, str], None]


class Elsewhere:
    """Runs one task per followed node."""

    def __init__(self, backend: Backend, on_status: OnStatus, rng: random.Random) -> None:
        self._backend = backend
        self._on_status = on_status
        self._rng = rng
        self._checks: dict[CheckId, CheckDefinition] = {}
        self._of_node: dict[str, dict[CheckId, None]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._owner = TaskOwner()

    def put(self, check: CheckDefinition) -> None:
        """Follow ``check.alias_node``; a check with the same id is replaced."""
        self.remove(check.id)
        node = check.alias_node.lower()
        self._checks[check.id] = check
        self._of_node.setdefault(node, {})[check.id] = None
        task = self._tasks.pop(node, None)
        if task is not None:
            task.cancel()  # a question that is held now would leave the new check waiting
        self._tasks[node] = self._owner.spawn(self._follow(node), name=f"alias of node {node}")

    def remove(self, check_id: CheckId) -> None:
        """Follow no more for this check; others are left alone."""
        check = self._checks.pop(check_id, None)
        if check is None:
            return
        node = check.alias_node.lower()
        followers = self._of_node[node]
        del followers[check_id]
        if not followers:
            del self._of_node[node]
            self._tasks.pop(node).cancel()

    async def close(self) -> None:
        """End all tasks."""
        self._checks.clear()
        self._of_node.clear()
        self._tasks.clear()
        await self._owner.close()

    async def _follow(self, node: str) -> None:
        index, pause_s = 0, PAUSE_MIN_S
        while True:
            try:
                index = await self._look(node, index)
                pause_s = PAUSE_MIN_S
            except (StoreError, ForwardError, RequestError) as error:
                log.debug("node of alias checks not seen node=%s error=%s", node, error)
                index = 0
                await asyncio.sleep(pause_s * (0.5 + self._rng.random()))
                pause_s = min(PAUSE_MAX_S, pause_s * 2)

    async def _look(self, node: str, index: int) -> int:
        """Judge by what the catalog says once it is newer than ``index``; gives its index."""
        some = next(iter(self._of_node[node]))
        name = self._checks[some].alias_node
        ask = Ask(consistency=Consistency.STALE, min_index=index, wait_s=WAIT_S)
        services = await self._backend.ask(NodeServices(name), ask)
        checks = await self._backend.ask(NodeChecks(name), Ask(consistency=Consistency.STALE))
        known = {service.id for service in services.value.services}
        for check_id in list(self._of_node.get(node, ())):
            check = self._checks[check_id]
            target = check.alias_service
            if target and target not in known:
                status, output = target_missing(target, check.alias_node)
            else:
                mine = (c for c in checks.value if c.service_id in {"", target})
                status, output = judge(check_id, mine)
            self._on_status(check_id, status, output)
        return services.index
