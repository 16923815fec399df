"""Joining the gossip ring at start, and again until it works (cli-config contract B4).

A `start_join` that fails is fatal; what `retry_join` names is tried for ever, or `retry_max` times.
Agents that are started together find each other quickly: the first pauses are short, later ones
are as long as `retry_interval`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from agent.config.schema import AgentConfig
from gossip import JoinResult

log = logging.getLogger("lictor.agent.joining")

_FIRST_PAUSE_S = 0.25


async def join_all(
    config: AgentConfig, join: Callable[[Sequence[str]], Awaitable[JoinResult]]
) -> bool:
    """Join as configured; False when the agent must end because it could not."""
    if config.start_join:
        result = await join(config.start_join)
        if not result.joined:
            log.error("cannot join errors=%s", _shown(result))
            return False
    attempt = 0
    while config.retry_join:
        result = await join(config.retry_join)
        if result.joined:
            log.info("joined the cluster nodes=%d", result.joined)
            return True
        attempt += 1
        if config.retry_max and attempt >= config.retry_max:
            log.error("gave up joining attempts=%d", attempt)
            return False
        pause_s = min(config.retry_interval_s, _FIRST_PAUSE_S * 2 ** min(attempt, 12))
        log.warning("join failed, will try again in_s=%.2f errors=%s", pause_s, _shown(result))
        await asyncio.sleep(pause_s)
    return True


def _shown(result: JoinResult) -> str:
    return (
        "; ".join(f"{peer}: {reason}" for peer, reason in result.errors) or "nobody else is there"
    )
