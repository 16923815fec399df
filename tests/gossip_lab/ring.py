"""A ring of real cores on one virtual clock: packets, streams, crashes, members that do not run.

Packets are the bytes that the cores made and read; only the envelope (compound, CRC) is counted
instead of made, and made and read back for every thousandth packet. Streams are exchanges that
arrive whole. No wall time, no other dice than the seeded ones: one seed is one run.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gossip import coordinates
from gossip.config import GossipConfig
from gossip.coordinates import Coordinate
from gossip.effects import (
    Address,
    Effect,
    ExchangeState,
    LeaveFinished,
    MemberChanged,
    Noted,
    PingStream,
    SendPacket,
)
from gossip.keyring import Keyring
from gossip.members import VERSIONS, Record
from gossip.roster import Entry, MemberEventKind, MemberStatus
from gossip.serf import Serf
from gossip.stats import GossipStats
from gossip.wire import frames
from gossip.wire.frames import Framing
from gossip.wire.messages import MessageType, PushPull, State
from tests.gossip_lab.layers import Layered

PORT = 7946
META = b"\xff\x80"
COORDINATE = coordinates.encode_payload(Coordinate())
"""What acks carry: a coordinate's bytes count, its arithmetic is not the subject here."""
RECEIVE_QUEUE_MAX = 4096
"""Packets that wait for a member that does not run; the kernel drops what comes on top."""
RECEIVED_AT_ONCE = 32
"""Datagrams that libuv reads in one go; when a stopped process goes on, timers come after them."""
VERIFY_EVERY = 1000
JOINED_S = 0.05
"""After its first exchange a newcomer tells that it means to be here."""

Delay = Callable[[random.Random], float]


def constant(rng: random.Random) -> float:
    """Half a millisecond, one way."""
    return 0.0005


def lognormal(rng: random.Random) -> float:
    """Median half a millisecond, one in a hundred above ten milliseconds."""
    return 0.0005 * rng.lognormvariate(0.0, 1.2877)


DELAYS: dict[str, Delay] = {"constant": constant, "lognormal": lognormal}


@dataclass(slots=True)
class Default:
    """What a ring has that is told nothing else."""

    delay: Delay = constant


DEFAULT = Default()


@dataclass(slots=True, eq=False)
class Member:
    """One member: its core and what the network does with it."""

    name: str
    address: Address
    core: Serf
    stats: GossipStats
    running: bool = True
    armed_at: float = float("inf")
    held_until: float = 0.0
    stopped: bool = False
    """Held as a whole. False while held: only what it sends and receives waits."""
    inbox: list[tuple[list[bytes], Address]] = field(default_factory=list)
    outbox: list[Effect] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Overload:
    """A member that takes long for each packet and each step of a stream: what waits its turn."""

    service_s: float
    newest_first: bool
    queue: list[Callable[[], None]] = field(default_factory=list)
    busy: bool = False
    late: bool = False
    """Its timer has fired while it was busy, and comes after what it is at."""


@dataclass(slots=True)
class Load:
    """What has been sent, by everybody together."""

    packets: int = 0
    packet_bytes: int = 0
    exchanges: int = 0
    exchange_nodes: int = 0
    by_type: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """One member's change of mind about another."""

    at: float
    observer: str
    subject: str
    state: State
    incarnation: int
    cause: str


class Ring:
    """``size`` members n0, n1, ... that all know each other and have nothing to tell."""

    def __init__(
        self,
        seed: int,
        size: int,
        *,
        loss: float = 0.0,
        delay: Delay | None = None,
        count_types: bool = False,
        differs: Callable[[int], dict[str, Any]] = lambda index: {},
        **changes: Any,
    ) -> None:
        self.now = 0.0
        self.load = Load()
        self.seen: list[Observation] = []
        self.watch: Callable[[Observation], None] | None = None
        self.on_change: Callable[[str, str], object] | None = None
        self.events = 0
        self._loss = loss
        self._delay = delay or DEFAULT.delay
        self._count_types = count_types
        self._rng = random.Random(f"network-{seed}")
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._profile = GossipConfig.lan("profile", coordinates=False, **changes)
        self._framing = Framing(self._profile, Keyring(()))
        self.members: dict[str, Member] = {}
        self._by_address: dict[Address, Member] = {}
        self._differs = differs
        #: Says which packets never arrive, by the names of sender and target.
        self.blocked: Callable[[str, str], bool] | None = None
        self._overloaded: dict[str, Overload] = {}
        self._populate(seed, size)

    def _populate(self, seed: int, size: int) -> None:
        """Everybody at once, with tables as after a long quiet time."""
        where = {f"n{i}": _address(i) for i in range(size)}
        records = {name: _record(name, address) for name, address in where.items()}
        entries = {name: _entry(name, address) for name, address in where.items()}
        for index, (name, address) in enumerate(where.items()):
            member = self._make(name, address, random.Random(f"{seed}-{name}"), index)
            core = member.core
            known = Layered(records)
            known[name] = replace(records[name], incarnation=0)  # the start takes the next one
            core.swim.table.adopt(known)
            core.roster.adopt(Layered(entries))
            core.start(address, 0.0)
            core.drain()
            core.swim.queue.take(1 << 30, transmits_max=1)  # the others know already
            self._arm(member)

    def _make(self, name: str, address: Address, rng: random.Random, index: int) -> Member:
        config = replace(self._profile, name=name, **self._differs(index))
        stats = GossipStats()
        core = Serf(config, rng=rng, framing=self._framing, stats=stats)
        core.swim.ack_payload = COORDINATE
        member = Member(name, address, core, stats)
        self.members[name] = member
        self._by_address[address] = member
        return member

    # What an experiment does

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass, or until something has happened: whether it has."""
        end = self.now + seconds
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(heap)
            self.events += 1
            action(*arguments)
            if until is not None and until():
                return True
        self.now = end
        return False

    def crash(self, name: str) -> None:
        """Silence, at once and for ever."""
        self.members[name].running = False

    def enter(self, name: str, through: str) -> None:
        """A newcomer that knows one member, and joins by it."""
        index = len(self._by_address)
        address = _address(index)
        member = self._make(name, address, random.Random(f"{name}-{self.now}"), index)
        member.core.start(address, self.now)
        self._settle(member)
        self._exchange(member, ExchangeState(self.members[through].address, through, join=True))
        self.at(self.now + JOINED_S, self.act, name, Serf.joined)

    def block(self, name: str, seconds: float) -> None:
        """What it sends and receives waits, its timers run: the anomaly of the Lifeguard paper."""
        self._hold(name, seconds, stopped=False)

    def stop(self, name: str, seconds: float) -> None:
        """The whole process does not run, as under SIGSTOP or a starved processor."""
        self._hold(name, seconds, stopped=True)

    def overload(self, name: str, service_s: float, *, newest_first: bool) -> None:
        """From now on whatever arrives takes it so long, one after the other, and its timers wait
        for what it is at."""
        self._overloaded[name] = Overload(service_s, newest_first)

    def relieve(self, name: str) -> None:
        """It is quick again, and reads what has queued up."""
        overload = self._overloaded.pop(name)
        for work in overload.queue:
            work()
        member = self.members[name]
        member.armed_at = float("inf")
        self._arm(member)

    def _work(self, member: Member, work: Callable[..., None], *arguments: Any) -> None:
        """It does this now, or when its turn comes."""
        overload = self._overloaded.get(member.name)
        if overload is None:
            work(*arguments)
        elif len(overload.queue) < RECEIVE_QUEUE_MAX:
            overload.queue.append(functools.partial(work, *arguments))
            self._go_on(member, overload)

    def _serve_next(self, member: Member, overload: Overload) -> None:
        if self._overloaded.get(member.name) is not overload:
            return
        overload.busy = False
        if overload.queue:
            overload.queue.pop(-1 if overload.newest_first else 0)()
        if overload.late:
            overload.late = False
            member.core.tick(self.now)
            self._settle(member)
        self._go_on(member, overload)

    def _go_on(self, member: Member, overload: Overload) -> None:
        if not overload.busy and overload.queue:
            overload.busy = True
            self.at(self.now + overload.service_s, self._serve_next, member, overload)

    def act(self, name: str, deed: Callable[[Serf, float], object]) -> None:
        """Call a member's core, and carry out what follows; nothing when it has crashed since."""
        member = self.members[name]
        if member.running:
            deed(member.core, self.now)
            self._settle(member)

    def live(self) -> list[Member]:
        return [member for member in self.members.values() if member.running]

    def digest(self) -> str:
        """One word for all that was observed and sent."""
        text = "\n".join(map(repr, self.seen)) + repr(self.load)
        return hashlib.sha256(text.encode()).hexdigest()

    # The clock

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do something later."""
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, action, arguments))

    def _arm(self, member: Member) -> None:
        deadline = member.core.deadline
        if deadline < member.armed_at:
            member.armed_at = deadline
            self.at(max(deadline, self.now), self._wake, member, deadline)

    def _wake(self, member: Member, deadline: float) -> None:
        if not member.running or member.armed_at != deadline:
            return
        if member.stopped:
            return  # the release wakes it
        overload = self._overloaded.get(member.name)
        member.armed_at = float("inf")
        if overload is not None and overload.busy:
            overload.late = True
            return
        if member.core.deadline > self.now:
            self._arm(member)  # what it was to do has become needless
            return
        member.core.tick(self.now)
        self._settle(member)

    def _settle(self, member: Member) -> None:
        while effects := member.core.drain():
            for effect in effects:
                self._carry_out(member, effect)
        self._arm(member)

    # Members that do not run

    def _hold(self, name: str, seconds: float, *, stopped: bool) -> None:
        member = self.members[name]
        assert self.now >= member.held_until, "held twice"
        member.held_until = self.now + seconds
        member.stopped = stopped
        self.at(member.held_until, self._release, member)

    def _release(self, member: Member) -> None:
        if not member.running:
            return
        stopped, member.stopped = member.stopped, False
        member.held_until = 0.0
        outbox, member.outbox = member.outbox, []
        inbox, member.inbox = member.inbox, []
        for effect in outbox:
            self._carry_out(member, effect)
        for parts, source in inbox[:RECEIVED_AT_ONCE]:
            self._receive(member, parts, source)
        if stopped:
            member.armed_at = float("inf")
            member.core.tick(self.now)
            self._settle(member)
        for parts, source in inbox[RECEIVED_AT_ONCE:]:
            self._receive(member, parts, source)

    def _free_at(self, member: Member) -> float:
        """From when on it answers."""
        return max(self.now, member.held_until) if member.running else float("inf")

    # Effects

    def _carry_out(self, member: Member, effect: Effect) -> None:
        if type(effect) is SendPacket:
            if member.held_until > self.now:
                member.outbox.append(effect)
            else:
                self._send(member, effect)
        elif type(effect) is Noted:
            self._note(member, effect)
        elif type(effect) is MemberChanged:
            if self.on_change is not None and effect.event.kind is MemberEventKind.UPDATE:
                self.on_change(member.name, effect.event.member.name)
        elif type(effect) is LeaveFinished:
            member.running = False
        elif type(effect) is ExchangeState or type(effect) is PingStream:
            if member.held_until > self.now:
                member.outbox.append(effect)
            elif type(effect) is ExchangeState:
                self._exchange(member, effect)
            else:
                self._ping_stream(member, effect)

    def _note(self, member: Member, noted: Noted) -> None:
        seen = Observation(
            self.now, member.name, noted.name, noted.state, noted.incarnation, noted.cause
        )
        self.seen.append(seen)
        if self.watch is not None:
            self.watch(seen)

    def _send(self, member: Member, effect: SendPacket) -> None:
        load = self.load
        parts = list(effect.messages)
        load.packets += 1
        load.packet_bytes += packet_bytes(parts, crc=effect.crc)
        if self._count_types:
            for part in parts:
                kind = MessageType(part[0]).name.lower()
                load.by_type[kind] = load.by_type.get(kind, 0) + 1
        if load.packets % VERIFY_EVERY == 0:
            self._verify(parts, crc=effect.crc)
        if self._loss and self._rng.random() < self._loss:
            return
        target = self._by_address[effect.to]
        if self.blocked is not None and self.blocked(member.name, target.name):
            return
        self.at(self.now + self._delay(self._rng), self._deliver, target, parts, member.address)

    def _verify(self, parts: list[bytes], *, crc: bool) -> None:
        """The real envelope: within the budget, of the size that was counted, and readable."""
        plain = frames.make_compound(parts) if len(parts) > 1 else parts[0]
        assert len(plain) <= self._profile.packet_budget_bytes
        data = self._framing.encode_packet(parts, crc=crc, nonce=b"")
        assert len(data) <= packet_bytes(parts, crc=crc)
        assert self._framing.decode_packet(data) == parts

    def _deliver(self, member: Member, parts: list[bytes], source: Address) -> None:
        if not member.running:
            return
        if member.held_until > self.now:
            if len(member.inbox) < RECEIVE_QUEUE_MAX:
                member.inbox.append((parts, source))
            return
        self._work(member, self._receive, member, parts, source)

    def _receive(self, member: Member, parts: list[bytes], source: Address) -> None:
        member.core.receive_packet(parts, source, self.now)
        self._settle(member)

    # Streams

    def _exchange(self, member: Member, effect: ExchangeState) -> None:
        """Our state arrives, the answer is made at that moment, both sides take in."""
        target = self._by_address[effect.to]
        request = member.core.local_state(join=effect.join)
        self.load.exchanges += 1
        self.load.exchange_nodes += len(request.nodes)
        arrives = self._free_at(target) + 3 * self._delay(self._rng)
        until = self.now + self._profile.tcp_timeout_s
        if arrives <= until:
            self.at(arrives, self._work, target, self._serve, member, target, request, until)

    def _serve(self, member: Member, target: Member, request: PushPull, until: float) -> None:
        if not target.running or target.held_until > self.now or self.now > until:
            return
        answer = target.core.local_state(join=request.join)
        target.core.merge_state(request, self.now)
        self._settle(target)
        back = self.now + self._delay(self._rng)
        self.at(back, self._work, member, self._finish, member, answer, until)

    def _finish(self, member: Member, answer: PushPull, until: float) -> None:
        if member.running and member.held_until <= self.now <= until:
            member.core.merge_state(answer, self.now)
            self._settle(member)

    def _ping_stream(self, member: Member, effect: PingStream) -> None:
        target = self._by_address[effect.to]
        arrives = self._free_at(target) + 3 * self._delay(self._rng)
        if arrives <= effect.deadline:
            self.at(arrives, self._work, target, self._pong, member, target, effect)

    def _pong(self, member: Member, target: Member, effect: PingStream) -> None:
        if target.running and target.held_until <= self.now <= effect.deadline:
            back = self.now + self._delay(self._rng)
            self.at(back, self._work, member, self._answered, member, effect)

    def _answered(self, member: Member, effect: PingStream) -> None:
        if member.running and member.held_until <= self.now <= effect.deadline:
            member.core.tcp_ping_finished(effect.seq_no, True, self.now)
            self._settle(member)


def _address(index: int) -> Address:
    return Address(bytes((10, index >> 16, (index >> 8) & 255, index & 255)), PORT)


def packet_bytes(parts: list[bytes], *, crc: bool) -> int:
    """UDP payload of a packet, not compressed and not encrypted."""
    size = sum(map(len, parts)) + (frames.CRC_HEADER_BYTES if crc else 0)
    if len(parts) > 1:
        size += frames.COMPOUND_OVERHEAD_BYTES + frames.COMPOUND_PART_BYTES * len(parts)
    return size


def _record(name: str, address: Address) -> Record:
    return Record(
        name=name,
        address=address.ip,
        port=address.port,
        meta=META,
        versions=VERSIONS,
        incarnation=1,
        state=State.ALIVE,
        changed_at=0.0,
    )


def _entry(name: str, address: Address) -> Entry:
    return Entry(
        name=name,
        ip=address.ip,
        port=address.port,
        tags={},
        versions=VERSIONS,
        status=MemberStatus.ALIVE,
    )
