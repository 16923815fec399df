"""Queries in and out: deduplication, filters, acknowledgements, relays, the name vote.

Gossip wire contract, sections 5.5 and 7.4. What the answers say is gossip.internal_queries and
gossip.key_changes, whom a query concerns gossip.filters, who has answered ours gossip.asking. Owned
by gossip.serf, which passes the effects on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from gossip import filters, internal_queries
from gossip.asking import NS, Asking, Question, default_timeout_s
from gossip.broadcasts import BroadcastQueue
from gossip.config import GossipConfig
from gossip.effects import Address, Effect, NameLost, QueryArrived, SaveKeys, SendPacket
from gossip.errors import QueryError
from gossip.internal_queries import NameVote
from gossip.key_changes import KEY_QUERIES, KeyChanges
from gossip.keyring import Keyring
from gossip.lamport import LamportClock, SeenBuffer
from gossip.members import MemberTable
from gossip.roster import MemberStatus, Roster
from gossip.second_copies import SecondCopies
from gossip.stats import GossipStats
from gossip.wire import messages
from gossip.wire import serf as wire
from gossip.wire.messages import State, User

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
        self._table = table
        self._roster = roster
        self._queue = queue
        self._stats = stats
        self.clock = LamportClock()
        # Only ids are kept, so the numbers bound them.
        self._seen = SeenBuffer(config.events_buffer, config.events_per_ltime_max, 0)
        self._vote: NameVote | None = None
        self.out: list[Effect] = []
        self._second_copies = SecondCopies(config.gossip_interval_s)
        self.asking = Asking(config, stats)
        self.keys = KeyChanges(
            config,
            keyring,
            stats,
            answer=lambda query, payload, now: self._respond(query, 0, payload, now),
            save=self._save_keys,
        )

    def _save_keys(self, effect: SaveKeys) -> None:
        self.out.append(effect)

    def seen_before(self, ltime: int) -> None:
        """A former life saw queries up to this time: they are not answered again."""
        self.clock.witness(ltime)
        self._seen.floor = max(self._seen.floor, ltime + 1)

    @property
    def deadline(self) -> float:
        """When the running vote, or the next query of ours, closes, or an answer goes again."""
        vote = math.inf if self._vote is None else self._vote.deadline
        return min(vote, self.asking.deadline, self._second_copies.deadline)

    def tick(self, now: float) -> None:
        """Close what has had its time, and send what goes twice."""
        for to, payload in self._second_copies.take_due(now):
            self.send_user(to, payload)
        self.out += self.asking.tick(now)
        if self._vote is None or now < self._vote.deadline:
            return
        if self._vote.lost:
            self.out.append(NameLost(self._config.name))
        self._vote = None

    def receive(
        self, query: wire.Query, payload: bytes, tags: Mapping[str, str], now: float
    ) -> None:
        """A query from the ring; ``payload`` are its bytes, to be passed on unchanged."""
        self.clock.witness(query.ltime)
        if not self._seen.add(query.ltime, query.id, self.clock.time):
            return
        self._stats.queries += 1
        if not query.flags & wire.QUERY_FLAG_NO_BROADCAST:
            self._queue.add(payload)
        self._work_on(query, tags, now)

    def ask(self, question: Question, tags: Mapping[str, str], now: float) -> tuple[int, int]:
        """Send a query of ours; gives its Lamport time and id, which its effects bear.

        We are a member like the others and answer, too. Raises QueryError.
        """
        self.asking.check(question)
        query = self._made(
            question.name,
            question.payload,
            filters=question.filters(),
            flags=wire.QUERY_FLAG_ACK if question.ack else 0,
            relay_factor=question.relay_factor,
            timeout_s=question.timeout_s or self._timeout_s(),
        )
        data = wire.encode(query)
        if len(data) > self._config.query_bytes_max:
            raise QueryError(f"query exceeds limit of {self._config.query_bytes_max} bytes")
        self._send(query, data)
        self.asking.open(query, now)
        self._work_on(query, tags, now)
        return query.ltime, query.id

    def answer(self, arrived: QueryArrived, payload: bytes, now: float) -> None:
        """The application's answer. Raises QueryError when it is too long or too late."""
        if now >= arrived.deadline:
            raise QueryError("response is past the deadline")
        if not self._respond(arrived.query, 0, payload, now):
            limit = self._config.query_response_bytes_max
            raise QueryError(f"response exceeds limit of {limit} bytes")

    def _work_on(self, query: wire.Query, tags: Mapping[str, str], now: float) -> None:
        if not filters.concerns(query, self._config, tags):
            return
        if query.flags & wire.QUERY_FLAG_ACK:
            self._respond(query, wire.RESPONSE_FLAG_ACK, None, now)
        if query.name == internal_queries.CONFLICT_QUERY:
            answer = internal_queries.conflict_answer(query, self._config.name, self._roster)
            if answer is not None:
                self._respond(query, 0, answer, now)
        elif query.name in KEY_QUERIES:
            self.keys.receive(query, now)
        elif not query.name.startswith(internal_queries.INTERNAL_PREFIX):
            self.out.append(QueryArrived(query, now + query.timeout_ns / NS))

    def _respond(self, query: wire.Query, flags: int, payload: bytes | None, now: float) -> bool:
        """Straight to the asker; when it asks for relays, also through others and twice.

        False when the answer is too long to be sent.
        """
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
            return False
        local = self._table.local
        if (query.address, query.port) == (local.address, local.port):
            self.receive_response(response)
            return True
        asker = Address(query.address, query.port)
        self.send_user(asker, data)
        if query.relay_factor > 0:
            self._second_copies.add(asker, data, now)
        if query.relay_factor == 0 or len(self._roster) < query.relay_factor + 1:
            return True
        relayed = wire.encode(
            wire.Relay(address=query.address, port=query.port, name=query.source_node, inner=data)
        )
        if len(relayed) > self._config.query_response_bytes_max:
            return True
        for record in self._table.pick(
            query.relay_factor,
            lambda r: r.state is State.ALIVE and r.protocol_max >= PROTOCOL_RELAY,
        ):
            self.send_user(Address(record.address, record.port), relayed)
        return True

    def send_user(self, to: Address, payload: bytes) -> None:
        """A Serf message straight to one member."""
        if len(to.ip) not in (4, 16) or to.port == 0:
            self._stats.drop("bad_address")
            return
        self.out.append(SendPacket(to, (messages.encode(User(payload)),)))

    def receive_response(self, response: wire.QueryResponse) -> None:
        """An answer to a query of ours; others are ignored."""
        vote = self._vote
        if vote is not None and (response.ltime, response.id) == (vote.ltime, vote.id):
            if not response.flags & wire.RESPONSE_FLAG_ACK:
                local = self._table.local
                vote.answer(response.sender, response.payload or b"", local.address, local.port)
            return
        news = self.asking.receive(response)
        if news is not None:
            self.out.append(news)

    def open_vote(self, now: float) -> None:
        """Ask the ring who bears our name; ``NameLost`` comes when the majority says another."""
        if self._vote is not None:
            return
        timeout_s = self._timeout_s()
        query = self._made(
            internal_queries.CONFLICT_QUERY, self._table.local.name.encode(), timeout_s=timeout_s
        )
        self._send(query, wire.encode(query))
        self._vote = NameVote(query, now + timeout_s)

    def _timeout_s(self) -> float:
        return default_timeout_s(self._config, self._roster.count(MemberStatus.ALIVE))

    def _made(
        self,
        name: str,
        payload: bytes,
        *,
        timeout_s: float,
        filters: tuple[bytes, ...] | None = None,
        flags: int = 0,
        relay_factor: int = 0,
    ) -> wire.Query:
        local = self._table.local
        return wire.Query(
            ltime=self.clock.time,
            id=self._rng.getrandbits(31),
            address=local.address,
            port=local.port,
            source_node=local.name,
            filters=filters,
            flags=flags,
            relay_factor=relay_factor,
            timeout_ns=int(timeout_s * NS),
            name=name,
            payload=payload,
        )

    def _send(self, query: wire.Query, data: bytes) -> None:
        self.clock.witness(query.ltime)
        self._seen.add(query.ltime, query.id, self.clock.time)
        self._queue.add(data)
