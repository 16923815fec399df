"""Bounds on requests that stand in config entries of kind `control-plane-request-limit`.

They are of one client (an address), on every agent of the datacenter, beside those of the agent's
own configuration (mesh contract C.7). Where several entries stand, each bound is the lowest of them
and the mode the strictest. Bounds of single groups of calls are kept without effect.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from agent.backend import Ask, Backend, Consistency
from agent.errors import AgentError
from agent.quotas import Mode, RequestLimits
from raftstore.definition_queries import ListConfigEntries
from raftstore.definitions import ConfigEntry
from raftstore.errors import StoreError

log = logging.getLogger("lictor.agent.http")

KIND = "control-plane-request-limit"
WAIT_S = 300.0
#: After a failure it is asked again in so many seconds, and up to as many more.
RETRY_S = 5.0
_BY_STRICTNESS = (Mode.DISABLED, Mode.PERMISSIVE, Mode.ENFORCING)


def limits_of(entries: Iterable[ConfigEntry]) -> RequestLimits:
    """What the entries come to. A rate that is not given, or 0, bounds nothing (as in Consul)."""
    mode, reads, writes = Mode.DISABLED, [], []
    for entry in entries:
        content = entry.content if isinstance(entry.content, dict) else {}
        word = content.get("Mode")
        own = next((each for each in _BY_STRICTNESS if each.value == word), Mode.DISABLED)
        if own is Mode.DISABLED:
            continue
        mode = max(mode, own, key=_BY_STRICTNESS.index)
        reads.append(content.get("ReadRate"))
        writes.append(content.get("WriteRate"))
    return RequestLimits(
        mode=mode.value, client_read_rate=_lowest(reads), client_write_rate=_lowest(writes)
    )


def _lowest(rates: Iterable[object]) -> float:
    known = [
        float(rate)
        for rate in rates
        if isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0
    ]
    return min(known, default=-1.0)


async def follow(
    backend: Backend,
    change: Callable[[RequestLimits], None],
    *,
    rng: random.Random,
    retry_s: float = RETRY_S,
) -> None:
    """Put in force what the entries say, whenever that changes; runs until it is cancelled."""
    index, known = 0, RequestLimits()
    while True:
        options = Ask(consistency=Consistency.STALE, min_index=index, wait_s=WAIT_S)
        try:
            reply = await backend.ask(ListConfigEntries(KIND), options)
        except (StoreError, AgentError) as error:
            log.debug("request limits of config entries not known error=%s", error)
            await asyncio.sleep(retry_s * (1 + rng.random()))
            continue
        index = reply.index if reply.index >= index else 0
        found = limits_of(reply.value)
        if found != known:
            known = found
            change(found)
            log.info(
                "request limits of config entries mode=%s client_reads=%g client_writes=%g",
                found.mode, found.client_read_rate, found.client_write_rate,
            )  # fmt: skip
