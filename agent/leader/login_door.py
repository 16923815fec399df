"""What every server has of logins: their names, and figures at zero.

The rest (signatures, claims, providers; agent/leader/logins.py) comes with the first login. Most
clusters let nobody in that way, and it takes as much memory as the whole registry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from agent.backend import Ask, Reply
from agent.backend.local import LeaderMethod
from agent.backend.operations import LOGIN, LOGOUT, OIDC_BEGIN, OIDC_FINISH
from agent.config.bounds import Limits
from agent.late import loaded
from raftstore.commands import Command, Outcome
from raftstore.queries import Query
from raftstore.records import Actor, Json

if TYPE_CHECKING:
    from agent.leader.logins import LoginKeeper

T = TypeVar("T")

OUTCOMES = (
    "given", "unknown method", "unreadable method", "bad token", "not vouched for", "bad binding",
    "nothing bound",
)  # fmt: skip


class Replicated(Protocol):
    """The leader's way to the state."""

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome: ...
    async def ask(self, query: Query[T], options: Ask = ...) -> Reply[T]: ...


@dataclass(slots=True)
class LoginStats:
    """Logins by their outcome, logouts, and questions to those who vouch."""

    logins: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(OUTCOMES, 0)))
    logouts: int = 0
    vouchers_asked: int = 0
    vouchers_failed: int = 0


class LoginDoor:
    """One of these on each server; whoever leads is asked."""

    def __init__(
        self,
        backend: Replicated,
        *,
        datacenter: str,
        limits: Limits = Limits(),  # noqa: B008  frozen
    ) -> None:
        self._backend = backend
        self._limits = limits
        self._datacenter = datacenter
        self._stats = LoginStats()
        self._keeper: LoginKeeper | None = None
        self.methods: dict[str, LeaderMethod] = {
            name: self._to_keeper(name) for name in (LOGIN, LOGOUT, OIDC_BEGIN, OIDC_FINISH)
        }

    def _to_keeper(self, name: str) -> Callable[[bytes, float], Awaitable[bytes]]:
        async def carried_out(payload: bytes, timeout_s: float) -> bytes:
            await loaded("agent.leader.logins")
            from agent.leader.logins import LoginKeeper

            if self._keeper is None:
                self._keeper = LoginKeeper(
                    self._backend,
                    datacenter=self._datacenter,
                    stats=self._stats,
                    limits=self._limits,
                )
            return await self._keeper.methods[name](payload, timeout_s)

        return carried_out

    async def close(self) -> None:
        """Close what is open."""
        if self._keeper is not None:
            await self._keeper.close()

    def stats(self) -> LoginStats:
        """The figures as they stand."""
        return self._stats if self._keeper is None else self._keeper.stats()

    def explain(self) -> Json:
        """The last logins, newest first: who, by which method, what was given, or why nothing."""
        if self._keeper is None:
            return {"Outcomes": dict(self._stats.logins), "Last": []}
        return self._keeper.explain()
