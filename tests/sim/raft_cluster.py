"""A Raft cluster in one thread: virtual clock, lossy links, disks that lose what was not synced.

Everything that happens is an event in one heap, drawn from one random generator, so a seed is a
run. After every step of a node its state is checked against what the cluster has committed:

* committed entries never change on any node, and commit never passes the end of the log;
* one leader per term, and each new leader holds every committed entry;
* applied sequences are prefixes of the committed one, stamps never fall;
* an acknowledged write stands in the committed log, exactly once;
* a read sees every write that was acknowledged before it began.

At the end all faults are healed, and the cluster must agree and accept a write, and whoever asked a
server that still lives must have an answer: no request waits for ever.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from raftstore.errors import StoreError
from raftstore.raft.config import RaftConfig
from raftstore.raft.log import PAYLOAD, PAYLOAD_HEAD, Batch, Entry, HardState, Journal
from raftstore.raft.members import bootstrap_config
from raftstore.raft.replica import Replica
from raftstore.raft.requests import Outcome
from raftstore.raft.stock import use_clock


class InvariantError(AssertionError):
    """The cluster did what Raft must never do."""


@dataclass(frozen=True)
class Faults:
    """How hostile the world is. Probabilities are per message, rates per virtual second."""

    delay_s: tuple[float, float] = (0.0005, 0.02)
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: bool = False
    hold: float = 0.0
    """Chance that a message is held back for seconds (old messages in new terms)."""
    cuts_per_s: float = 0.0
    crashes_per_s: float = 0.0
    power_losses_per_s: float = 0.0
    sync_s: tuple[float, float] = (0.0005, 0.01)
    slow_sync: float = 0.02


IDLE_TURNS = 0.1
"""Chance that a server turns though nothing is due."""
ANSWERED_WITHIN_S = 5.0
"""After the cluster has healed and agreed: two election timeouts and some."""
CALM_DELAY_S = (0.0005, 0.005)
CUTS = Faults(cuts_per_s=1.5)

ROUGH = Faults(
    cuts_per_s=1.0,
    crashes_per_s=0.6,
    power_losses_per_s=0.1,
    loss=0.03,
    duplicate=0.08,
    reorder=True,
    hold=0.03,
)


class SimDisk:
    """What survives a crash: entries and hard state, changed by whole batches only."""

    def __init__(self) -> None:
        self.state = HardState()
        self.entries: list[Entry] = []

    def write(self, batch: Batch) -> None:
        if batch.cut_from is not None:
            del self.entries[batch.cut_from - 1 :]
        for entry in batch.entries:
            assert entry[1] == len(self.entries) + 1, "the batch does not fit what is stored"
            self.entries.append(entry)
        self.state = batch.state


class SimJournal(Journal):
    """A journal on a SimDisk with a tiny memory tail, so that re-reading is exercised."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        tail = disk.entries[-8:]
        super().__init__(disk.state, list(tail), tail_entries_max=16)

    def persist(self, batch: Batch) -> None:
        self._disk.write(batch)

    def stored(self, first: int, last: int, *, bytes_max: int | None = None) -> list[Entry]:
        return self._disk.entries[first - 1 : last]


@dataclass
class Node:
    """One server of the simulation; ``replica`` is None while it is down."""

    name: str
    disk: SimDisk = field(default_factory=SimDisk)
    replica: Any = None
    life: int = 0
    syncing: bool = False
    writing: Any = None
    """The step's work whose batch is on its way to the disk."""
    step_queued: bool = False
    applied: list[bytes] = field(default_factory=list)
    compared: int = 0
    """How many of those have been compared with the log, which goes up to ``applied_to``."""
    applied_to: int = 0
    commit: int = 0
    stamp: float = 0.0


def sim_config(name: str) -> RaftConfig:
    """Small batches and windows, so that short runs have long backlogs."""
    return RaftConfig(
        node_id=name,
        append_bytes_max=120,
        append_entries_max=4,
        window_bytes_max=1000,
        window_appends_max=4,
        inflight_entries_max=64,
        apply_entries_max=16,
    )


class Cluster:
    """A run. ``run`` raises InvariantError with the seed when an invariant breaks."""

    replica_class: type[Replica] = Replica
    barrier = True
    answers_all = True
    """Whether servers owe an answer to every request that they took."""

    def __init__(
        self, seed: int, *, size: int = 3, faults: Faults = CUTS, traced: bool = False
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.faults = faults
        self.now = 1000.0
        self.wall_offset = 1.7e9
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.event_count = 0
        self.trace = hashlib.sha256() if traced else None
        self.nodes = {f"n{i}": Node(f"n{i}") for i in range(size)}
        self.cut: set[tuple[str, str]] = set()
        self.link_epoch: dict[tuple[str, str], int] = {}
        self.link_clear_at: dict[tuple[str, str], float] = {}
        self.committed: list[Entry] = []
        self.committed_payloads: dict[bytes, int] = {}
        self.payloads: list[bytes] = []
        """The committed payloads in order; of them lie below each index: ``payloads_to``."""
        self.payloads_to = [0]
        self.leaders: dict[int, str] = {}
        self.acked: dict[bytes, int] = {}
        self.acked_index_max = 0
        self.calm_acks = 0
        self.reads_begun: dict[object, int] = {}
        self.reads_done = 0
        self.owed: dict[int, tuple[object, Node, int]] = {}
        """Requests that are not answered: the ticket, who was asked, and in which of its lives."""
        self.proposals = 0
        self.prompt_answers = 0
        self.calm = False
        self.record = bootstrap_config(dict.fromkeys(self.nodes, "")).encode()

    # -- running

    def run(self, seconds: float = 8.0, *, settle_s: float = 30.0) -> Cluster:
        """Faults and load for ``seconds`` of virtual time, then heal and settle."""
        before = use_clock(lambda: self.now)
        try:
            for node in self.nodes.values():
                self.start(node)
            self.after(0.01, self.client)
            self.plan_fault()
            self.run_until(self.now + seconds)
            self.settle(settle_s)
        except (InvariantError, AssertionError, StoreError) as error:
            raise InvariantError(
                f"seed {self.seed} event {self.event_count}: {error}; repeat it with"
                f" make sim SEED={self.seed}"
            ) from error
        finally:
            use_clock(before)
        return self

    def run_until(self, end: float, done: Callable[[], bool] = lambda: False) -> bool:
        while self.events and self.events[0][0] <= end and not done():
            self.now, _, action = heapq.heappop(self.events)
            action()
        return done()

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.event_count += 1
        heapq.heappush(self.events, (self.now + delay, self.event_count, action))

    def settle(self, seconds: float) -> None:
        """No more faults: everybody starts, links heal, and one more write must come through."""
        self.calm = True
        self.cut.clear()
        for node in self.nodes.values():
            if node.replica is None:
                self.start(node)
        for a in self.nodes:
            for b in self.nodes:
                if a < b:
                    self.relink(a, b)
        self.settle_until_agreed(seconds)

    def settle_until_agreed(self, seconds: float) -> None:
        last = b"last"
        proposed: set[str] = set()

        def push() -> None:
            for node in self.nodes.values():
                term = node.replica.engine.term() if node.replica else 0
                if self.leads(node) and f"{node.name}/{term}" not in proposed:
                    proposed.add(f"{node.name}/{term}")
                    self.propose(node, last + f"-{node.name}-{term}".encode())
            self.after(0.1, push)

        push()

        def agreed() -> bool:
            return self.calm_acks > 0 and all(
                node.replica is not None and len(node.applied) == len(self.committed_payloads)
                for node in self.members()
            )

        if not self.run_until(self.now + seconds, agreed):
            raise InvariantError("the healed cluster does not agree and accept a write")
        # What is answered last has been applied by its leader only: the others must come after it.
        if not self.run_until(self.now + ANSWERED_WITHIN_S, lambda: not self.owing() and agreed()):
            raise InvariantError(f"the healed cluster never answers {self.owing()}, or disagrees")
        for payload, index in self.acked.items():
            if self.members()[0].applied.count(payload) != 1:
                raise InvariantError(f"acknowledged write {index} not applied exactly once")

    def owing(self) -> list[object]:
        """Requests that somebody still waits for. Who dies owes nothing any more."""
        if not self.answers_all:
            return []
        return [ticket for ticket, node, life in self.owed.values() if node.life == life]

    def members(self) -> list[Node]:
        """The servers that must agree in the end."""
        return list(self.nodes.values())

    # -- nodes

    def on_clock(self, node: Node, action: Callable[[], Any]) -> Any:
        """Run something on a server; here all have one clock."""
        return action()

    def make_replica(self, node: Node) -> Any:
        return self.replica_class(
            self.config(node.name),
            self.journal(node),
            lambda index, stamp, payload, n=node: self.applied(n, index, stamp, payload),
            random.Random(self.rng.getrandbits(64)),
        )

    def enrol(self, node: Node) -> None:
        """Write the bootstrap record where there is none yet."""
        node.replica.bootstrap(self.record)

    def start(self, node: Node) -> None:
        node.life += 1
        node.syncing = node.step_queued = False
        node.applied = []
        node.compared = node.applied_to = node.commit = 0
        node.stamp = 0.0
        node.writing = None
        node.replica = self.make_replica(node)
        self.restore(node)
        self.enrol(node)
        for other in self.nodes.values():
            if other is not node and other.replica is not None:
                self.relink(node.name, other.name)
        self.tick(node, node.life)

    def config(self, name: str) -> RaftConfig:
        return sim_config(name)

    def journal(self, node: Node) -> Journal:
        return SimJournal(node.disk)

    def restore(self, node: Node) -> None:
        """What a node does before its first step: load its snapshot, if it has one."""

    def carry(self, node: Node, task: Any) -> None:
        """A step asks for work on a snapshot."""
        raise AssertionError("nothing here takes snapshots")

    def crash(self, node: Node) -> None:
        """The process ends; what the disk has not confirmed may be there or not."""
        if node.replica is None:
            return
        if node.syncing and node.writing is not None and self.rng.random() < 0.5:
            node.disk.write(node.writing.batch)  # it came through, but nobody has heard of it
        node.replica = node.writing = None
        node.life += 1
        for other in self.nodes.values():
            if other is not node and other.replica is not None:
                self.link_down(other.name, node.name)
                if self.rng.random() < 0.7:
                    lost = other.replica.engine.leader_lost
                    self.on_clock(other, lambda lost=lost: lost(node.name))

    def tick(self, node: Node, life: int) -> None:
        """Timers, at random moments: the driver's exact wake-ups are not part of safety.

        Mostly only where one is due, as in the driver: a turn for nothing costs as much as another.
        """
        if node.life == life and node.replica is not None:
            if self.has_to_turn(node) or self.rng.random() < IDLE_TURNS:
                self.step(node)
            self.after(self.rng.uniform(0.005, 0.08), lambda: self.tick(node, life))

    def has_to_turn(self, node: Node) -> bool:
        replica = node.replica
        return bool(replica.wants_step() or replica.engine.deadline() <= replica.engine.now())

    def queue_step(self, node: Node) -> None:
        if not node.step_queued and not node.syncing:
            node.step_queued = True
            life = node.life

            def turn() -> None:
                if node.life == life:
                    node.step_queued = False
                    self.step(node)

            self.after(0.0, turn)

    def step(self, node: Node) -> None:
        if node.syncing or node.replica is None:
            return
        if self.event_count % 3 and node.replica.commit():
            self.apply_committed(node)  # before the step, as a leader does
        work = self.turn(node)
        self.results(node)
        self.check(node)
        life = node.life
        for peer, message in work.early:
            self.send(node.name, peer, message)
        for task in work.tasks:
            self.carry(node, task)
        if work.batch is None:
            for peer, message in work.late:
                self.send(node.name, peer, message)
        elif self.barrier:
            self.begin_write(node, work)
        else:  # a control: acknowledge first, write later, as stock PySyncObj does
            for peer, message in work.late:
                self.send(node.name, peer, message)
            node.replica.persisted(work.batch)
            # Writes reach this disk in order and together, at the next quiet moment.
            self.unsynced.setdefault((node.name, life), []).append(work.batch)
            self.after(self.rng.uniform(0.0, 0.3), lambda: self.flush(node, life))
        if not (node.syncing and self.event_count % 2):
            self.apply_committed(node)  # beside the write, or else after it, as a follower does
        if node.replica.wants_step():
            self.queue_step(node)

    def apply_committed(self, node: Node) -> None:
        before = len(node.applied)
        node.replica.apply()
        self.results(node)
        if len(node.applied) != before:
            self.check(node)

    def turn(self, node: Node) -> Any:
        return node.replica.step(self.now + self.wall_offset)

    def begin_write(self, node: Node, work: Any) -> None:
        node.syncing, node.writing = True, work
        life = node.life
        self.after(self.sync_time(node), lambda: self.synced(node, life, work))

    unsynced: dict[tuple[str, int], list[Batch]] = {}  # noqa: RUF012 (set by the control)

    def flush(self, node: Node, life: int) -> None:
        if node.life == life:
            for batch in self.unsynced.pop((node.name, life), []):
                node.disk.write(batch)

    def sync_time(self, node: Node) -> float:
        if self.rng.random() < self.faults.slow_sync:
            return self.rng.uniform(0.05, 1.5)
        return self.rng.uniform(*self.faults.sync_s)

    def synced(self, node: Node, life: int, work: Any) -> None:
        if node.life != life:
            return
        node.replica.journal.persist(work.batch)
        node.replica.persisted(work.batch)
        node.syncing, node.writing = False, None
        for peer, message in work.late:
            self.send(node.name, peer, message)
        self.check(node)
        self.apply_committed(node)
        if node.replica.wants_step():
            self.queue_step(node)

    def leads(self, node: Node) -> bool:
        return node.replica is not None and node.replica.engine.leads()

    # -- network

    def send(self, source: str, target: str, message: Any) -> None:
        rng, faults = self.rng, self.faults
        self.note("send", source, target, type(message).__name__)
        if (source, target) in self.cut:
            return
        if not self.calm:
            if faults.loss and rng.random() < faults.loss:
                return
            if faults.duplicate and rng.random() < faults.duplicate:
                self.deliver_later(source, target, message)
        self.deliver_later(source, target, message)

    def deliver_later(self, source: str, target: str, message: Any) -> None:
        rng, faults, link = self.rng, self.faults, (source, target)
        delay = rng.uniform(*(CALM_DELAY_S if self.calm else faults.delay_s))
        held = False
        if faults.hold and not self.calm and rng.random() < faults.hold:
            delay, held = rng.uniform(0.5, 6.0), True
        if not faults.reorder and not held:  # FIFO, as TCP is
            at = max(self.now + delay, self.link_clear_at.get(link, 0.0))
            self.link_clear_at[link] = at
            delay = at - self.now
        epoch = None if faults.reorder or held else self.link_epoch.get(link, 0)
        self.after(delay, lambda: self.deliver(source, target, epoch, message))

    def deliver(self, source: str, target: str, epoch: int | None, message: Any) -> None:
        node = self.nodes[target]
        if node.replica is None or (source, target) in self.cut:
            return
        if epoch is not None and epoch != self.link_epoch.get((source, target), 0):
            return
        answers = None
        if not self.asleep(node):
            answers = self.on_clock(node, lambda: node.replica.answer(source, message))
        if answers is None:
            self.hand_in(node, source, message)
            self.queue_step(node)
            return
        self.prompt_answers += 1
        for to, answer in answers:
            self.send(target, to, answer)
        self.results(node)
        if node.replica.wants_step():
            self.queue_step(node)

    def hand_in(self, node: Node, source: str, message: Any) -> None:
        node.replica.deliver(source, message)

    def relink(self, a: str, b: str) -> None:
        """A new connection: what was on its way over the old one is gone."""
        for source, target in ((a, b), (b, a)):
            self.link_epoch[source, target] = self.link_epoch.get((source, target), 0) + 1
            self.link_clear_at.pop((source, target), None)
            node = self.nodes[target]
            if node.replica is not None and self.nodes[source].replica is not None:
                node.replica.engine.disconnected(source)
                self.introduce(node, self.nodes[source])

    def introduce(self, node: Node, other: Node) -> None:
        """A link to another server is up, and its hello has been read."""
        node.replica.engine.connected(other.name)

    def link_down(self, target: str, source: str) -> None:
        self.nodes[target].replica.engine.disconnected(source)

    # -- load

    def client(self) -> None:
        leaders = [node for node in self.nodes.values() if self.leads(node)]
        if leaders and not self.calm:
            node = self.rng.choice(leaders)
            for _ in range(self.rng.choice((1, 1, 2, 6))):
                self.proposals += 1
                self.propose(node, b"p%d" % self.proposals)
            if self.rng.random() < 0.3:
                ticket = ("read", self.event_count)
                self.reads_begun[ticket] = self.acked_index_max
                self.request(node, ticket, lambda: node.replica.read(ticket))
                self.begin_reads(node)
            self.queue_step(node)
        if not self.calm:
            self.after(self.rng.uniform(0.005, 0.06), self.client)

    def asleep(self, node: Node) -> bool:
        """Does its machine stand still?"""
        return False

    def begin_reads(self, node: Node) -> None:
        if self.asleep(node) or self.config(node.name).lease:
            return
        for peer, message in self.on_clock(node, node.replica.begin_reads):
            self.send(node.name, peer, message)
        self.results(node)

    def propose(self, node: Node, payload: bytes) -> None:
        self.request(node, payload, lambda: node.replica.propose(payload, payload))
        self.queue_step(node)

    def request(self, node: Node, ticket: object, action: Callable[[], object]) -> None:
        """Ask a server for something: it refuses at once, or owes an answer."""
        self.owed[id(ticket)] = (ticket, node, node.life)
        try:
            action()
        except StoreError as error:
            if not error.definite:
                raise
            del self.owed[id(ticket)]

    def results(self, node: Node) -> None:
        for ticket, result in node.replica.take_results():
            self.owed.pop(id(ticket), None)
            if self.finish_ticket(node, ticket, result):
                continue
            if not isinstance(result, Outcome):
                self.reads_begun.pop(ticket, None)
                continue
            if isinstance(ticket, bytes):
                self.acked[ticket] = result.index
                self.calm_acks += ticket.startswith(b"last")
                self.acked_index_max = max(self.acked_index_max, result.index)
                self.note("ack", ticket, result.index)
                if result.value != ticket:
                    raise InvariantError("a proposer got the result of another entry")
            else:
                self.reads_done += 1
                if result.index < self.reads_begun.pop(ticket):
                    raise InvariantError(f"{node.name} served a stale read")

    def finish_ticket(self, node: Node, ticket: Any, result: Outcome | StoreError) -> bool:
        """Take a result that is neither a write's nor a read's."""
        return False

    # -- faults

    def plan_fault(self) -> None:
        faults = self.faults
        rate = faults.cuts_per_s + faults.crashes_per_s + faults.power_losses_per_s
        if rate:
            self.after(self.rng.expovariate(rate), lambda: self.fault(rate))

    def fault(self, rate: float) -> None:
        if self.calm:
            return
        rng, faults = self.rng, self.faults
        names = list(self.nodes)
        pick = rng.random() * rate
        if pick < faults.cuts_per_s:
            self.cut_or_heal(names)
        elif pick < faults.cuts_per_s + faults.crashes_per_s:
            node = self.nodes[rng.choice(names)]
            leaders = [n for n in self.nodes.values() if self.leads(n)]
            if leaders and rng.random() < 0.5:
                node = rng.choice(leaders)
            self.crash_for_a_while(node)
        else:
            for node in self.nodes.values():
                self.crash_for_a_while(node)
        self.plan_fault()

    def crash_for_a_while(self, node: Node) -> None:
        self.note("crash", node.name)
        self.crash(node)
        self.after(
            self.rng.uniform(0.01, 1.5), lambda: self.start(node) if not node.replica else None
        )

    def cut_or_heal(self, names: list[str]) -> None:
        rng = self.rng
        kind = rng.randrange(5)
        if kind == 0:
            self.cut.clear()
        elif kind == 1:
            a, b = rng.sample(names, 2)
            self.cut.add((a, b))
        elif kind == 2:
            a, b = rng.sample(names, 2)
            self.cut |= {(a, b), (b, a)}
        elif kind == 3:
            self.cut.clear()
            side = set(rng.sample(names, rng.randrange(1, len(names))))
            self.cut |= {(a, b) for a in names for b in names if (a in side) != (b in side)}
        else:
            a, b = rng.sample(names, 2)
            self.relink(a, b)
        self.note("cut", sorted(self.cut))

    # -- invariants

    def applied(self, node: Node, index: int, stamp: float, payload: bytes) -> bytes:
        node.applied.append(payload)
        if stamp < node.stamp:
            raise InvariantError(f"{node.name} applied a falling stamp")
        node.stamp = stamp
        return payload

    def log_of(self, node: Node) -> list[Entry]:
        journal = node.replica.journal
        tail = journal._tail
        if tail[0][1] < 1:  # the sentinel
            tail = tail[1:]
        start = max(journal._tail_first, 1)
        entries: list[Entry] = node.disk.entries[: min(start - 1, journal.saved_index)] + tail
        return entries

    def check(self, node: Node) -> None:
        engine = node.replica.engine
        term, commit = engine.term(), engine.commit_index()
        log = self.log_of(node)
        self.note(node.name, term, commit, engine.applied_index(), len(log))
        self.check_log(node, term, commit, log, engine.leads())
        if engine.applied_index() > commit:
            raise InvariantError(f"{node.name} applied beyond its commit index")
        start, node.applied_to = node.applied_to, engine.applied_index()
        expected = [c[PAYLOAD_HEAD.size :] for c, *_ in log[start : node.applied_to] if c[0] == 0]
        if node.applied[node.compared :] != expected:
            raise InvariantError(f"{node.name} applied something else than its log")
        node.compared = len(node.applied)

    def check_log(self, node: Node, term: int, commit: int, log: list[Entry], leads: bool) -> None:
        if commit > len(log):
            raise InvariantError(f"{node.name} committed {commit} of {len(log)} entries")
        known = min(commit, len(self.committed))
        if log[:known] != self.committed[:known]:
            raise InvariantError(f"a committed entry changed on {node.name}")
        for entry in log[known:commit]:
            self.newly_committed(entry)
        if leads and self.leaders.get(term) is None:
            self.leaders[term] = node.name
            if log[: len(self.committed)] != self.committed:
                raise InvariantError(f"new leader {node.name} lacks a committed entry")
        if leads and self.leaders[term] != node.name:
            raise InvariantError(f"two leaders in term {term}")

    def newly_committed(self, entry: Entry) -> None:
        self.committed.append(entry)
        command = entry[0]
        if is_payload(command):
            payload = command[PAYLOAD_HEAD.size :]
            if payload in self.committed_payloads:
                raise InvariantError("a proposal was committed twice")
            self.committed_payloads[payload] = len(self.committed)
            self.payloads.append(payload)
        self.payloads_to.append(len(self.payloads))

    def note(self, *what: object) -> None:
        if self.trace is None:
            return
        self.trace.update(repr((round(self.now, 9), what)).encode())


def is_payload(command: bytes) -> bool:
    """Was this entry proposed by a client?"""
    return command[0] == PAYLOAD
