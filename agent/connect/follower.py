"""What the agent holds of a proxy that it follows: its feed, and answers as last heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.connect.feed import Feed
from agent.errors import RequestError
from agent.tasks import TaskOwner
from raftstore.definitions import ConfigEntry
from raftstore.mesh_queries import GatewayService
from raftstore.queries import HealthEntry
from raftstore.records import ExposePath, Intention, Service


@dataclass(slots=True)
class Follower:
    """One proxy: its feed, and a task for each thing that is followed for it."""

    proxy_id: str
    feed: Feed
    owner: TaskOwner = field(default_factory=TaskOwner)
    tasks: dict[str, tuple[object, asyncio.Task[None]]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    service: Service | None = None
    exposed: tuple[ExposePath, ...] = ()
    gone: bool = False
    cancel_local: Callable[[], None] = lambda: None
    #: Instances by service as they were last heard, and the targets made of them.
    instances: dict[str, tuple[HealthEntry, ...]] = field(default_factory=dict)
    chains: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    #: For a transparent proxy: the addresses of services, and what may let it reach them.
    virtual: dict[str, str] = field(default_factory=dict)
    allowed: tuple[Intention, ...] | None = None

    #: For a terminating gateway: the services that it stands for; for one of these: where it is.
    linked: tuple[GatewayService, ...] | None = None
    places: tuple[HealthEntry, ...] | None = None
    #: For a terminating gateway: the resolvers of all services, whose subsets it serves apart.
    resolvers: tuple[ConfigEntry, ...] | None = None
    #: The terminating gateways of the datacenter, and the instances of those that are dialled.
    gateways: tuple[ConfigEntry, ...] | None = None
    gateway_instances: dict[str, tuple[HealthEntry, ...]] = field(default_factory=dict)

    def publish(self) -> None:
        """Wake everybody who waits."""
        news, self.news = self.news, asyncio.Event()
        news.set()


def unknown(proxy_id: str) -> RequestError:
    """Nobody of this name is registered here (any more)."""
    return RequestError(404, f'unknown proxy service ID: "{proxy_id}"')
