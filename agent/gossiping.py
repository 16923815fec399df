"""This agent's member of the gossip ring, and what is made of it: user events, coordinates."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from agent.backend.coordinates import CoordinateCalls
from agent.backend.operations import AsksLeader
from agent.config.schema import AgentConfig
from agent.connect.clients import CLIENTS_QUERY
from agent.events.log import EventLog
from agent.explain.ring import answer_clock
from agent.local.coordinates import CoordinateSender
from agent.membership import gossip_config, wan_gossip_config
from agent.metrics import AgentMetrics
from agent.wan.pool import WanPool
from gossip import Gossip, Member, MemberEvent


def make_gossip(
    config: AgentConfig,
    metrics: AgentMetrics,
    *,
    on_member: Callable[[MemberEvent], None],
    on_lost: Callable[[str], None],
    clients: Callable[[bytes], Awaitable[bytes | None]],
) -> tuple[Gossip, EventLog]:
    """A member that is not started yet, and its user events. Raises OSError.

    ``on_lost`` is told why the member has stopped by itself: an agent that nobody watches and that
    watches nobody must not go on. ``clients`` answers who has connections into this host.
    """
    if config.data_dir:
        (Path(config.data_dir) / "serf").mkdir(mode=0o700, exist_ok=True)
    events = EventLog(
        config.node_name, send=lambda name, data: member.user_event(name, data), now=time.time
    )
    member = Gossip(
        gossip_config(config),
        on_member=on_member,
        on_user_event=events.arrived,
        on_name_lost=lambda name: on_lost(f"the ring knows another agent named {name!r}"),
        on_query=partial(_answer, clients),
    )
    metrics.add("gossip", lambda: member.stats().with_every_reason())
    metrics.add("events", events.stats)
    return member, events


def make_wan(
    config: AgentConfig, metrics: AgentMetrics, *, lan: Callable[[], Sequence[Member]]
) -> WanPool:
    """A server's member of the pool of all datacenters' servers, not started yet."""
    if config.data_dir:
        (Path(config.data_dir) / "serf").mkdir(mode=0o700, exist_ok=True)
    pool = WanPool(
        wan_gossip_config(config), node=config.node_name, datacenter=config.datacenter, lan=lan
    )
    metrics.add("gossip_wan", lambda: pool.stats().with_every_reason())
    return pool


async def _answer(
    clients: Callable[[bytes], Awaitable[bytes | None]], name: str, payload: bytes
) -> bytes | None:
    """What this agent says to queries of the ring."""
    if name == CLIENTS_QUERY:
        return await clients(payload)
    return answer_clock(name, time.time())


def coordinate_sender(
    config: AgentConfig, backend: AsksLeader, member: Gossip, metrics: AgentMetrics
) -> CoordinateSender:
    """What tells the servers where this agent is; its loop does not run yet."""
    sender = CoordinateSender(
        config.coordinates,
        CoordinateCalls(backend),
        member,
        node=config.node_name,
        members=lambda: len(member.members()),
        rng=random.Random(),
    )
    metrics.add("coordinates", sender.stats)
    return sender
