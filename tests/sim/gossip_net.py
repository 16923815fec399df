"""A ring of real gossip cores on a virtual clock and a network that loses, delays and parts.

No socket, no wall time, no global dice: one seed gives one run, event by event. Packets pass the
real envelopes as bytes; streams are modelled as exchanges that succeed where both ends can reach
each other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from gossip.config import GossipConfig
from gossip.effects import (
    Address,
    Effect,
    ExchangeState,
    LeaveFinished,
    MemberChanged,
    NameLost,
    Noted,
    PingStream,
    QueryEnded,
    QueryReplied,
    SendPacket,
)
from gossip.errors import DecodeError, GossipError
from gossip.keyring import Keyring
from gossip.roster import MemberStatus
from gossip.serf import Serf
from gossip.stats import GossipStats
from gossip.wire.frames import Framing
from gossip.wire.messages import State

PORT = 7946
NONCE = bytes(12)


@dataclass(slots=True, eq=False)
class SimAgent:
    """One member: its core and what the simulation knows of it."""

    name: str
    address: Address
    framing: Framing
    core: Serf
    stats: GossipStats
    running: bool = True
    armed_at: float = float("inf")
    left: bool = False

    def status_of(self, name: str) -> MemberStatus | None:
        member = self.core.roster.member(name)
        return None if member is None else member.status


@dataclass(slots=True, eq=False)
class SimNet:
    """The ring, its network and its clock."""

    seed: int
    loss: float = 0.0
    delay_s: tuple[float, float] = (0.0002, 0.002)
    now: float = 0.0
    agents: dict[str, SimAgent] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    news: list[tuple[str, QueryReplied | QueryEnded]] = field(default_factory=list)
    """What members heard of their own queries; whoever asks takes it out."""
    packets: int = 0
    deaf: set[str] = field(default_factory=set)
    """Members that no packet reaches; streams do."""
    checks: bool = True
    """Assert the invariants of a core after each step: too dear for large rings."""
    exchanges: int = 0
    _held: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    _by_address: dict[Address, SimAgent] = field(default_factory=dict)
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _serial: int = 0
    _sides: dict[str, int] = field(default_factory=dict)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"net-{self.seed}")

    # Faults

    def add(self, name: str, config: GossipConfig, *, elsewhere: bool = False) -> SimAgent:
        """Start a member of this name; a second one of a dead name is a restart, unless it comes
        up ``elsewhere``."""
        known = None if elsewhere else self.agents.get(name)
        index = len(self._by_address) + 1
        address = known.address if known else Address(bytes((10, 0, index >> 8, index & 255)), PORT)
        framing = Framing(config, Keyring(config.keys))
        stats = GossipStats()
        rng = random.Random(f"{self.seed}-{name}-{self.now}")
        core = Serf(config, rng=rng, framing=framing, stats=stats)
        agent = SimAgent(name, address, framing, core, stats)
        self.agents[name] = agent
        self._by_address[address] = agent
        core.start(address, self.now)
        self.settle(agent)
        return agent

    def kill(self, name: str) -> None:
        """Silence at once, as kill -9 does."""
        self.agents[name].running = False
        self._log(name, "killed")

    def pause(self, name: str) -> None:
        """The process stands still, as under SIGSTOP; packets wait for it."""
        self._held[name] = []
        self._log(name, "paused")

    def go_on(self, name: str) -> None:
        """The process runs again. The worst order: its timer fires before it has read anything."""
        agent = self.agents[name]
        self._log(name, "goes on")
        waiting = self._held.pop(name)
        agent.armed_at = float("inf")
        agent.core.tick(self.now)
        self.settle(agent)
        for deliver in waiting:
            deliver()

    def part(self, *sides: set[str]) -> None:
        """Only members of one side reach each other; nobody named is on side 0."""
        self._sides = {name: index for index, side in enumerate(sides, 1) for name in side}

    def heal(self) -> None:
        self._sides = {}

    def join(self, name: str, other: str) -> None:
        target = self.agents[other]
        self._exchange(self.agents[name], ExchangeState(target.address, other, join=True), True)

    # Running

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> float | None:
        """Let time pass. With ``until``: the time it took to come true, None when it did not."""
        start, end = self.now, self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
            if until is not None and until():
                return self.now - start
        self.now = end
        return None

    def live(self) -> list[SimAgent]:
        return [agent for agent in self.agents.values() if agent.running]

    def all_see(self, name: str, status: MemberStatus) -> bool:
        return all(a.status_of(name) is status for a in self.live() if a.name != name)

    def converged(self) -> bool:
        """Every live member sees exactly the live ones as alive, in both layers."""
        names = {agent.name for agent in self.live()}
        for agent in self.live():
            roster = agent.core.roster.entries.values()
            if {e.name for e in roster if e.status is MemberStatus.ALIVE} != names:
                return False
            table = agent.core.swim.table
            if {r.name for r in table if r.state is State.ALIVE} != names:
                return False
        return True

    def digest(self) -> str:
        """One word for all that happened."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def check(self) -> None:
        for agent in self.agents.values():
            agent.core.check()

    # Inside

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, action))

    def settle(self, agent: SimAgent) -> None:
        """Carry out what the core asks for, then arm its timer; also after calls from a test."""
        while effects := agent.core.drain():
            for effect in effects:
                self._carry_out(agent, effect)
        if self.checks:
            agent.core.check()
        deadline = agent.core.deadline
        if agent.running and deadline < agent.armed_at:
            agent.armed_at = deadline
            self._at(max(deadline, self.now), lambda: self._wake(agent, deadline))

    def _wake(self, agent: SimAgent, deadline: float) -> None:
        if not agent.running or agent.armed_at != deadline or agent.name in self._held:
            return
        agent.armed_at = float("inf")
        agent.core.tick(self.now)
        self.settle(agent)

    def _carry_out(self, agent: SimAgent, effect: Effect) -> None:
        match effect:
            case SendPacket():
                self._packet(agent, effect)
            case ExchangeState():
                self._exchange(agent, effect, False)
            case PingStream():
                self._stream_ping(agent, effect)
            case MemberChanged(event):
                self._log(agent.name, f"{event.kind.value} {event.member.name}")
            case Noted(name, state, incarnation, cause):
                self._log(agent.name, f"{state.name} {name} {incarnation} {cause}")
            case LeaveFinished():
                agent.left = True
                agent.running = False
                self._log(agent.name, "left")
            case NameLost():
                agent.running = False
                self._log(agent.name, "name lost")
            case QueryReplied() | QueryEnded():
                self.news.append((agent.name, effect))
            case _:
                pass

    def _packet(self, agent: SimAgent, effect: SendPacket) -> None:
        self.packets += 1
        target = self._by_address.get(effect.to)
        if target is None or self._rng.random() < self.loss:
            return
        data = agent.framing.encode_packet(effect.messages, crc=effect.crc, nonce=NONCE)
        self._at(self.now + self._delay(), lambda: self._deliver(agent, target, data))

    def _deliver(self, sender: SimAgent, target: SimAgent, data: bytes) -> None:
        if not self._reaches(sender, target) or target.name in self.deaf:
            return
        held = self._held.get(target.name)
        if held is not None:
            held.append(lambda: self._deliver(sender, target, data))
            return
        try:
            parts = target.framing.decode_packet(data)
        except DecodeError as error:
            target.stats.drop(error.reason)
            return
        target.core.receive_packet(parts, sender.address, self.now)
        self.settle(target)

    def _exchange(self, agent: SimAgent, effect: ExchangeState, announce: bool) -> None:
        target = self._by_address.get(effect.to)
        if target is None:
            return
        request = agent.core.local_state(join=effect.join)
        self.exchanges += 1

        def serve() -> None:
            if not self._streams(agent, target) or target.name in self._held:
                return
            answer = target.core.local_state(join=effect.join)
            target.core.merge_state(request, self.now)
            self.settle(target)
            self._at(self.now + self._delay(), lambda: finish(answer))

        def finish(answer: object) -> None:
            if not self._streams(target, agent) or agent.name in self._held:
                return
            try:
                agent.core.merge_state(answer, self.now)  # type: ignore[arg-type]
            except GossipError as error:
                self._log(agent.name, f"exchange refused {error}")
                return
            if announce:
                agent.core.joined(self.now)
            self.settle(agent)

        self._at(self.now + 2 * self._delay(), serve)

    def _stream_ping(self, agent: SimAgent, effect: PingStream) -> None:
        target = self._by_address.get(effect.to)

        def finish() -> None:
            answered = target is not None and self._reaches(agent, target)
            answered = answered and target is not None and target.name not in self._held
            if agent.running and agent.name not in self._held and self.now <= effect.deadline:
                agent.core.tcp_ping_finished(effect.seq_no, answered, self.now)
                self.settle(agent)

        self._at(self.now + 4 * self._delay(), finish)

    def _reaches(self, sender: SimAgent, target: SimAgent) -> bool:
        if not target.running:
            return False
        return self._sides.get(sender.name, 0) == self._sides.get(target.name, 0)

    def _streams(self, sender: SimAgent, target: SimAgent) -> bool:
        """Whether one side of a stream is heard and understood: it is sealed with the primary."""
        keys = sender.framing.keyring.keys
        known = not keys or keys[0] in target.framing.keyring.keys
        return known and self._reaches(sender, target)

    def _delay(self) -> float:
        return self._rng.uniform(*self.delay_s)

    def _log(self, who: str, what: str) -> None:
        self.trace.append(f"{self.now:.6f} {who} {what}")


def ring(seed: int, size: int, *, loss: float = 0.0, config: GossipConfig | None = None) -> SimNet:
    """``size`` members n0, n1, ... that have all joined n0 and know each other."""
    net = SimNet(seed, loss=loss)
    profile = config or GossipConfig.lan("profile")
    for index in range(size):
        net.add(f"n{index}", dataclasses.replace(profile, name=f"n{index}"))
        if index:
            net.join(f"n{index}", "n0")
    took = net.run(120.0, net.converged)
    assert took is not None or net.converged(), f"seed {seed}: the ring did not converge"
    return net
