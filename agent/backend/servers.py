"""Which servers this agent knows, and which one to ask next. No I/O.

Members of the gossip ring with the tag ``role=consul`` of our datacenter are servers; the tag
``port`` is their server port. An agent stays with one server while that works, so that connections
and caches there stay warm, and moves on when it fails.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server's node id, name, and where its server port is."""

    node_id: str
    name: str
    host: str
    port: int


class Servers:
    """The known servers in the order in which they will be asked."""

    __slots__ = ("_hosts", "_order", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._order: list[ServerAddress] = []
        self._hosts: frozenset[str] = frozenset()

    def has_host(self, host: str) -> bool:
        """Is this the address of a server?"""
        return host in self._hosts

    def __len__(self) -> int:
        return len(self._order)

    def all(self) -> tuple[ServerAddress, ...]:
        """All of them, the preferred first."""
        return tuple(self._order)

    def update(self, alive: Iterable[ServerAddress]) -> None:
        """Take over what gossip says now; known ones keep their place, new ones come at random."""
        now = {server.node_id or server.name: server for server in alive}
        kept = [now.pop(s.node_id or s.name) for s in self._order if (s.node_id or s.name) in now]
        fresh = list(now.values())
        self._rng.shuffle(fresh)
        for server in fresh:
            kept.insert(self._rng.randint(0, len(kept)) if not self._order else len(kept), server)
        self._order = kept
        self._hosts = frozenset(server.host for server in kept)

    def preferred(self) -> ServerAddress | None:
        """Whom to ask now."""
        return self._order[0] if self._order else None

    def shuffle(self) -> None:
        """Choose anew whom to ask."""
        self._rng.shuffle(self._order)

    def failed(self, server: ServerAddress) -> None:
        """It did not work: ask it last."""
        if server in self._order:
            self._order.remove(server)
            self._order.append(server)
