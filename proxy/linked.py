"""Runs what a terminating gateway is: one proxy for each service that it stands for.

Each has that service's certificate and rules and knows nothing of the others; the gateway's own
proxy has the port, looks which service a handshake asks for, and passes the connection on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from proxy.server import Proxy
from proxy.source import MeshState
from proxy.telemetry.merging import merged

log = logging.getLogger("lictor.proxy.linked")

#: Services of one gateway; each costs a held request to the agent and some 200 KB.
LINKED_MAX = 512


class Followed(Protocol):
    """A source with a life."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...


#: Makes the source and the proxy of a service; nothing has begun yet.
Make = Callable[[str], tuple[Followed, Proxy]]


class Linked:
    """The proxies behind a gateway's port, by service."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._running: dict[str, tuple[Followed, Proxy]] = {}
        self._wanted: tuple[str, ...] = ()
        self._work: asyncio.Task[None] | None = None
        self._closed = False

    def update(self, state: MeshState) -> None:
        """Stand for these services."""
        wanted = state.own.linked if state.own is not None else ()
        if wanted == self._wanted or self._closed:
            return
        if len(wanted) > LINKED_MAX:
            log.error("too many services, not all are served max=%d", LINKED_MAX)
        self._wanted = wanted[:LINKED_MAX]
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(
                self._reconcile(), name="proxy linked services"
            )

    async def _reconcile(self) -> None:
        while not self._closed and set(self._wanted) != self._running.keys():
            gone = next((each for each in self._running if each not in self._wanted), None)
            if gone is not None:
                source, proxy = self._running.pop(gone)
                await proxy.close()
                await source.close()
                log.info("service is not linked any more service=%s", gone)
                continue
            new = next(each for each in self._wanted if each not in self._running)
            source, proxy = self._running[new] = self._make(new)
            await source.start()
            await proxy.start()
            log.info("service is linked service=%s", new)

    @property
    def ready(self) -> bool:
        """Whether every service that we stand for can be served."""
        running = self._running
        return all(each in running and running[each][1].serving for each in self._wanted)

    def accept(self, service: str) -> asyncio.Protocol | None:
        """The protocol for a connection to a service; None for one that is not here (yet)."""
        found = self._running.get(service)
        return found[1].accept_inbound() if found is not None else None

    def metrics(self, own: str) -> str:
        """All that is counted, each service by itself; ``own`` is the gateway's."""
        return merged(own, {name: each[1].metrics() for name, each in self._running.items()})

    def explain(self) -> dict[str, Any]:
        """What each of them knows, for people."""
        return {name: proxy.explain() for name, (_, proxy) in self._running.items()}

    async def drain(self) -> None:
        """Let connections finish, in order; the gateway's port is closed already."""
        await asyncio.gather(*(proxy.drain(grace_s=0.0) for _, proxy in self._running.values()))

    async def close(self) -> None:
        """End at once."""
        self._closed = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        for source, proxy in self._running.values():
            await proxy.close()
            await source.close()
        self._running.clear()
