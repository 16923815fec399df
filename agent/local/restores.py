"""Has a client agent compare with the catalog as soon as an operator has restored an archive.

A restore puts another catalog in the place of the one that this host has written to, and nothing
tells a client so: it holds no state. So it keeps one blocking query on which archive was restored
last. A server sees the restore in its own log and needs none.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from agent.backend import Ask, Backend, Consistency
from agent.errors import ForwardError, RequestError
from raftstore.errors import StoreError
from raftstore.restore_queries import GetRestore

log = logging.getLogger("lictor.agent.local")

#: How long a server holds the question, in seconds; as Consul's longest blocking query.
WAIT_S = 600.0
#: After a failure it is asked again in so many seconds, and up to as many more.
RETRY_S = 5.0


async def follow_restores(
    backend: Backend,
    on_restored: Callable[[], None],
    *,
    rng: random.Random,
    retry_s: float = RETRY_S,
) -> None:
    """Call back after each restore that happens from now on; runs until it is cancelled."""
    known: int | None = None
    index = 0
    while True:
        try:
            reply = await backend.ask(
                GetRestore(), Ask(consistency=Consistency.STALE, min_index=index, wait_s=WAIT_S)
            )
        except (StoreError, ForwardError, RequestError) as error:
            log.debug("restores cannot be followed error=%s", error)
            await asyncio.sleep(retry_s * (1 + rng.random()))
            continue
        last = reply.value.last
        restored = 0 if last is None else last.index
        # A server that lags behind the one that was asked before may know of an earlier one.
        if known is not None and restored > known:
            log.info("an archive was restored, comparing with the catalog index=%d", restored)
            on_restored()
        known = restored if known is None else max(known, restored)
        index = reply.index if reply.index >= index else 0
