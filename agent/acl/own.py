"""The state as what runs by itself on a server reaches it: with a token, like on any other agent.

Anti-entropy, feeds of proxies, leaves and coordinates of this host go through here. Whose token
counts is what ``ACTING`` says at that moment, the agent's own where nobody's request is answered.
So a service that may not be registered through a client agent may not be through a server either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from agent.acl.access import Access
from agent.acl.caller import Caller, Need, TokenNotFound
from agent.backend import Ask, Backend, RaftConfiguration, Reply, SignedLeaf
from agent.backend.acting import ACTING
from raftstore.commands import Command, Outcome
from raftstore.definition_queries import ACLTokenBySecret
from raftstore.definitions import secret_hash
from raftstore.queries import Query
from raftstore.records import Actor

T = TypeVar("T")

#: A token that nobody knows may be on its way: a cluster that forms writes its first ones late.
UNKNOWN_WAIT_S = 2.0


class OwnState:
    """A ``Backend`` behind the guard."""

    def __init__(
        self,
        access: Access,
        backend: Backend,
        *,
        leaf_need: Callable[[str], Need],
        method_need: Callable[[str, bytes], Need],
    ) -> None:
        """``leaf_need`` reads a signing request, ``method_need`` what goes to the leader."""
        self._access = access
        self._backend = backend
        self._leaf_need = leaf_need
        self._method_need = method_need

    async def _caller(self) -> Caller:
        acting = ACTING.get()
        secret = self._access.tokens.agent if acting is None else acting
        try:
            return await self._access.resolver.find(secret)
        except TokenNotFound:
            query = ACLTokenBySecret(secret_hash(secret))
            index = (await self._backend.ask(query)).index
            await self._backend.ask(query, Ask(min_index=index, wait_s=UNKNOWN_WAIT_S))
            return await self._access.resolver.find(secret)

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        """Carry out a command. Raises Denied, TokenNotFound and what the state raises."""
        caller = await self._caller()
        return await self._access.change(caller, command, actor=actor, timeout_s=timeout_s)

    async def ask(self, query: Query[T], options: Ask | None = None) -> Reply[T]:
        """Answer a query, without what the token may not see."""
        return await self._access.ask(await self._caller(), query, options)

    def peek(self, query: Query[T]) -> Reply[T] | None:
        """Nothing: what is held here was looked at by nobody."""
        return None

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        """A promise of the whole state's."""
        return self._backend.watch_once(query, on_change)

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        """Have a certificate signed for whom the token may write."""
        self._access.require(await self._caller(), self._leaf_need(csr_pem))
        return await self._backend.sign_leaf(csr_pem)

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        """Have the leader carry out what the token may."""
        self._access.require(await self._caller(), self._method_need(method, payload))
        return await self._backend.on_leader(method, payload)

    async def leader(self) -> str:
        """The leader's server port."""
        return await self._backend.leader()

    async def raft_configuration(self) -> RaftConfiguration:
        """The newest configuration of this server."""
        return await self._backend.raft_configuration()

    async def peers(self) -> tuple[str, ...]:
        """The voters."""
        return await self._backend.peers()
