"""Who asks what of the services of this host, as their sidecars tell: which connections stand, and
what was seen."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from agent.connect.clients import ANY, Counts, Wanted, packed, wanted
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
        question = wanted(payload)
        return None if question is None else packed(await self.here(question))

    async def here(self, question: Wanted) -> tuple[Counts, ...]:
        """What is asked, of this host alone."""
        told, destination = self._standings(), question.destination
        concerned = [
            (service.proxy.destination_service_name, told[service.id].admin_port)
            for service in self._services().values()
            if service.id in told and destination in (ANY, service.proxy.destination_service_name)
        ]
        path = "/explain" if question.since_s is None else "/edges"
        said = await asyncio.gather(*(self._said(port, path) for _, port in concerned))
        totals: dict[tuple[str, str], Counter[int]] = {}
        for (name, _), text in zip(concerned, said, strict=True):
            for client, column, count in _counted(text, question.since_s):
                if client and question.covers(client, name):
                    totals.setdefault((client, name), Counter())[column] += count
        return tuple(
            Counts(client, name, self._node, found[0], found[1])
            for (client, name), found in sorted(totals.items())
        )

    async def _said(self, port: int, path: str) -> str:
        async with self._places:
            return (await asked(port, path) if port else None) or ""


def _counted(text: str, since_s: int | None) -> list[tuple[str, int, int]]:
    """What a sidecar said: a client, which of the two numbers, and how many."""
    try:
        said = json.loads(text or "{}")
        if since_s is None:
            return [
                (_name(str(uri)), column, int(count))
                for column, kind in enumerate(("clients", "http_clients"))
                for uri, count in said.get(kind, {}).items()
            ]
        earliest = time.time() - since_s
        return [
            (str(each["Source"]), int(each["Result"] == "denied"), int(each["Requests"]))
            for each in said
            if each["LastAt"] >= earliest
        ]
    except (ValueError, AttributeError, TypeError, KeyError):
        return []  # a proxy of another make


def _name(uri: str) -> str:
    try:
        identity = spiffe.parse(uri)
    except IdentityError:
        return ""
    return identity.name if identity.kind is spiffe.Kind.SERVICE else ""
