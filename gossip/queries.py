"""Queries in and answers out: deduplication, filters, acknowledgements, relays, the name vote.

Gossip wire contract, sections 5.5 and 7.4. What the answers say is gossip.internal_queries, whom a
query concerns gossip.filters. Owned by gossip.serf, which passes the effects on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from gossip import filters, internal_queries
from gossip.broadcasts import BroadcastQueue
from gossip.config import GossipConfig
from gossip.effects import Address, Effect, NameLost, SendPacket
from gossip.internal_queries import NameVote
from gossip.keyring import Keyring
from gossip.lamport import LamportClock, SeenBuffer
from gossip.members import MemberTable
from gossip.roster import MemberStatus, Roster
from gossip.stats import GossipStats
from gossip.wire import messages
from gossip.wire import serf as wire
from gossip.wire.messages import State, User

NS = 1_000_000_000
PROTOCOL_RELAY = 5  # highest memberlist protocol a relaying member must understand, at least


class Queries:
    """The query side of one member."""

    def __init__(
        self,
        config: GossipConfig,
        *,
        rng: random.Random,
        keyring: Keyring,
        table: MemberTable,
        roster: Roster,
        queue: BroadcastQueue,
        stats: GossipStats,
    ) -> None:
        self._config = config
        self._rng = rng
        self._keyring = keyring
        self._table = table
        self._roster = roster
        self._queue = queue
        self._stats = stats
        self.clock = LamportClock()
        self._seen = SeenBuffer(config.events_buffer, config.events_per_ltime_max)
        self._vote: NameVote | None = None
        self.out: list[Effect] = []

    @property
    def deadline(self) -> float:
        """When the running vote closes."""
        return math.inf if self._vote is None else self._vote.deadline

    def tick(self, now: float) -> None:
        """Close the vote when its time is over."""
        if self._vote is None or now < self._vote.deadline:
            return
        if self._vote.lost:
            self.out.append(NameLost(self._config.name))
        self._vote = None

    def receive(self, query: wire.Query, payload: bytes, tags: Mapping[str, str]) -> None:
        """A query from the ring; ``payload`` are its bytes, to be passed on unchanged."""
        self.clock.witness(query.ltime)
        if not self._seen.add(query.ltime, query.id, self.clock.time):
            return
        self._stats.queries += 1
        if not query.flags & wire.QUERY_FLAG_NO_BROADCAST:
            self._queue.add(payload)
        if not filters.concerns(query, self._config, tags):
            return
        if query.flags & wire.QUERY_FLAG_ACK:
            self._respond(query, wire.RESPONSE_FLAG_ACK, None)
        answer: bytes | None = None
        if query.name == internal_queries.CONFLICT_QUERY:
            answer = internal_queries.conflict_answer(query, self._config.name, self._roster)
        elif query.name in internal_queries.KEY_QUERIES:
            answer = internal_queries.key_answer(query, self._keyring, self._config)
        if answer is not None:
            self._respond(query, 0, answer)

    def _respond(self, query: wire.Query, flags: int, payload: bytes | None) -> None:
        """Straight to the asker, and once more through others when it asks for relays."""
        response = wire.QueryResponse(
            ltime=query.ltime,
            id=query.id,
            sender=self._config.name,
            flags=flags,
            payload=payload,
        )
        data = wire.encode(response)
        if len(data) > self._config.query_response_bytes_max:
            self._stats.drop("response_too_large")
            return
        self.send_user(Address(query.address, query.port), data)
        if query.relay_factor == 0 or len(self._roster) < query.relay_factor + 1:
            return
        relayed = wire.encode(
            wire.Relay(address=query.address, port=query.port, name=query.source_node, inner=data)
        )
        if len(relayed) > self._config.query_response_bytes_max:
            return
        for record in self._table.pick(
            query.relay_factor,
            lambda r: r.state is State.ALIVE and r.protocol_max >= PROTOCOL_RELAY,
        ):
            self.send_user(Address(record.address, record.port), relayed)

    def send_user(self, to: Address, payload: bytes) -> None:
        """A Serf message straight to one member."""
        if len(to.ip) not in (4, 16) or to.port == 0:
            self._stats.drop("bad_address")
            return
        self.out.append(SendPacket(to, (messages.encode(User(payload)),)))

    def receive_response(self, response: wire.QueryResponse) -> None:
        """An answer to a query of ours; others are ignored."""
        vote = self._vote
        if vote is None or (response.ltime, response.id) != (vote.ltime, vote.id):
            return
        if not response.flags & wire.RESPONSE_FLAG_ACK:
            local = self._table.local
            vote.answer(response.sender, response.payload or b"", local.address, local.port)

    def open_vote(self, now: float) -> None:
        """Ask the ring who bears our name; ``NameLost`` comes when the majority says another."""
        if self._vote is not None:
            return
        local = self._table.local
        alive = self._roster.count(MemberStatus.ALIVE)
        timeout_s = (
            self._config.gossip_interval_s
            * self._config.query_timeout_mult
            * math.ceil(math.log10(alive + 1))
        )
        query = wire.Query(
            ltime=self.clock.increment(),
            id=self._rng.getrandbits(31),
            address=local.address,
            port=local.port,
            source_node=local.name,
            filters=None,
            flags=0,
            relay_factor=0,
            timeout_ns=int(timeout_s * NS),
            name=internal_queries.CONFLICT_QUERY,
            payload=local.name.encode(),
        )
        self._seen.add(query.ltime, query.id, self.clock.time)
        self._queue.add(wire.encode(query))
        self._vote = NameVote(query, now + timeout_s)
