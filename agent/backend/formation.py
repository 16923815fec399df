"""Carries out what bootstrap.py decides: asks the other servers and starts the cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from agent.backend.bootstrap import Bootstrap, Candidate, View
from agent.backend.rpc import calls
from agent.backend.rpc.client import RpcPool
from agent.errors import ForwardError
from raftstore.errors import StoreError

log = logging.getLogger("lictor.agent.formation")

_ASK_TIMEOUT_S = 2.0
_AGAIN_S = 0.1


class Bootstrappable(Protocol):
    """The part of raftstore.store.Store that this needs."""

    @property
    def bootstrapped(self) -> bool:
        """Whether this server belongs to a cluster."""
        ...

    @property
    def cluster_id(self) -> str:
        """Which one."""
        ...

    def bootstrap(self, members: Mapping[str, str]) -> None:
        """Form a cluster of these servers."""
        ...

    def claim_founding(self) -> None:
        """This server is a founder of the cluster that it has heard of."""
        ...


class Formation:
    """Forms the cluster once, then ends."""

    def __init__(
        self,
        bootstrap: Bootstrap,
        store: Bootstrappable,
        pool: RpcPool,
        *,
        own_id: str,
        candidates: Callable[[], tuple[Candidate, ...]],
        cluster_id_of: Callable[[Iterable[str]], str],
    ) -> None:
        self._cluster_id_of = cluster_id_of
        self._bootstrap = bootstrap
        self._store = store
        self._pool = pool
        self._own_id = own_id
        self._candidates = candidates
        self._changed = asyncio.Event()
        self._said = ""

    def members_changed(self) -> None:
        """Gossip has news."""
        self._changed.set()

    def view(self) -> bytes:
        """Our answer to another server's question."""
        self._bootstrap.seen(self._candidates())
        return calls.pack(sorted(self._bootstrap.asked()), self._store.cluster_id)

    async def run(self) -> None:
        """Until the cluster is formed, by us or by somebody who has us in it."""
        while not self._store.bootstrapped:
            self._changed.clear()
            if self._bootstrap.seen(self._candidates()):
                views = await self._ask_all()
                members = dict(self._bootstrap.pinned)
                agreed = self._bootstrap.agreed(views, cluster_id=self._cluster_id_of(members))
                if agreed and not self._store.bootstrapped:
                    self._store.bootstrap(members)
                    log.info("cluster formed servers=%d", len(members))
                    return
            if self._bootstrap.reason != self._said:
                self._said = self._bootstrap.reason
                log.info("cluster not formed yet reason=%r", self._said)
            # Others may be a moment behind us: ask again soon while a full set is in sight.
            pause = _AGAIN_S if self._bootstrap.pinned else None
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue
        pinned = self._bootstrap.pinned
        if self._bootstrap.founds and self._store.cluster_id == self._cluster_id_of(pinned):
            self._store.claim_founding()
            log.info("cluster formed, as its leader told servers=%d", len(pinned))

    async def _ask_all(self) -> dict[str, View]:
        others = {i: a for i, a in self._bootstrap.pinned.items() if i != self._own_id}
        answers = await asyncio.gather(*(self._ask(address) for address in others.values()))
        return {i: view for i, view in zip(others, answers, strict=True) if view is not None}

    async def _ask(self, address: str) -> View | None:
        host, _, port = address.rpartition(":")
        try:
            raw = await self._pool.call(
                (host.strip("[]"), int(port)), calls.BOOTSTRAP_VIEW, b"", timeout_s=_ASK_TIMEOUT_S
            )
            pinned, cluster_id, *_ = calls.unpack(raw, list, str)
        except (ForwardError, StoreError) as error:
            log.debug("server not asked address=%s error=%s", address, error)
            return None
        return View(frozenset(str(item) for item in pinned), cluster_id)
