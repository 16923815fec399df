"""This server's member of the pool of all datacenters' servers, and how its neighbours get there.

Owns a second `gossip.Gossip`. Which of the servers of its datacenter are missing in the pool is
decided by `agent.wan.members`; here they are joined, when the first pool changes and now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from agent.wan import datacenters
from agent.wan.members import bare_name, to_be_joined, wan_name
from gossip import Gossip, GossipConfig, JoinResult, Member, MemberEvent, RingKeys
from gossip.coordinates import Coordinate
from gossip.stats import GossipStats

log = logging.getLogger("lictor.agent.wan")

#: Seconds after which the pool is looked at without an occasion, as in the reference.
LOOK_S = 60.0
#: After a server could not be joined.
RETRY_S = 2.0


class WanPool:
    """The pool as one server sees it."""

    def __init__(
        self,
        config: GossipConfig,
        *,
        node: str,
        datacenter: str,
        lan: Callable[[], Sequence[Member]],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``lan``: the members of the datacenter's own pool."""
        self._config = config
        self._node = node
        self._datacenter = datacenter
        self._lan = lan
        self._on_change = on_change
        self._look = asyncio.Event()
        self._leaving = False
        #: Joins of neighbours that did not work, and the last reason.
        self.joins_failed = 0
        self.last_error = ""
        #: Why the member has stopped by itself; "" while it runs.
        self.stopped = ""
        self._gossip = Gossip(config, on_member=self._changed, on_name_lost=self._name_lost)

    # ---- life ----

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        await self._gossip.start()

    async def leave(self) -> None:
        """Say good-bye to the other datacenters."""
        self._leaving = True
        await self._gossip.leave()

    async def stop(self) -> None:
        """Close everything at once."""
        await self._gossip.stop()

    async def keep_joined(self) -> None:
        """Have the servers of our datacenter in the pool, for ever."""
        while True:
            self._look.clear()
            worked = await self._join_neighbours()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if worked else RETRY_S):
                    await self._look.wait()

    async def _join_neighbours(self) -> bool:
        missing = self.missing()
        if not missing or self._leaving or self.stopped:
            return True
        result = await self._gossip.join(missing)
        if result.errors:
            self.joins_failed += len(result.errors)
            self.last_error = "; ".join(f"{peer}: {reason}" for peer, reason in result.errors)
            log.warning("server not joined into the wan pool errors=%s", self.last_error)
        return not result.errors

    def lan_changed(self) -> None:
        """The datacenter's own pool has news."""
        self._look.set()

    def _changed(self, event: MemberEvent) -> None:
        self._on_change()

    def _name_lost(self, name: str) -> None:
        # The datacenter itself goes on: it needs nobody else.
        self.stopped = f"the pool knows another server named {name!r}"
        log.error("left out of the wan pool reason=%s", self.stopped)

    # ---- the pool ----

    @property
    def ring_keys(self) -> RingKeys:
        """The gossip keys of all members."""
        return self._gossip.ring_keys

    @property
    def label(self) -> str:
        """Our name in the pool."""
        return self._config.name

    def missing(self) -> tuple[str, ...]:
        """Where the servers of our datacenter are that are not in the pool."""
        return to_be_joined(
            self._lan(),
            self._gossip.members(),
            self._datacenter,
            default_port=self._config.bind_port,
        )

    def members(self) -> Sequence[Member]:
        """Every server that is known, under its name in this pool."""
        return self._gossip.members()

    def local_member(self) -> Member:
        """Ourselves."""
        return self._gossip.local_member()

    def coordinate(self, name: str = "") -> Coordinate | None:
        """Where a member is in the network between datacenters; ours without a name."""
        return self._gossip.coordinate("" if name == self._config.name else name)

    async def join(self, addresses: Sequence[str]) -> JoinResult:
        """Join the pool through these servers."""
        return await self._gossip.join(addresses)

    def force_leave(self, name: str, *, prune: bool = False) -> bool:
        """Declare a failed server left, by its name in the pool or in our datacenter."""
        full = name
        if bare_name(name, self._datacenter) == name and self._member(name) is None:
            full = wan_name(name, self._datacenter)
        return self._gossip.force_leave(full, prune=prune)

    def _member(self, name: str) -> Member | None:
        return self._gossip.member(name)

    def explain(self, name: str) -> object | None:
        """Why a member has its state."""
        return self._gossip.explain(name)

    def stats(self) -> GossipStats:
        """Counters of the member."""
        return self._gossip.stats()

    def coordinate_resets(self) -> int:
        """How often our coordinate had to begin again."""
        return self._gossip.coordinate_resets()

    # ---- the datacenters ----

    def datacenters(self) -> list[str]:
        """All that are known, ours first, then the nearest."""
        here = self._gossip.coordinate()
        return datacenters.nearest_first(self.members(), self._datacenter, here, self.coordinate)

    def servers(self) -> dict[str, list[Member]]:
        """The servers that are known by datacenter."""
        return datacenters.by_datacenter(self.members())

    def distance_s(self, datacenter: str) -> float:
        """The median round trip to a datacenter, in seconds; infinite where it is not known."""
        servers = self.servers().get(datacenter, [])
        return datacenters.median_s(servers, self._gossip.coordinate(), self.coordinate)
