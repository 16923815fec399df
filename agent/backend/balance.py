"""Client agents choose their server anew from time to time, so that load spreads again.

An agent stays with one server while that answers. After a rolling restart all of them would be with
the server that was restarted first, for good.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from agent.backend.servers import Servers

log = logging.getLogger("lictor.agent.balance")

#: An agent chooses anew after this time or up to half as much longer, in seconds; in a large
#: cluster later, so that servers get no more new connections than ``CHOICES_PER_S`` each.
INTERVAL_S = 120.0
CHOICES_PER_S = 64.0


def wait_s(members: int, servers: int, rng: random.Random) -> float:
    """Seconds until the next choice."""
    least = max(INTERVAL_S, members / (CHOICES_PER_S * max(1, servers)))
    return least * (1.0 + rng.random() / 2)


async def keep_balance(servers: Servers, members: Callable[[], int], rng: random.Random) -> None:
    """Choose for ever. Questions that are held stay where they are."""
    while True:
        await asyncio.sleep(wait_s(members(), len(servers), rng))
        before = servers.preferred()
        servers.shuffle()
        now = servers.preferred()
        if now is not None and now != before:
            log.debug("asking another server from now on server=%s", now.name)
