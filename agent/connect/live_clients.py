"""The connections that stand into the sidecars of this host, as the sidecars tell."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from agent.connect.clients import ANY, Standing, packed, wanted
from agent.connect.sidecar_metrics import asked
from proxy import spiffe
from proxy.errors import IdentityError
from raftstore.records import Service, ServiceId

#: Sidecars that are asked at a time.
AT_ONCE = 16


class Told(Protocol):
    """Where a proxy said that it can be asked (agent/connect/feed.py)."""

    @property
    def admin_port(self) -> int: ...


class LiveClients:
    """Asks the sidecars of this host."""

    def __init__(
        self,
        *,
        node: str,
        services: Callable[[], Mapping[ServiceId, Service]],
        standings: Callable[[], Mapping[str, Told]],
    ) -> None:
        self._node = node
        self._services = services
        self._standings = standings
        self._places = asyncio.Semaphore(AT_ONCE)

    async def answer(self, payload: bytes) -> bytes | None:
        """What this agent says to the ring's query."""
        pair = wanted(payload)
        return None if pair is None else packed(await self.here(*pair))

    async def here(self, source: str, destination: str) -> tuple[Standing, ...]:
        """Connections from ``source`` into ``destination``, where * is any."""
        told = self._standings()
        concerned = [
            (service.proxy.destination_service_name, told[service.id].admin_port)
            for service in self._services().values()
            if service.id in told and destination in (ANY, service.proxy.destination_service_name)
        ]
        heard = await asyncio.gather(*(self._of(name, port) for name, port in concerned))
        totals: dict[tuple[str, str], Counter[str]] = {}
        for (name, _), counts in zip(concerned, heard, strict=True):
            for kind, by_uri in counts.items():
                for uri, count in by_uri.items():
                    client = _name(uri)
                    if client and source in (ANY, client):
                        totals.setdefault((client, name), Counter())[kind] += count
        return tuple(
            Standing(client, name, self._node, found["clients"], found["http_clients"])
            for (client, name), found in sorted(totals.items())
        )

    async def _of(self, name: str, port: int) -> Mapping[str, Mapping[str, int]]:
        async with self._places:
            text = await asked(port, "/explain") if port else None
        try:
            said = json.loads(text or "{}")
            return {
                kind: {str(uri): int(count) for uri, count in said.get(kind, {}).items()}
                for kind in ("clients", "http_clients")
            }
        except (ValueError, AttributeError, TypeError):
            return {}  # a proxy of another make


def _name(uri: str) -> str:
    try:
        identity = spiffe.parse(uri)
    except IdentityError:
        return ""
    return identity.name if identity.kind is spiffe.Kind.SERVICE else ""
