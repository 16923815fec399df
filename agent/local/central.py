"""The config entries that count for the proxies of this host, followed and kept.

One question to a server for each entry and each token it is asked with, held until the entry
changes. The last answers are on disk too (agent contract 3), so that a host that starts while no
server answers has its proxies as they were. What entries mean is `raftstore.entries.central`'s.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping

from agent.backend import Ask, Backend, Consistency
from agent.backend.acting import ACTING
from agent.errors import AgentError
from agent.local.stored import KeptEntry
from agent.tasks import TaskOwner
from proxy.backoff import Backoff
from raftstore.definition_queries import GetConfigEntry
from raftstore.entries import central
from raftstore.errors import StoreError
from raftstore.records import Json, Service, ServiceId

log = logging.getLogger("lictor.agent.local.central")

#: How long a server holds a question, and pauses after failures, in seconds.
WAIT_S = 300.0
PAUSE_MIN_S, PAUSE_MAX_S = 1.0, 60.0

Content = Mapping[str, Json]
#: An entry, and the token that it is asked for with.
_Asked = tuple[central.Key, str]


class CentralDefaults:
    """Follows entries for the proxies it is given."""

    def __init__(
        self,
        backend: Backend,
        *,
        rng: random.Random,
        token_of: Callable[[ServiceId], str],
        on_change: Callable[[tuple[ServiceId, ...]], None],
        keep: Callable[[KeptEntry], None] = lambda _: None,
    ) -> None:
        """``on_change`` is told the proxies for which something else holds now; ``keep`` puts on
        disk what a server said."""
        self._backend = backend
        self._rng = rng
        self._token_of = token_of
        self._on_change = on_change
        self._keep = keep
        self._kept: dict[central.Key, Content] = {}
        self._told: dict[_Asked, Content] = {}
        self._wanted: dict[ServiceId, tuple[_Asked, ...]] = {}
        self._tasks: dict[_Asked, tuple[asyncio.Task[None], dict[ServiceId, None]]] = {}
        self._owner = TaskOwner()
        self._on = True

    def restore(self, entries: Iterable[KeptEntry]) -> None:
        """What servers said before this start."""
        self._kept = {(one.kind, one.name): one.content for one in entries if one.content}

    def switch(self, on: bool) -> None:
        """Whether entries count at all (`enable_central_service_config`)."""
        self._on = on

    def merged(self, service: Service) -> Service:
        """A service with what entries say of it, as far as that is known."""
        wanted = self._wanted.get(service.id, ())
        if not wanted:
            return service
        known = {
            asked[0]: self._told[asked] if asked in self._told else self._kept.get(asked[0], {})
            for asked in wanted
        }
        return central.merged(service, known)

    def put(self, service: Service) -> None:
        """Follow what counts for a service, anew if it was registered before."""
        token = self._token_of(service.id)
        wanted = tuple((key, token) for key in central.entries_of(service)) if self._on else ()
        before = self._wanted.get(service.id, ())
        if wanted == before:
            return
        if wanted:
            self._wanted[service.id] = wanted
        else:
            del self._wanted[service.id]
        for asked in wanted:
            if asked not in self._tasks:
                task = self._owner.spawn(self._follow(asked), name="/".join(asked[0]))
                self._tasks[asked] = (task, {})
            self._tasks[asked][1][service.id] = None
        self._release(service.id, [asked for asked in before if asked not in wanted])

    def remove(self, service_id: ServiceId) -> None:
        """A service is here no more."""
        self._release(service_id, self._wanted.pop(service_id, ()))

    async def close(self) -> None:
        """End all questions."""
        await self._owner.close()

    def _release(self, service_id: ServiceId, several: Iterable[_Asked]) -> None:
        for asked in several:
            task, proxies = self._tasks[asked]
            del proxies[service_id]
            if proxies:
                continue
            task.cancel()
            del self._tasks[asked]
            self._told.pop(asked, None)
            kind, name = asked[0]
            if all(other != asked[0] for other, _ in self._tasks):
                self._kept.pop(asked[0], None)
                self._keep(KeptEntry(kind=kind, name=name, content=None))

    async def _follow(self, asked: _Asked) -> None:
        (kind, name), token = asked
        ACTING.set(token or None)
        backoff = Backoff(PAUSE_MIN_S, PAUSE_MAX_S, rng=self._rng)
        index = 0
        while True:
            # The first answer is a fresh one; from then on an answer is newer than the last.
            mode = Consistency.STALE if index else Consistency.DEFAULT
            options = Ask(consistency=mode, min_index=index, wait_s=WAIT_S if index else 0.0)
            try:
                reply = await self._backend.ask(GetConfigEntry(kind, name), options)
            except (AgentError, StoreError) as error:
                pause_s = backoff.failed_s()
                log.info("config entry not known kind=%s name=%s retry_s=%.1f error=%s",
                         kind, name, pause_s, error)  # fmt: skip
                await asyncio.sleep(pause_s)
                index = 0
                continue
            backoff.succeeded()
            if reply.index < index:  # another history: begin again
                index = 0
                continue
            if reply.index != index:
                index = reply.index
                found = None if reply.value is None else reply.value.content
                self._take(asked, found if isinstance(found, dict) else {})

    def _take(self, asked: _Asked, content: Content) -> None:
        """A server said what an entry is."""
        key = asked[0]
        before = self._told[asked] if asked in self._told else self._kept.get(key, {})
        self._told[asked] = content
        if self._kept.get(key, {}) != content:
            self._kept[key] = content
            self._keep(KeptEntry(kind=key[0], name=key[1], content=content))
        if before != content:
            self._on_change(tuple(self._tasks[asked][1]))
