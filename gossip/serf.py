"""Serf on top of SWIM: Lamport clocks, intents, user events, queries, leaving, reaping.

Gossip wire contract, sections 5 to 7. The one core that the shell and the simulation talk to: it
owns the SWIM core, turns its notices into member events, and gives effects through ``drain``.
Statuses are judged by gossip.roster, queries answered by gossip.queries, user events kept by
gossip.user_events.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from gossip import coordinates
from gossip.broadcasts import BroadcastQueue, retransmit_limit
from gossip.config import META_BYTES_MAX, GossipConfig
from gossip.coordinates import CoordinateClient
from gossip.departure import DEAD_TOKEN, INTENT_TOKEN, Departure, Step
from gossip.effects import (
    Address,
    BroadcastFinished,
    Effect,
    ExchangeState,
    LeaveFinished,
    MemberChanged,
    NameConflict,
    NodeChanged,
    NodeDown,
    NodeUp,
    Notice,
    PayloadArrived,
    RoundTrip,
)
from gossip.errors import ConfigError, DecodeError
from gossip.lamport import LTIME_MAX, LamportClock
from gossip.pushpull import snapshot
from gossip.queries import Queries
from gossip.rejoin import Clocks
from gossip.roster import MemberEvent, MemberEventKind, MemberStatus, Particulars, Roster
from gossip.stats import GossipStats
from gossip.swim import Swim
from gossip.user_events import UserEvents
from gossip.wire import messages
from gossip.wire import serf as wire
from gossip.wire.frames import COMPOUND_PART_BYTES, Framing
from gossip.wire.messages import NodeState, PushPull, State

USER_OVERHEAD_BYTES = COMPOUND_PART_BYTES + 1  # the type byte of a user message


#: Records that are taken in at once: about a millisecond in a quiet ring, 5 ms of new members.
PORTION_NODES = 32

#: Records of another member's table, and at the end its view of statuses and events.
Portion = tuple[tuple[NodeState, ...], wire.SerfState | None]


class Serf:
    """One member's whole protocol."""

    def __init__(
        self, config: GossipConfig, *, rng: random.Random, framing: Framing, stats: GossipStats
    ) -> None:
        self._config = config
        self._rng = rng
        self._stats = stats
        self.swim = Swim(
            config, rng=rng, packet_budget_bytes=framing.packet_budget_bytes, stats=stats
        )
        self.roster = Roster(config)
        self.coordinates = CoordinateClient(rng)
        self._clock = LamportClock()
        self._intent_queue = self._queue()
        self._query_queue = self._queue()
        event_queue = self._queue()
        self.events = UserEvents(config, queue=event_queue, stats=stats)
        self._queues = (self._intent_queue, self._query_queue, event_queue)
        self.swim.piggyback.serve_also(*self._queues)
        self.queries = Queries(
            config,
            rng=rng,
            keyring=framing.keyring,
            table=self.swim.table,
            roster=self.roster,
            queue=self._query_queue,
            stats=stats,
        )
        self._effects: list[Effect] = []
        self._departure = Departure(config)
        self._prunes: dict[str, float] = {}
        self._next_reap_at = math.inf
        self._next_reconnect_at = math.inf
        self.tags: Mapping[str, str] = dict(config.tags)

    def _queue(self) -> BroadcastQueue:
        return BroadcastQueue(limit=self._config.broadcasts_max, overhead_bytes=USER_OVERHEAD_BYTES)

    # Life

    def resume(self, seen: Clocks) -> None:
        """A former life of ours came so far: before ``start``."""
        if seen.member:
            self._clock.witness(seen.member)
        if seen.event:
            self.events.seen_before(seen.event)
        if seen.query:
            self.queries.seen_before(seen.query)

    @property
    def clocks(self) -> Clocks:
        """How far we came."""
        times = (self._clock.time, self.events.clock.time, self.queries.clock.time)
        return Clocks(*(time - 1 for time in times))

    def start(self, address: Address, now: float) -> None:
        """Come to life at the address that peers shall use."""
        meta = encode_meta(self.tags)
        if self._config.coordinates:
            self.swim.ack_payload = coordinates.encode_payload(self.coordinates.local)
        self._next_reap_at = now + self._config.reap_interval_s
        self._next_reconnect_at = now + self._config.reconnect_interval_s
        self.swim.start(address, meta, now)
        self._process(now)

    def joined(self, now: float) -> None:
        """A join exchange succeeded: tell the ring that we mean to be here."""
        self._spread_join_intent(now)

    def set_tags(self, tags: Mapping[str, str], now: float) -> None:
        """Change our tags. Raises ConfigError when they are too long."""
        meta = encode_meta(tags)
        self.tags = dict(tags)
        self.swim.set_meta(meta, now)
        self._process(now)

    def force_leave(self, name: str, *, prune: bool, now: float) -> bool:
        """Speak a leave intent in the name of another member; False when it is unknown."""
        if name not in self.roster.entries or name == self._config.name:
            return False
        intent = wire.LeaveIntent(self._clock.increment(), name, prune)
        self._intent_queue.add(wire.encode(intent))
        _, events = self.roster.leave_intent(name, intent.ltime, prune=prune, now=now)
        self._tell(events)
        if prune and name in self.roster.entries:
            self._schedule_prune(name, now)
        return True

    def leave(self, now: float) -> None:
        """Begin to leave; ``LeaveFinished`` comes when it is spread or the waits ran out."""
        if self._departure.begun:
            return
        intent = wire.LeaveIntent(self._clock.increment(), self._config.name)
        self.roster.leave_intent(intent.node, intent.ltime, prune=False, now=now)
        heard = self.swim.has_live_peers
        if heard:
            self._intent_queue.add(wire.encode(intent), token=INTENT_TOKEN)
        self._departure.begin(now, heard=heard)
        self._advance_departure(now)

    def _advance_departure(self, now: float) -> None:
        """Take the steps of leaving that are due."""
        while (step := self._departure.advance(now, heard=self.swim.has_live_peers)) is not None:
            if step is Step.DEAD:
                self.swim.leave(now, DEAD_TOKEN)
                self._process(now)
            elif step is Step.DONE:
                self._effects.append(LeaveFinished())

    def user_event(self, name: str, payload: bytes, *, coalesce: bool, now: float) -> None:
        """Tell every member. Raises UserEventTooLong."""
        self.events.fire(name, payload, coalesce=coalesce)

    # Inputs

    def receive_packet(self, parts: list[bytes], source: Address, now: float) -> None:
        """The bare messages of a packet. Bad ones are counted and skipped."""
        self.swim.notice_time(now)
        for part in parts:
            try:
                message = messages.decode(part)
            except DecodeError as error:
                self._stats.drop(error.reason)
                continue
            self.swim.receive(message, source, now)
        self._process(now)

    def receive_user(self, payload: bytes, now: float) -> None:
        """A user message that came over a stream."""
        self.swim.notice_time(now)
        self.swim.out.append(PayloadArrived(payload))
        self._process(now)

    def tcp_ping_finished(self, seq_no: int, answered: bool, now: float) -> None:
        self.swim.notice_time(now)
        self.swim.tcp_ping_finished(seq_no, answered)
        self._process(now)

    def unsent(self, to: Address) -> None:
        """A packet could not leave this host, for a reason that is not the target's."""
        self.swim.unsent(to)

    def tick(self, now: float) -> None:
        """Do all that is due."""
        self.swim.notice_time(now)
        alive = len(self.roster)
        self.swim.piggyback.user_transmits_max = retransmit_limit(
            self._config.retransmit_mult, alive
        )
        self.swim.tick(now)
        self._process(now)
        if now >= self._departure.deadline:
            self._advance_departure(now)
        self.queries.tick(now)
        for name in [name for name, at in self._prunes.items() if now >= at]:
            del self._prunes[name]
            if name in self.roster.entries:
                self._tell([self.roster.erase(name)])
        if now >= self._next_reap_at:
            self._next_reap_at = now + self._config.reap_interval_s
            self._tell(self.roster.reap(now))
        if now >= self._next_reconnect_at:
            self._next_reconnect_at = now + self._config.reconnect_interval_s
            self._reconnect()

    @property
    def deadline(self) -> float:
        """When ``tick`` wants to be called next."""
        at = min(
            self.swim.deadline,
            self._next_reap_at,
            self._next_reconnect_at,
            self._departure.deadline,
            self.queries.deadline,
        )
        if self._prunes:
            at = min(at, *self._prunes.values())
        return at

    @property
    def broadcasts_queued(self) -> int:
        """Messages waiting to be gossiped."""
        return len(self.swim.queue) + sum(map(len, self._queues))

    @property
    def broadcasts_dropped(self) -> int:
        """Messages that there was no room for, so far."""
        return sum(queue.dropped for queue in (self.swim.queue, *self._queues))

    def drain(self) -> list[Effect]:
        """What is to be done, in order; each effect once."""
        effects, self._effects = self._effects + self.queries.out + self.events.out, []
        self.queries.out, self.events.out = [], []
        return effects

    def _reconnect(self) -> None:
        entry = self.roster.reconnect_choice(self._rng)
        if entry is not None and not self._departure.begun:
            self._effects.append(
                ExchangeState(Address(entry.ip, entry.port), entry.name, join=True)
            )

    # Push/pull

    def local_state(self, *, join: bool) -> PushPull:
        """Our whole table and Serf's state, as the other side of an exchange gets it."""
        state = wire.SerfState(
            ltime=self._clock.time,
            status_ltimes={
                n: self.roster.entries[n].status_ltime for n in sorted(self.roster.entries)
            },
            left_members=self.roster.left_names(),
            event_ltime=self.events.clock.time,
            events=self.events.slots(),
            query_ltime=self.queries.clock.time,
        )
        return PushPull(join, snapshot(self.swim.table), wire.encode(state))

    def merge_state(self, remote: PushPull, now: float) -> None:
        """The other side's table. Raises RemoteError when the rings do not fit, DecodeError."""
        for portion in self.portions(remote):
            self.take(portion, now)

    def portions(self, remote: PushPull, *, entering: bool = False) -> list[Portion]:
        """The other side's table, judged, to be taken in bit by bit and in this order.

        A table of ten thousand new members takes a second. Who is ``entering`` the ring hears
        nothing of the events before. Raises RemoteError, DecodeError.
        """
        state = wire.decode(remote.user_state) if remote.user_state else None
        self.swim.judge(remote.nodes)
        if entering and isinstance(state, wire.SerfState):
            self.events.ignore_before(state.event_ltime)
        nodes = remote.nodes
        found: list[Portion] = [
            (nodes[start : start + PORTION_NODES], None)
            for start in range(0, len(nodes), PORTION_NODES)
        ]
        # The statuses last: they are of members that must be known.
        return [*found, ((), state if isinstance(state, wire.SerfState) else None)]

    def take(self, portion: Portion, now: float) -> None:
        """Take in one of the ``portions``; others may have changed the table in between."""
        self.swim.notice_time(now)
        nodes, state = portion
        self.swim.take(nodes, now)
        self._process(now)
        if state is not None:
            self._merge_serf(state, now)
        self._process(now)

    def _merge_serf(self, state: wire.SerfState, now: float) -> None:
        if state.ltime:
            self._clock.witness(state.ltime - 1)
        if state.event_ltime:
            self.events.clock.witness(state.event_ltime - 1)
        if state.query_ltime:
            self.queries.clock.witness(state.query_ltime - 1)
        left = set(state.left_members or ())
        for name in state.left_members or ():
            ltime = state.status_ltimes.get(name, 0) + 1
            self._on_leave_intent(wire.LeaveIntent(ltime, name), now)
        entries = self.roster.entries
        for name, ltime in state.status_ltimes.items():
            entry = entries.get(name)
            if entry is not None and ltime <= entry.status_ltime:
                continue  # in a quiet ring, all of them
            if name not in left:
                self._on_join_intent(wire.JoinIntent(ltime, name), now)
        for slot in state.events or ():
            for name, payload in slot.events if slot is not None else ():
                assert slot is not None
                self.events.receive(wire.UserEvent(slot.ltime, name, payload), None)

    # Notices of SWIM

    def _process(self, now: float) -> None:
        """Turn SWIM's notices into Serf's view; pass its effects on."""
        while self.swim.out:
            pending, self.swim.out = self.swim.out, []
            for item in pending:
                self._one(item, now)

    def _one(self, item: Effect | Notice, now: float) -> None:
        match item:
            case PayloadArrived(payload):
                self._on_payload(payload, now)
            case RoundTrip():
                self._on_round_trip(item)
            case NodeUp(name):
                self._prunes.pop(name, None)
                self._tell([self.roster.joined(name, self._particulars(name))])
            case NodeChanged(name):
                event = self.roster.updated(name, self._particulars(name))
                self._tell([event] if event else [])
            case NodeDown(name):
                event = self.roster.ended(name, now)
                self._tell([event] if event else [])
            case BroadcastFinished(token):
                self._departure.spread(token, now)
                self._advance_departure(now)
            case NameConflict(_, _, own):
                self._effects.append(item)
                if own and not self._departure.begun:
                    self.queries.open_vote(now)
            case _:
                self._effects.append(item)

    def _particulars(self, name: str) -> Particulars:
        record = self.swim.table.records[name]
        return Particulars(
            ip=record.address,
            port=record.port,
            tags=wire.decode_tags(record.meta),
            versions=record.versions,
        )

    def _tell(self, events: list[MemberEvent]) -> None:
        for event in events:
            if event.kind is MemberEventKind.REAP:
                self.coordinates.forget(event.member.name)
            self._effects.append(MemberChanged(event))

    def _on_round_trip(self, trip: RoundTrip) -> None:
        if not self._config.coordinates or not trip.payload:
            return
        try:
            other = coordinates.decode_payload(trip.payload)
        except DecodeError as error:
            self._stats.drop(error.reason)
            return
        if other is not None and self.coordinates.observe(trip.name, other, trip.rtt_s):
            self.swim.ack_payload = coordinates.encode_payload(self.coordinates.local)

    # Serf messages

    def _on_payload(self, payload: bytes, now: float) -> None:
        try:
            message = wire.decode(payload)
        except DecodeError as error:
            self._stats.drop(error.reason)
            return
        match message:
            case wire.JoinIntent():
                self._clock.witness(message.ltime)
                if self._on_join_intent(message, now):
                    self._intent_queue.add(payload)
            case wire.LeaveIntent():
                self._clock.witness(message.ltime)
                if self._on_leave_intent(message, now):
                    self._intent_queue.add(payload)
            case wire.UserEvent():
                self.events.receive(message, payload)
            case wire.Query():
                self.queries.receive(message, payload, self.tags, now)
            case wire.QueryResponse():
                self.queries.receive_response(message)
            case wire.Relay():
                to = Address(message.address, message.port)
                self.queries.send_user(to, message.inner)
            case _:
                self._stats.drop("out_of_place")

    def _on_join_intent(self, intent: wire.JoinIntent, now: float) -> bool:
        if intent.ltime > LTIME_MAX:
            self._stats.drop("invalid_ltime")
            return False
        return self.roster.join_intent(intent.node, intent.ltime, now)

    def _on_leave_intent(self, intent: wire.LeaveIntent, now: float) -> bool:
        if intent.ltime > LTIME_MAX:
            self._stats.drop("invalid_ltime")
            return False
        entry = self.roster.entries.get(intent.node)
        own = intent.node == self._config.name
        if own and not self._departure.begun:
            if entry is not None and intent.ltime > entry.status_ltime:
                self._clock.witness(intent.ltime)
                self._spread_join_intent(now)  # we are not leaving
            return False
        news, events = self.roster.leave_intent(
            intent.node, intent.ltime, prune=intent.prune, now=now
        )
        self._tell(events)
        if news and intent.prune and intent.node in self.roster.entries:
            self._schedule_prune(intent.node, now)
        return news

    def _schedule_prune(self, name: str, now: float) -> None:
        """A live member is forgotten only after it had the time to end."""
        wait_s = self._config.broadcast_timeout_s + self._config.leave_propagate_s
        self._prunes.setdefault(name, now + wait_s)

    def _spread_join_intent(self, now: float) -> None:
        intent = wire.JoinIntent(self._clock.time, self._config.name)
        self._clock.witness(intent.ltime)
        self.roster.join_intent(intent.node, intent.ltime, now)
        self._intent_queue.add(wire.encode(intent))

    def check(self) -> None:
        """Assert what must hold between the parts."""
        self.swim.check()
        self.roster.check()
        for record in self.swim.table:
            entry = self.roster.entries.get(record.name)
            if entry is None or record.state in (State.DEAD, State.LEFT):
                continue
            assert entry.status in (MemberStatus.ALIVE, MemberStatus.LEAVING)


def encode_meta(tags: Mapping[str, str]) -> bytes:
    """Tags as they travel. Raises ConfigError above 512 bytes."""
    meta = wire.encode_tags(tags)
    if len(meta) > META_BYTES_MAX:
        raise ConfigError(f"encoded length of tags exceeds limit of {META_BYTES_MAX} bytes")
    return meta
