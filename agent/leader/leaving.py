"""A server's way out of the Raft configuration when it leaves for good.

Left to others: handing over, saying good-bye in gossip (agent/runtime.py), taking the server out
(autopilot.py of the server that leads then).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

log = logging.getLogger("lictor.agent.leaving")

#: How long to wait to be taken out; a cluster without a quorum cannot do it.
REMOVED_MAX_S = 3.0
_LOOK_S = 0.05


class Leaver(Protocol):
    """The part of raftstore.store.Store that this needs."""

    def status(self) -> Any: ...


async def until_removed(store: Leaver) -> None:
    """Wait until the others have taken us out, for a bounded time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REMOVED_MAX_S
    while loop.time() < deadline:
        status = store.status()
        if status.dismissed or len(status.members) < 2 or not status.bootstrapped:
            return
        await asyncio.sleep(_LOOK_S)
    log.warning("left without having been taken out of the Raft configuration")
