"""Access control as the faces of an agent use it: who asks, may they, and the way to the state.

On a server the guard stands here; an agent without a state passes the token on, and the server that
is asked guards. What concerns this agent alone (its services, its members) is decided here in
either case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agent.acl.agent_tokens import AgentTokens
from agent.acl.caller import EVERYBODY, Caller, Need
from agent.acl.guard import Guard, State
from agent.acl.resolver import NoResolver, Resolver
from agent.backend import Ask, Reply
from agent.config.schema import AclConfig
from raftstore.commands import Command, Outcome
from raftstore.queries import Query
from raftstore.records import Actor

T = TypeVar("T")


class Access:
    """One for all faces of an agent."""

    __slots__ = (
        "_guards",
        "_state",
        "_unix_now",
        "config",
        "enabled",
        "guard",
        "resolver",
        "tokens",
    )

    def __init__(
        self,
        config: AclConfig,
        state: State,
        *,
        resolver: Resolver | None = None,
        tokens: AgentTokens | None = None,
        holds_state: bool = True,
        unix_clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``holds_state`` is False where somebody else guards the state."""
        self.config = config
        self.enabled = config.enabled
        self.resolver: Resolver = resolver or NoResolver()
        self.tokens = tokens or AgentTokens(config.tokens)
        self._state = state
        self._unix_now = unix_clock
        self._guards = config.enabled and holds_state
        self.guard = Guard(
            state,
            self.resolver,
            key_list_policy=config.enable_key_list_policy,
            dry_run=config.dry_run,
        )

    async def caller(self, secret: str) -> Caller:
        """Who shows this secret; "" is the agent's default token, or nobody.

        Raises TokenNotFound.
        """
        if not self.enabled:
            return EVERYBODY
        secret = secret or self.tokens.default
        return self.resolver.now(secret) or await self.resolver.find(secret)

    def caller_now(self, secret: str) -> Caller | None:
        """The same, None where it would have to wait or is unknown."""
        if not self.enabled:
            return EVERYBODY
        return self.resolver.now(secret or self.tokens.default)

    def expired(self, caller: Caller) -> bool:
        """Whether a caller's token has run out since it was found."""
        return caller.expires_at is not None and caller.expires_at <= self._unix_now()

    def require(self, caller: Caller, *needs: Need) -> None:
        """Pass if one of these is met. Raises Denied."""
        self.guard.require(caller, *needs)

    @property
    def dry_run(self) -> bool:
        """Whether what is denied is carried out all the same."""
        return self.enabled and self.config.dry_run

    @property
    def guards_state(self) -> bool:
        """Whether answers of the state have to be filtered in this process."""
        return self._guards

    async def ask(self, caller: Caller, query: Query[T], options: Ask | None = None) -> Reply[T]:
        """Ask the state on somebody's behalf. Raises Denied."""
        if self._guards:
            return await self.guard.ask(caller, query, options)
        return await self._state.ask(query, options or Ask())

    async def told(self, caller: Caller, query: Query[T], reply: Reply[T]) -> Reply[T]:
        """What of an answer that was kept here the caller may see. Raises Denied."""
        return await self.guard.told(caller, query, reply) if self._guards else reply

    async def change(
        self,
        caller: Caller,
        command: Command,
        *,
        actor: Actor | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        """Change the state on somebody's behalf. Raises Denied."""
        if self._guards:
            return await self.guard.change(caller, command, actor=actor, timeout_s=timeout_s)
        return await self._state.change(command, actor=actor, timeout_s=timeout_s)
