"""From a secret to a caller, on a server: from its own state.

Callers are kept until anything about access control changes. How an agent without a state finds
them is remote_resolver.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from agent.acl.agent_tokens import AgentTokens
from agent.acl.authorizer import MANAGE_ALL, Authorizer
from agent.acl.builtin import ANONYMOUS_ID, ANONYMOUS_SECRET
from agent.acl.caller import EVERYBODY, Caller, TokenNotFound, same_secret
from agent.acl.grants import Compiler, Grant, grants
from agent.acl.rules import Level, Rule
from agent.backend import Ask, Reply
from agent.config.schema import AclConfig
from raftstore.definition_queries import (
    ACLTokenBySecret,
    GetACLFact,
    GetACLPolicy,
    GetACLRole,
)
from raftstore.definitions import ACLPolicy, ACLRole, ACLToken, secret_hash
from raftstore.queries import Query

T = TypeVar("T")

#: Accessor under which the recovery token acts.
RECOVERY = "agent-recovery"


@dataclass(slots=True)
class ResolverStats:
    """Counters since start; ``known`` is a level."""

    resolved: int = 0
    not_found: int = 0
    by_down_policy: int = 0
    known: int = 0


class Resolver(Protocol):
    """Finds who shows a secret."""

    def now(self, secret: str) -> Caller | None:
        """From what is held here, None when that is not enough."""
        ...

    async def find(self, secret: str) -> Caller:
        """For certain. Raises TokenNotFound; StoreError and ForwardError where nobody knows."""
        ...

    def forget(self) -> None:
        """Remember nothing: the state was replaced by another one."""
        ...

    def caller_of(self, token: ACLToken) -> Caller | None:
        """What a token may do; None where that is not known here."""
        ...

    def stats(self) -> ResolverStats: ...


class NoResolver:
    """Access control is off: everybody may do everything."""

    def now(self, secret: str) -> Caller | None:
        """Everybody."""
        return EVERYBODY

    async def find(self, secret: str) -> Caller:
        """Everybody."""
        return EVERYBODY

    def forget(self) -> None:
        """There is nothing to forget."""

    def caller_of(self, token: ACLToken) -> Caller | None:
        """Everybody."""
        return EVERYBODY

    def stats(self) -> ResolverStats:
        """Nothing."""
        return ResolverStats()


class Held(Protocol):
    """The state of a server."""

    def peek(self, query: Query[T]) -> Reply[T] | None: ...
    async def ask(self, query: Query[T], options: Ask = ...) -> Reply[T]: ...
    @property
    def acl_index(self) -> int: ...


def recovery_caller(node: str) -> Caller:
    """Whoever shows the recovery token: may operate this agent, and see the nodes."""
    rules = (
        Rule("agent", node, False, Level.WRITE, "agent recovery token"),
        Rule("node", "", True, Level.READ, "agent recovery token"),
    )
    return Caller(RECOVERY, Authorizer(rules, default_allow=False))


class ServerResolver:
    """Resolves from the replicated state."""

    def __init__(
        self,
        held: Held,
        config: AclConfig,
        tokens: AgentTokens,
        *,
        node: str,
        datacenter: str,
        unix_clock: Callable[[], float],
        known_max: int = 16_384,
    ) -> None:
        """Of ``known_max`` callers that are remembered the oldest make room."""
        self._held = held
        self._known_max = known_max
        self._tokens = tokens
        self._node = node
        self._datacenter = datacenter
        self._now = unix_clock
        self._compiler = Compiler(default_allow=config.default_allow)
        self._callers: dict[str, Caller] = {}
        self._stats = ResolverStats()
        self._index = -1
        #: Of the agent's own tokens.
        self._version = tokens.version

    @property
    def server_secret(self) -> str:
        """By this the servers know each other's requests; "" until it is replicated here."""
        found = self._held.peek(GetACLFact("server"))
        return "" if found is None or found.value is None else found.value.secret

    def forget(self) -> None:
        """Remember nothing."""
        self._callers.clear()
        self._index = -1

    def stats(self) -> ResolverStats:
        """Counters up to now."""
        self._stats.known = len(self._callers)
        return self._stats

    def now(self, secret: str) -> Caller | None:
        """From this server's state; None for what is not (yet) there."""
        # Every request passes here, so it is two comparisons and a look-up.
        if self._held.acl_index != self._index or self._tokens.version != self._version:
            self._callers.clear()
            self._index, self._version = self._held.acl_index, self._tokens.version
        caller = self._callers.get(secret)
        if caller is not None and (caller.expires_at is None or caller.expires_at > self._now()):
            return caller
        caller = self._looked_up(secret)
        if caller is not None:
            while len(self._callers) >= self._known_max:
                del self._callers[next(iter(self._callers))]
            self._callers[secret] = caller
        return caller

    def _looked_up(self, secret: str) -> Caller | None:
        self._stats.resolved += 1
        if same_secret(secret, self.server_secret):
            return Caller(ANONYMOUS_ID, MANAGE_ALL, secret)
        if same_secret(secret, self._tokens.recovery):
            return recovery_caller(self._node)
        found = self._held.peek(ACLTokenBySecret(secret_hash(secret or ANONYMOUS_SECRET)))
        if found is None:
            return None
        return self._caller(secret, found.value)

    def caller_of(self, token: ACLToken) -> Caller | None:
        """What a token may do, whoever shows it; None for one that has expired."""
        return self._caller(token.secret, token)

    def _caller(self, secret: str, token: ACLToken | None) -> Caller | None:
        if token is None:
            if secret:
                return None
            # Before the first leader has written it the anonymous token has no policies.
            return Caller(ANONYMOUS_ID, self._compiler.authorizer(()))
        if token.expires_at is not None and token.expires_at <= self._now():
            return None
        found = self.grants(token)
        authorizer = self._compiler.authorizer(found)
        return Caller(token.accessor, authorizer, secret, token.expires_at)

    def grants_of(self, secret: str) -> tuple[Grant, ...]:
        """What the token behind a secret has; nothing for one that is not there."""
        found = self._held.peek(ACLTokenBySecret(secret_hash(secret or ANONYMOUS_SECRET)))
        return () if found is None or found.value is None else self.grants(found.value)

    def grants(self, token: ACLToken) -> tuple[Grant, ...]:
        """What a token has here and now."""
        return grants(token, policy=self._policy, role=self._role, datacenter=self._datacenter)

    def _policy(self, policy_id: str) -> ACLPolicy | None:
        found = self._held.peek(GetACLPolicy(policy_id))
        return None if found is None else found.value

    def _role(self, role_id: str) -> ACLRole | None:
        found = self._held.peek(GetACLRole(role_id))
        return None if found is None else found.value

    async def find(self, secret: str) -> Caller:
        """From a state that is no older than the call, if this one does not know it."""
        caller = self.now(secret)
        if caller is None and secret != self.server_secret:
            await self._held.ask(ACLTokenBySecret(secret_hash(secret or ANONYMOUS_SECRET)))
            caller = self.now(secret)
        if caller is None:
            self._stats.not_found += 1
            raise TokenNotFound
        return caller
