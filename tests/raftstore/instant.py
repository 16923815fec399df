"""A log of one server that is durable and committed at once: for the rules of waiting alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raftstore.config import StoreConfig
from raftstore.store import Store


@dataclass(frozen=True, kw_only=True)
class Status:
    role: str = "leader"
    term: int = 1
    leader_id: str | None = "s1"
    leader_address: str | None = "127.0.0.1:8300"
    commit_index: int = 0
    applied_index: int = 0
    last_contact_s: float | None = None
    members: tuple[tuple[str, str, bool], ...] = ()


@dataclass(frozen=True)
class Entered:
    index: int
    value: object


@dataclass
class InstantLog:
    """Entry 1 is the log's own; proposals follow. ``held`` keeps back what is applied."""

    apply: Callable[[int, float, bytes], object]
    on_applied: Callable[[], None]
    on_change: Callable[[], None]
    index: int = 1
    applied: int = 1
    held: list[bytes] | None = None
    role: str = "leader"
    bootstrapped: bool = True
    cluster_id: str = "c"
    leader_address: str = "127.0.0.1:8300"
    #: Whether nothing may be applied; this log asks nobody, its users do.
    paced: Callable[[], bool] = bool
    resumed: int = 0
    fatal: asyncio.Future[Any] = field(default_factory=asyncio.Future)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def pace_applies(self, unfinished: Callable[[], bool]) -> None:
        self.paced = unfinished

    def resume(self) -> None:
        self.resumed += 1

    def accept(self) -> asyncio.Protocol:
        return asyncio.Protocol()

    def set_address(self, node_id: str, host: str, port: int) -> None: ...

    def bootstrap(self, members: Mapping[str, str]) -> None: ...

    def claim_founding(self) -> None: ...

    async def propose(self, payload: bytes, *, timeout_s: float) -> tuple[int, object]:
        self.index += 1
        outcome = self.apply(self.index, float(self.index), payload)
        self.applied = self.index
        self.on_applied()
        return self.index, outcome

    def propose_soon(
        self, payload: bytes, *, timeout_s: float, done: Callable[[Any], None]
    ) -> None:
        self.index += 1
        outcome = self.apply(self.index, float(self.index), payload)
        self.applied = self.index
        self.on_applied()
        done(Entered(self.index, outcome))

    def read_index_soon(self, *, timeout_s: float, done: Callable[[Any], None]) -> None:
        done(Entered(self.index, None))

    @property
    def applied_index(self) -> int:
        return self.applied

    @property
    def age_s(self) -> float:
        return 0.0 if self.role == "leader" else 99.0

    async def read_index(self, *, timeout_s: float) -> int:
        return self.index

    def status(self) -> Status:
        return Status(
            role=self.role,
            leader_address=self.leader_address,
            commit_index=self.index,
            applied_index=self.applied,
        )


async def instant_store(**settings: Any) -> tuple[Store, InstantLog]:
    """A started store over an instant log, and that log."""
    logs: list[InstantLog] = []

    def make(*callbacks: Any) -> InstantLog:
        logs.append(InstantLog(*callbacks))
        return logs[0]

    store = Store(StoreConfig(node_id="s1", **settings), make_log=make)
    await store.start()
    return store, logs[0]
