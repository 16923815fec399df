"""`?merge-central-config`: what config entries say of proxies, merged into what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from agent.backend import Ask
from agent.http.call import Call
from raftstore.definition_queries import GetConfigEntry
from raftstore.entries import central
from raftstore.queries import HealthEntry, ServiceNode
from raftstore.records import Json, Service

E = TypeVar("E", HealthEntry, ServiceNode)


def wants_merge(call: Call) -> bool:
    """Whether the client asks for it."""
    return call.params.flag("merge-central-config") is True


async def merged(call: Call, options: Ask, items: Sequence[E]) -> tuple[E, ...]:
    """The items with their proxies as they are configured."""
    entries = _Entries(call, Ask(consistency=options.consistency, at=options.at))
    return tuple([replace(item, service=await entries.merged(item.service)) for item in items])


async def merged_services(
    call: Call, options: Ask, services: Sequence[Service]
) -> tuple[Service, ...]:
    """The same of services alone."""
    entries = _Entries(call, Ask(consistency=options.consistency, at=options.at))
    return tuple([await entries.merged(service) for service in services])


class _Entries:
    """The entries that were looked up, by kind and name."""

    def __init__(self, call: Call, options: Ask) -> None:
        self._call = call
        self._options = options
        self._found: dict[central.Key, Mapping[str, Json]] = {}

    async def merged(self, service: Service) -> Service:
        """One service; those that are no proxies stay as they are."""
        for key in central.entries_of(service):
            if key not in self._found:
                answer = await self._call.context.backend.ask(GetConfigEntry(*key), self._options)
                content = None if answer.value is None else answer.value.content
                self._found[key] = content if isinstance(content, dict) else {}
        return central.merged(service, self._found)
