"""What the leader does for access control: what every cluster has, bootstrap, and expired tokens.

Built-in policies, the anonymous token, the initial management token and the servers' own secret are
written when a leader finds them missing. Tokens that have expired are deleted; until then they are
unknown everywhere already.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from agent.acl.builtin import (
    ANONYMOUS_ID,
    ANONYMOUS_SECRET,
    BUILTIN_POLICIES,
    GLOBAL_MANAGEMENT_ID,
)
from agent.acl.definitions import policy_content, token_content
from agent.backend import Ask, Reply
from agent.backend.access import decode_token
from agent.backend.local import LeaderMethod
from agent.backend.operations import BOOTSTRAP_ACL
from agent.config.schema import AclConfig
from agent.errors import AgentError
from raftstore import wire
from raftstore.commands import Command, Outcome
from raftstore.definition_commands import (
    BootstrapACL,
    DeleteACLTokens,
    SetACLFact,
    SetACLPolicy,
    SetACLToken,
)
from raftstore.definition_queries import (
    ACLTokenBySecret,
    ExpiringACLTokens,
    GetACLFact,
    GetACLPolicy,
    GetACLToken,
)
from raftstore.definitions import ACLFact, ACLPolicy, ACLToken, secret_hash
from raftstore.errors import StoreError
from raftstore.queries import Query
from raftstore.records import Actor

log = logging.getLogger("lictor.agent.leader.access")

T = TypeVar("T")

#: The fact that holds the servers' own secret.
SERVER = "server"
#: Expired tokens are looked for so often, and deleted so many at a time.
REAP_INTERVAL_S = 5.0
REAP_MAX = 256
#: A reset is allowed once by this file in the leader's data folder, which names the reset index.
RESET_FILE = "acl-bootstrap-reset"
_RESET_BYTES_MAX = 64


class Replicated(Protocol):
    """The leader's way to the state."""

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome: ...
    async def ask(self, query: Query[T], options: Ask = ...) -> Reply[T]: ...


class AccessKeeper:
    """One of these on each server; ``run`` while it leads."""

    def __init__(
        self,
        backend: Replicated,
        config: AclConfig,
        *,
        data_dir: str,
        unix_clock: Callable[[], float] = time.time,
        interval_s: float = REAP_INTERVAL_S,
    ) -> None:
        self._backend = backend
        self._config = config
        self._data_dir = data_dir
        self._now = unix_clock
        self._interval_s = interval_s
        self.reaped = 0
        self.methods: dict[str, LeaderMethod] = {BOOTSTRAP_ACL: self._bootstrap}

    async def run(self) -> None:
        """Write what is missing, then delete expired tokens for as long as this server leads."""
        if not self._config.enabled:
            return
        complete = False
        while True:
            try:
                if not complete:
                    await self.ensure()
                    complete = True
                while await self.reap():
                    pass
            except (StoreError, AgentError) as error:
                log.warning("tokens are not kept error=%s", error)
            await asyncio.sleep(self._interval_s)

    async def ensure(self) -> None:
        """What every cluster has. Raises StoreError, AgentError."""
        ask, change = self._backend.ask, self._backend.change
        for builtin in BUILTIN_POLICIES.values():
            if (await ask(GetACLPolicy(id=builtin.id))).value is None:
                content = policy_content(builtin.name, builtin.description, builtin.rules)
                policy = ACLPolicy(id=builtin.id, name=builtin.name, content=content)
                await change(SetACLPolicy(policy, 0))
        # With its policy there it counts at once, and nobody gets in before.
        await self._ensure_management()
        if (await ask(GetACLToken(ANONYMOUS_ID))).value is None:
            content = token_content("Anonymous Token", self._now())
            token = ACLToken(accessor=ANONYMOUS_ID, secret=ANONYMOUS_SECRET, content=content)
            await change(SetACLToken(token, 0))
        if (await ask(GetACLFact(SERVER))).value is None:
            await change(SetACLFact(ACLFact(name=SERVER, secret=secrets.token_urlsafe(32)), 0))

    async def _ensure_management(self) -> None:
        secret = self._config.tokens.initial_management
        if not secret:
            return
        known = await self._backend.ask(ACLTokenBySecret(secret_hash(secret)))
        if known.value is not None:
            return
        token = management_token("Master Token", secret=secret, now=self._now())
        if (await self._backend.ask(GetACLFact("bootstrap"))).value is None:
            await self._backend.change(BootstrapACL(token))
        else:
            await self._backend.change(SetACLToken(token, 0))
        log.info("initial management token written accessor=%s", token.accessor)

    async def reap(self) -> int:
        """Delete tokens that have expired; gives how many. Raises StoreError, AgentError."""
        found = await self._backend.ask(ExpiringACLTokens(self._now(), REAP_MAX))
        accessors = tuple(token.accessor for token in found.value)
        if accessors:
            await self._backend.change(DeleteACLTokens(accessors))
            self.reaped += len(accessors)
        return len(accessors)

    async def _bootstrap(self, payload: bytes, timeout_s: float) -> bytes:
        token = decode_token(payload)
        reset = await asyncio.to_thread(self._reset_index)
        outcome = await self._backend.change(BootstrapACL(token, reset), timeout_s=timeout_s)
        return wire.encode_outcome(outcome)

    def _reset_index(self) -> int:
        """The index that the file of a reset names; the file counts once."""
        if not self._data_dir:
            return 0
        path = Path(self._data_dir) / RESET_FILE
        try:
            with path.open("rb") as file:
                text = file.read(_RESET_BYTES_MAX).decode("ascii", "replace").strip()
            path.unlink()
        except OSError:
            return 0
        return int(text) if text.isascii() and text.isdigit() else 0


def management_token(description: str, *, secret: str, now: float, accessor: str = "") -> ACLToken:
    """A token that may do everything."""
    return ACLToken(
        accessor=accessor or str(uuid.uuid4()),
        secret=secret,
        policies=(GLOBAL_MANAGEMENT_ID,),
        content=token_content(description, now, policies=(GLOBAL_MANAGEMENT_ID,)),
    )
