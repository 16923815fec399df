"""The state as the holder of one token sees it: for a face whose askers show none, such as DNS.

Which token that is may change while the agent runs, and so may its rights. What is made of answers
here must be made anew when ``generation`` is another number; ``watch_rights`` tells of that moment,
so that nobody has to look each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from agent.acl.access import Access
from agent.acl.authorizer import Authorizer
from agent.acl.builtin import ANONYMOUS_SECRET
from agent.acl.caller import Denied, TokenNotFound
from agent.acl.reads import acts_for_a_query
from agent.backend import Ask, Reply
from agent.backend.acting import ACTING
from raftstore.definition_queries import ACLTokenBySecret, ListACLPolicies, ListACLRoles
from raftstore.definitions import secret_hash
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

    __slots__ = ("_access", "_number", "_rights", "_secret", "_whole")

    def __init__(self, access: Access, whole: Whole, secret: Callable[[], str]) -> None:
        self._access = access
        self._whole = whole
        self._secret = secret
        self._number = 0
        #: What the token allows.
        self._rights: Authorizer | None = None

    def generation(self) -> int:
        """Another number when other things may be seen, -1 while nobody knows what. Other people's
        tokens may come and go."""
        access = self._access
        caller = access.caller_now(self._secret())
        if caller is None or access.expired(caller):
            self._rights = None
            return -1
        # Of equal rights there is one object.
        if caller.authorizer is not self._rights:
            self._rights = caller.authorizer
            self._number += 1
        return self._number

    def watch_rights(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        """Call back once when something may be seen that could not, or the other way round; gives
        what cancels that. None where it cannot be told in time: for a token that runs out, and
        where the state is not here."""
        access, secret = self._access, self._secret() or self._access.tokens.default
        caller = access.caller_now(secret)
        if not access.guards_state or caller is None or caller.expires_at is not None:
            return None
        cancels: list[Callable[[], None]] = []

        def cancel() -> None:
            for each in cancels:
                each()

        def once() -> None:
            cancel()
            changed()

        token = ACLTokenBySecret(secret_hash(secret or ANONYMOUS_SECRET))
        for query in (token, ListACLPolicies(), ListACLRoles()):
            each = self._whole.watch_once(query, once)
            if each is None:
                cancel()
                return None
            cancels.append(each)
        return cancel

    def on_token(self, changed: Callable[[], None]) -> None:
        """Call back whenever the agent's tokens are others."""
        self._access.tokens.on_change(changed)

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
        """A promise of the whole state's; none for what depends on somebody else's token too."""
        if acts_for_a_query(query):
            return None
        return self._whole.watch_once(query, on_change)
