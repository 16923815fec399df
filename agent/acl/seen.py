"""The state as the holder of one token sees it: for a face whose askers show none, such as DNS.

Which token that is may change while the agent runs. What is made of answers here must be made anew
when ``generation`` is another number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from agent.acl.access import Access
from agent.acl.caller import Denied, TokenNotFound
from agent.backend import Ask, Reply
from agent.backend.acting import ACTING
from raftstore.queries import Query

T = TypeVar("T")


class Whole(Protocol):
    """The state without anybody looking over it."""

    def peek(self, query: Query[T]) -> Reply[T] | None: ...
    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None: ...


class SeenState:
    """Reads only."""

    __slots__ = ("_access", "_secret", "_whole")

    def __init__(self, access: Access, whole: Whole, secret: Callable[[], str]) -> None:
        self._access = access
        self._whole = whole
        self._secret = secret

    def generation(self) -> int:
        """Another number when other things may be seen."""
        access = self._access
        caller = access.caller_now(self._secret())
        gone = caller is None or access.expired(caller)
        return -1 if gone else access.generation

    def peek(self, query: Query[T]) -> Reply[T] | None:
        """What is held here and may be seen; None where somebody has to be asked."""
        access = self._access
        found = self._whole.peek(query)
        if found is None or not access.guards_state:
            return found
        caller = access.caller_now(self._secret())
        try:
            return None if caller is None else access.guard.answer(caller, query, found)
        except (Denied, TokenNotFound):
            return None

    async def ask(self, query: Query[T], options: Ask | None = None) -> Reply[T]:
        """Ask with the token. Raises Denied, TokenNotFound and what the state raises."""
        access = self._access
        acting = ACTING.set(self._secret())
        try:
            caller = await access.caller(self._secret())
            return await access.ask(caller, query, options)
        finally:
            ACTING.reset(acting)

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        """A promise of the whole state's."""
        return self._whole.watch_once(query, on_change)
