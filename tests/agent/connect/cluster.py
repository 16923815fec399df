"""A backend in this process over the real state machine: one server, no log, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from agent.backend import Ask, Reply, SignedLeaf
from raftstore.commands import Command, Outcome
from raftstore.errors import NoLeader
from raftstore.queries import Query
from raftstore.records import Actor
from raftstore.state.machine import StateMachine

T = TypeVar("T")
ASK = Ask()


class StateBackend:
    """Applies and answers at once. ``down`` makes every call fail as without a leader."""

    def __init__(self) -> None:
        self.machine = StateMachine()
        self.index = 10
        self.down = False
        self.signer: Callable[[str], Awaitable[SignedLeaf]] | None = None
        self.signed = 0
        self._moved = asyncio.Event()

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        self._check()
        self.index += 1
        outcome = self.machine.apply(self.index, 1.0, command)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        return outcome

    async def ask(self, query: Query[T], options: Ask = ASK) -> Reply[T]:
        self._check()
        deadline = asyncio.get_running_loop().time() + options.wait_s
        while True:
            moved, answer = self._moved, self.machine.answer(query)
            left = deadline - asyncio.get_running_loop().time()
            if answer.index > options.min_index or not options.min_index or left <= 0:
                return Reply(value=answer.value, index=answer.index)
            try:
                await asyncio.wait_for(moved.wait(), left)
            except TimeoutError:
                continue

    def peek(self, query: Query[T]) -> Reply[T] | None:
        return None

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        return None

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        self._check()
        assert self.signer is not None
        self.signed += 1
        return await self.signer(csr_pem)

    async def leader(self) -> str:
        return "127.0.0.1:8300"

    async def peers(self) -> tuple[str, ...]:
        return ("127.0.0.1:8300",)

    def _check(self) -> None:
        if self.down:
            raise NoLeader("no leader")
