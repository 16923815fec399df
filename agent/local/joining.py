"""Joining the gossip ring at start, and again until it works (cli-config contract B4).

A `start_join` that fails is fatal; what `retry_join` names is tried for ever, or `retry_max` times.
Agents that are started together find each other quickly: the first pauses are short, later ones
are as long as `retry_interval`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.config.schema import AgentConfig
from gossip import JoinResult

log = logging.getLogger("lictor.agent.joining")

_FIRST_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPlan:
    """Whom to join: at once, and until it works. ``retry_max`` 0 is for ever."""

    start: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    retry_interval_s: float = 30.0
    retry_max: int = 0


def lan_plan(config: AgentConfig) -> JoinPlan:
    """Into the pool of the datacenter."""
    return JoinPlan(
        start=config.start_join,
        retry=config.retry_join,
        retry_interval_s=config.retry_interval_s,
        retry_max=config.retry_max,
    )


def wan_plan(config: AgentConfig) -> JoinPlan:
    """Into the pool of the servers of all datacenters."""
    return JoinPlan(
        start=config.start_join_wan,
        retry=config.retry_join_wan,
        retry_interval_s=config.retry_interval_wan_s,
        retry_max=config.retry_max_wan,
    )


async def join_all(plan: JoinPlan, join: Callable[[Sequence[str]], Awaitable[JoinResult]]) -> bool:
    """Join as planned; False when the agent must end because it could not."""
    if plan.start:
        result = await join(plan.start)
        if not result.joined:
            log.error("cannot join errors=%s", _shown(result))
            return False
    attempt = 0
    while plan.retry:
        result = await join(plan.retry)
        if result.joined:
            log.info("joined the cluster nodes=%d", result.joined)
            return True
        attempt += 1
        if plan.retry_max and attempt >= plan.retry_max:
            log.error("gave up joining attempts=%d", attempt)
            return False
        pause_s = min(plan.retry_interval_s, _FIRST_PAUSE_S * 2 ** min(attempt, 12))
        log.warning("join failed, will try again in_s=%.2f errors=%s", pause_s, _shown(result))
        await asyncio.sleep(pause_s)
    return True


def _shown(result: JoinResult) -> str:
    return (
        "; ".join(f"{peer}: {reason}" for peer, reason in result.errors) or "nobody else is there"
    )
