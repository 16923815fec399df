"""The failure detector: probes, suspicions, refutations, and the spreading of what was found.

Gossip wire contract, section 3. Decides whom to probe, suspect, declare dead and gossip to; claims
are judged by gossip.members, timeouts by gossip.suspicion. Inputs are method calls with ``now``,
outputs pile up in ``out`` (effects for the shell, notices for Serf), the next wake-up is
``deadline``.
"""

from __future__ import annotations

import math
import random

from gossip import probe, pushpull
from gossip.awareness import Awareness
from gossip.claims import Claims
from gossip.config import GossipConfig
from gossip.effects import (
    Address,
    BroadcastFinished,
    Effect,
    ExchangeState,
    NodeChanged,
    NodeUp,
    Notice,
    PayloadArrived,
    PingStream,
    RoundTrip,
    SendPacket,
)
from gossip.insistence import Insistence
from gossip.members import MemberTable, Record
from gossip.piggyback import Piggyback
from gossip.probe import Probe, RelayedProbes
from gossip.stalls import Stalls
from gossip.stats import GossipStats
from gossip.wire import messages
from gossip.wire.frames import COMPOUND_PART_BYTES
from gossip.wire.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    State,
    Suspect,
    User,
)

PROTOCOL_TCP_PING = 3
PROTOCOL_CRC = 5
SEQ_NO_MASK = 0xFFFFFFFF


class Swim:
    """One member's SWIM."""

    def __init__(
        self,
        config: GossipConfig,
        *,
        rng: random.Random,
        packet_budget_bytes: int,
        stats: GossipStats,
    ) -> None:
        self._config = config
        self._rng = rng
        self._budget = packet_budget_bytes
        self._stats = stats
        self.table = MemberTable(config, rng)
        self.awareness = Awareness(config.awareness_max if config.lha_probe else 1)
        self.stalls = Stalls(min_s=config.stall_min_s, excuses_max=config.stall_voids_max)
        self.piggyback = Piggyback(config)
        self.queue = self.piggyback.queue
        self.claims = Claims(
            config,
            table=self.table,
            awareness=self.awareness,
            stalls=self.stalls,
            queue=self.queue,
            stats=stats,
        )
        self.suspicions = self.claims.suspicions
        self.ack_payload: bytes | None = None
        self._insistence = Insistence(config)
        self._relayed = RelayedProbes(config)
        self._probe: Probe | None = None
        self._probe_pending = False
        self._seq_no = 0
        self._next_probe_at = math.inf
        self._next_gossip_at = math.inf
        self._next_exchange_at = math.inf

    @property
    def out(self) -> list[Effect | Notice]:
        """What is to be done and what Serf is to know, in order."""
        return self.claims.out

    @out.setter
    def out(self, out: list[Effect | Notice]) -> None:
        self.claims.out = out

    # Life

    def start(self, address: Address, meta: bytes, now: float) -> None:
        """Come to life at this address and begin to probe and gossip."""
        config = self._config
        self.table.set_local(address=address.ip, port=address.port, meta=meta, now=now)
        self.claims.spread_local()
        self._next_probe_at = now + self._rng.uniform(0, config.probe_interval_s)
        self._next_gossip_at = now + self._rng.uniform(0, config.gossip_interval_s)
        if config.push_pull_interval_s > 0:
            interval = config.push_pull_interval_s * pushpull.scale(len(self.table))
            self._next_exchange_at = now + self._rng.uniform(0, interval)
        self.out.append(NodeUp(config.name))

    def set_meta(self, meta: bytes, now: float) -> None:
        """Change what our tags say; takes the next incarnation."""
        local = self.table.local
        self.table.set_local(address=local.address, port=local.port, meta=meta, now=now)
        self.claims.spread_local()
        self.out.append(NodeChanged(local.name))

    def leave(self, now: float, token: str) -> None:
        """Declare ourselves gone; ``token`` comes back when that broadcast is used up."""
        local = self.table.local
        self.table.leaving = True
        claim = Dead(local.incarnation, local.name, local.name)
        self.claims.dead(claim, now, "left", token=token)

    @property
    def has_live_peers(self) -> bool:
        """Whether anybody is there to hear a broadcast."""
        return any(
            r.state in (State.ALIVE, State.SUSPECT) and r.name != self.table.local_name
            for r in self.table
        )

    @property
    def probing(self) -> bool:
        """Whether a probe is running."""
        return self._probe is not None

    @property
    def deadline(self) -> float:
        """When ``tick`` wants to be called next."""
        at = min(
            self._next_probe_at,
            self._next_exchange_at,
            self._relayed.deadline,
            self.suspicions.deadline,
            self.claims.held.deadline,
            self._insistence.deadline,
        )
        if self._probe is not None:
            at = min(at, self._probe.deadline)
        if self._gossip_wanted():
            at = min(at, self._next_gossip_at)
        return at

    def tick(self, now: float) -> None:
        """Do all that is due."""
        for relayed in self._relayed.due_nacks(now):
            self._send(relayed.requester, Nack(relayed.requester_seq_no))
        if self._probe is not None:
            self._advance_probe(self._probe, now)
        if now >= self._next_probe_at:
            self._next_probe_at = _next_tick(
                self._next_probe_at, self._config.probe_interval_s, now
            )
            if self._probe is None:
                self._start_probe(now)
            else:
                self._probe_pending = True
        for name, running in self.suspicions.take_due(now):
            self.claims.ran_out(name, running, now)
        self.claims.judge_again(now)
        if self._insistence.due(now) and not self.table.leaving:
            self._stats.claims_repeated += 1
            self.table.next_incarnation(0)
            self.claims.spread_local()
        if now >= self._next_gossip_at and self._gossip_wanted():
            self._next_gossip_at = _next_tick(
                self._next_gossip_at, self._config.gossip_interval_s, now
            )
            self._gossip(now)
        if now >= self._next_exchange_at:
            self._schedule_exchange(now)

    def notice_time(self, now: float) -> None:
        """Before anything that happens now: have we run when we wanted to?"""
        if self.stalls.quiet(now):
            return
        stall = self.stalls.found(self.deadline, now)
        if stall is None:
            return
        self._stats.stalls += 1
        self._stats.stalled_seconds += stall.length_s
        self.awareness.add(1)
        self.suspicions.excuse(
            stall.length_s,
            times_max=self._config.stall_voids_max,
            not_before=now + self.claims.grace_s,
        )
        if self._probe is not None and self.stalls.excuse():
            # Its answer may have come while we did not look: ask again, and at once.
            self._stats.probes_void += 1
            self.table.probe_next(self._probe.name)
            self._probe = None
            self._next_probe_at = now

    # Probing

    def _start_probe(self, now: float) -> None:
        record = self.table.next_probe_target(now)
        if record is None:
            return
        config = self._config
        seq_no = self._next_seq_no()
        self._probe = Probe(
            name=record.name,
            seq_no=seq_no,
            incarnation=record.incarnation,
            suspected=record.state is State.SUSPECT,
            started_at=now,
            timeout_at=now + config.probe_timeout_s,
            end_at=now + self.awareness.scale(config.probe_interval_s),
        )
        self._stats.probes += 1
        ping = self._ping(seq_no, record.name)
        accuser = self.claims.accusers.open_accuser(record.name, record.incarnation)
        if record.state is State.SUSPECT and config.buddy_system:
            accuser = self.table.local_name
        if accuser:
            # The suspect hears of it at once and can refute (Lifeguard's buddy system). So does
            # whom somebody in quarantine accuses: the accuser shall learn better.
            # First the accusation: then the ack already carries what it says to that.
            accusation = Suspect(record.incarnation, record.name, accuser)
            pair = (messages.encode(accusation), messages.encode(ping))
            self.out.append(SendPacket(_address(record), pair, record.protocol_max >= PROTOCOL_CRC))
        else:
            self._send(_address(record), ping)

    def _ping(self, seq_no: int, node: str) -> Ping:
        return probe.ping(seq_no, node, self.table.local)

    def _advance_probe(self, running: Probe, now: float) -> None:
        if running.tcp_answered and now >= running.end_at:
            self._probe_answered(running, now)
            return
        if now >= running.end_at:
            self._probe_failed(running, now)
        elif now >= running.timeout_at and not running.helpers_asked:
            self._ask_helpers(running)

    def _ask_helpers(self, running: Probe) -> None:
        running.helpers_asked = True
        target = self.table.get(running.name)
        if target is None:
            return
        helpers = self.table.pick(
            self._config.indirect_checks,
            lambda r: r.state is State.ALIVE and r.name != running.name,
        )
        running.helpers = len(helpers)
        for helper in helpers:
            self._stats.indirect_probes_asked += 1
            nack = self._config.lha_probe
            request = probe.request(running, target, helper, self.table.local, nack=nack)
            self._send(_address(helper), request)
        if self._config.tcp_pings and target.protocol_max >= PROTOCOL_TCP_PING:
            running.tcp_tried = True
            ping = messages.encode(self._ping(running.seq_no, running.name))
            self.out.append(PingStream(_address(target), running.seq_no, ping, running.end_at))

    def tcp_ping_finished(self, seq_no: int, answered: bool) -> None:
        """The TCP ping of a probe ended; a late one is ignored."""
        if self._probe is not None and self._probe.seq_no == seq_no and answered:
            self._probe.tcp_answered = True
            self._stats.tcp_fallback_successes += 1

    def _probe_answered(self, running: Probe, now: float) -> None:
        self.claims.checked(running.name, alive=True, now=now)
        self._end_probe(now, -1)

    def _probe_failed(self, running: Probe, now: float) -> None:
        self._stats.probe_failures += 1
        self.claims.checked(running.name, alive=False, now=now)
        self._end_probe(now, running.failure_delta())
        record = self.table.get(running.name)
        if record is None:
            return
        claim = Suspect(record.incarnation, running.name, self.table.local_name)
        self.claims.suspect(claim, now, running.failure_cause())
        if self._config.suspects_told and not running.suspected:
            self._confront(running.name, claim)

    def _confront(self, name: str, claim: Suspect) -> None:
        """Whom we have just accused hears it from us, and is asked once more, out of turn. Gossip
        picks whom it tells, and in a small ring leaves the accused itself out one time in eight."""
        record = self.table.get(name)
        if record is not None and record.state is State.SUSPECT:
            self._send(_address(record), claim)
            self.table.probe_next(name)

    def unsent(self, to: Address) -> None:
        """A packet could not leave this host: if it was the ping of the running probe, that probe
        says nothing of its target, nor of our health."""
        running = self._probe
        if running is None or running.helpers_asked:
            return
        target = self.table.get(running.name)
        if target is not None and _address(target) == to:
            self._stats.probes_unsent += 1
            self._probe = None

    def _end_probe(self, now: float, health_delta: int) -> None:
        self._probe = None
        self.stalls.done()
        self.awareness.add(health_delta)
        if self._probe_pending:
            self._probe_pending = False
            self._start_probe(now)

    # Messages

    def receive(self, message: Message, source: Address, now: float) -> None:
        """A message out of a packet."""
        match message:
            case Ping():
                self._on_ping(message, source)
            case Ack():
                self._on_ack(message, now)
            case User(payload):
                self.out.append(PayloadArrived(payload))
            case Alive():
                self.claims.alive(message, now)
            case Suspect(_, _, accuser):
                self.claims.suspect(message, now, f"suspected by {accuser}")
            case Dead(_, node, accuser):
                cause = "left" if node == accuser else f"declared dead by {accuser}"
                incarnation = self.table.local.incarnation
                self.claims.dead(message, now, cause)
                if self.table.local.incarnation > incarnation:
                    self._insistence.called_dead(now)
            case IndirectPing():
                self._on_indirect_ping(message, source, now)
            case Nack(seq_no):
                if self._probe is not None and self._probe.seq_no == seq_no:
                    self._probe.nackers.add(source)

    def merge(self, nodes: tuple[NodeState, ...], now: float) -> None:
        """Another member's whole table. Raises RemoteError when the rings do not fit."""
        self.judge(nodes)
        self.take(nodes, now)

    def judge(self, nodes: tuple[NodeState, ...]) -> None:
        """Whether the rings fit, before anything is taken in. Raises RemoteError."""
        if self._config.push_pull_strict:
            pushpull.verify(nodes, self.table)
        else:
            pushpull.verify_some(nodes, self._config)

    def take(self, nodes: tuple[NodeState, ...], now: float) -> None:
        """Records of another member's table that was judged; each is a claim of its own."""
        news = list(pushpull.news(nodes, self.table))
        former = pushpull.buried(news, self.table.local_name)
        if former is not None:
            self._insistence.buried(former, self.table.local, now)
        if not self._config.push_pull_accuses:
            news = self._without_hearsay(news)
        for claim in pushpull.claims(news, self.table.local_name):
            match claim:
                case Alive():
                    self.claims.alive(claim, now)
                case Suspect():
                    self.claims.suspect(claim, now, "dead or suspect in a peer's table")
                case Dead():
                    self.claims.dead(claim, now, "left, by a peer's table")

    def _without_hearsay(self, nodes: list[NodeState]) -> list[NodeState]:
        """All but the suspects. That a peer has somebody as a suspect does not say who accuses:
        were it our accusation as well, one accuser would soon have all the confirmations that a
        suspicion waits for. We look for ourselves instead."""
        others = []
        for node in nodes:
            if node.state is not State.SUSPECT or node.name == self.table.local_name:
                others.append(node)
                continue
            record = self.table.get(node.name)
            if record is not None and node.incarnation >= record.incarnation:
                self.table.probe_next(node.name)
        return others

    def _on_ping(self, ping: Ping, source: Address) -> None:
        if ping.node and ping.node != self.table.local_name:
            self._stats.drop("ping_for_another")
            return
        to = source
        if ping.source_address and ping.source_port:
            to = Address(ping.source_address, ping.source_port)
        self._send(to, Ack(ping.seq_no, self.ack_payload))

    def _on_indirect_ping(self, request: IndirectPing, source: Address, now: float) -> None:
        requester = source
        if request.source_address and request.source_port:
            requester = Address(request.source_address, request.source_port)
        seq_no = self._next_seq_no()
        if not self._relayed.add(seq_no, requester, request.seq_no, nack=request.nack, now=now):
            self._stats.drop("relays_full")
            return
        self._stats.indirect_probes_served += 1
        target = Address(request.target, request.port or self._config.bind_port)
        self._send(target, self._ping(seq_no, request.node))

    def _on_ack(self, ack: Ack, now: float) -> None:
        running = self._probe
        if running is not None and ack.seq_no == running.seq_no:
            if now <= running.timeout_at:
                self.out.append(RoundTrip(running.name, now - running.started_at, ack.payload))
            self._probe_answered(running, now)
            return
        relayed = self._relayed.answered(ack.seq_no)
        if relayed is not None:
            self._send(relayed.requester, Ack(relayed.requester_seq_no))

    # Spreading

    def _gossip_wanted(self) -> bool:
        return bool(self.piggyback) and len(self.table) > 1

    def _gossip(self, now: float) -> None:
        dead_since = now - self._config.gossip_to_the_dead_s

        def suitable(record: Record) -> bool:
            if record.state is State.DEAD:
                return record.changed_at >= dead_since
            return record.state is not State.LEFT

        for record in self.table.pick(self._config.gossip_nodes, suitable):
            # What goes to the dead is not counted: in a small ring it would use up the copies
            # meant for the living.
            batch = self._take(self._budget, counted=record.state is not State.DEAD)
            if not batch:
                break
            crc = record.protocol_max >= PROTOCOL_CRC
            self.out.append(SendPacket(_address(record), tuple(batch), crc))

    def _take(self, budget: int, *, counted: bool = True) -> list[bytes]:
        """Broadcasts within the budget."""
        piggyback = self.piggyback
        if not piggyback:
            return []
        batch = piggyback.take(budget, ring_size=len(self.table), counted=counted)
        self.out += [BroadcastFinished(token) for token in piggyback.take_finished()]
        return batch

    def _send(self, to: Address, message: Message) -> None:
        """One message with whatever broadcasts still fit beside it."""
        data = messages.encode(message)
        batch = self._take(self._budget - len(data) - COMPOUND_PART_BYTES)
        self.out.append(SendPacket(to, (data, *batch)))

    def _schedule_exchange(self, now: float) -> None:
        interval = self._config.push_pull_interval_s * pushpull.scale(len(self.table))
        self._next_exchange_at = _next_tick(self._next_exchange_at, interval, now)
        for record in self.table.pick(1, lambda r: r.state is State.ALIVE):
            self.out.append(ExchangeState(_address(record), record.name, join=False))

    def _next_seq_no(self) -> int:
        self._seq_no = (self._seq_no + 1) & SEQ_NO_MASK
        return self._seq_no

    def check(self) -> None:
        """Assert what must hold between the parts."""
        self.table.check()
        self.queue.check()
        self.claims.check()


def _address(record: Record) -> Address:
    return Address(record.address, record.port)


def _next_tick(due_at: float, interval_s: float, now: float) -> float:
    """The next point of the same rhythm after ``now``; ticks that were missed are skipped."""
    missed = math.floor((now - due_at) / interval_s) if now > due_at else 0
    return due_at + (missed + 1) * interval_s
