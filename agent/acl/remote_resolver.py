"""From a secret to a caller, on an agent without a state: by asking a server.

Answers count for the token's TTL; while no server can be asked, the down policy decides.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.acl.agent_tokens import AgentTokens
from agent.acl.authorizer import Authorizer
from agent.acl.builtin import ANONYMOUS_ID
from agent.acl.caller import Caller, TokenNotFound, same_secret
from agent.acl.grants import Compiler, ResolvedToken
from agent.acl.resolver import ResolverStats, recovery_caller
from agent.config.schema import AclConfig
from agent.errors import AgentError, RequestError
from agent.tasks import TaskOwner
from raftstore.definitions import ACLToken
from raftstore.errors import StoreError

log = logging.getLogger("lictor.agent.acl")


#: Asks a server about a secret. Raises TokenNotFound, StoreError, ForwardError.
AskServer = Callable[[str], Awaitable[ResolvedToken]]


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    since: float


class RemoteResolver:
    """Resolves by asking a server."""

    def __init__(
        self,
        ask: AskServer,
        config: AclConfig,
        tokens: AgentTokens,
        *,
        node: str,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
        known_max: int = 16_384,
    ) -> None:
        self._known_max = known_max
        self._ask = ask
        self._config = config
        self._tokens = tokens
        self._node = node
        self._clock = clock
        self._unix_now = unix_clock
        self._compilers = {allow: Compiler(default_allow=allow) for allow in (False, True)}
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[Caller]] = {}
        self._owner = TaskOwner()
        self._stats = ResolverStats()

    def forget(self) -> None:
        """Remember nothing."""
        self._known.clear()

    def stats(self) -> ResolverStats:
        """Counters up to now."""
        self._stats.known = len(self._known)
        return self._stats

    def caller_of(self, token: ACLToken) -> Caller | None:
        """Only a server knows the policies of a token that nobody shows."""
        return None

    async def close(self) -> None:
        """End what is under way."""
        await self._owner.close()

    def now(self, secret: str) -> Caller | None:
        """What a server said within the TTL."""
        if same_secret(secret, self._tokens.recovery):
            return recovery_caller(self._node)
        known = self._known.get(secret)
        if known is None or not self._alive(known.caller):
            return None
        if self._clock() - known.since <= self._config.token_ttl_s:
            return known.caller
        if self._config.down_policy == "async-cache":
            self._refresh(secret)
            return known.caller
        return None

    def _alive(self, caller: Caller) -> bool:
        return caller.expires_at is None or caller.expires_at > self._unix_now()

    async def find(self, secret: str) -> Caller:
        """What a server says now; the down policy's word where none does."""
        caller = self.now(secret)
        if caller is not None:
            return caller
        try:
            return await asyncio.shield(self._refresh(secret))
        except RequestError:
            raise
        except (AgentError, StoreError, TimeoutError) as error:
            return self._down(secret, error)

    def _refresh(self, secret: str) -> asyncio.Task[Caller]:
        """One question at a time for each secret, whoever waits for it."""
        task = self._asking.get(secret)
        if task is None:
            task = self._owner.spawn(self._asked(secret), name="token", awaited=True)
            self._asking[secret] = task
            task.add_done_callback(lambda _: self._asking.pop(secret, None))
        return task

    async def _asked(self, secret: str) -> Caller:
        self._stats.resolved += 1
        try:
            found = await self._ask(secret)
        except TokenNotFound:
            self._stats.not_found += 1
            self._known.pop(secret, None)
            raise
        authorizer = self._compilers[found.default_allow].authorizer(found.grants)
        caller = Caller(found.accessor, authorizer, secret, found.expires_at)
        while len(self._known) >= self._known_max:
            del self._known[next(iter(self._known))]
        self._known[secret] = _Known(caller, self._clock())
        return caller

    def _down(self, secret: str, error: Exception) -> Caller:
        self._stats.by_down_policy += 1
        policy = self._config.down_policy
        log.debug("no server to resolve a token down_policy=%s error=%s", policy, error)
        if policy == "allow":
            return Caller(ANONYMOUS_ID, Authorizer((), default_allow=True), secret)
        known = self._known.get(secret)
        if policy != "deny" and known is not None and self._alive(known.caller):
            return known.caller
        return Caller(ANONYMOUS_ID, Authorizer((), default_allow=False), secret)
