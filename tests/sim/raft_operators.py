"""What operators and machines do to a simulated cluster beside cutting links and crashing servers.

Operators add, remove, promote and demote servers and hand leadership over. Clocks run at their own
pace and jump; the wall clock jumps both ways. Disks stall for seconds, upon which a leader gives up
as the driver makes it. A power loss may tear a write: of a torn batch nothing is there afterwards.

In addition to what every run checks:

* sets that follow each other in the committed log differ by at most one voter;
* a leader with a lease serves no read older than any acknowledged write, by true time;
* no server's commit index falls while it runs, and what it applied before a crash it applies again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from raftstore.errors import StoreError
from raftstore.raft.changes import Change, add, remove, set_role
from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import Removed, TimeoutNow
from raftstore.raft.log import CONFIG, Entry
from raftstore.raft.members import NON_VOTER, STAGING, VOTER, decode_config
from raftstore.raft.requests import Outcome
from raftstore.raft.stock import use_clock
from tests.sim.raft_cluster import Cluster, Faults, InvariantError, Node, SimDisk

STALL_SEEN_S = 1.0


@dataclass(frozen=True)
class Operators:
    """Rates per virtual second."""

    changes_per_s: float = 0.0
    transfers_per_s: float = 0.0
    lease: bool = False
    rate_spread: float = 0.0
    """Clocks run at 1 - spread .. 1 + spread of true time."""
    jumps_per_s: float = 0.0
    """A machine is suspended, or its wall clock is set."""
    stalls_per_s: float = 0.0
    corners_per_s: float = 0.0
    """A leader loses one follower and soon all of them, while clients go on reading there."""
    coups_per_s: float = 0.0
    """A leader is cut off from all others, and its operator takes one after the other out."""
    losses_per_s: float = 0.0
    """A server dies, and comes back under its name with an empty disk."""
    restores_per_s: float = 0.0
    """An operator restores an archive (``raft_archives``)."""
    orphan: float = 0.0
    """Chance that a leader loses all links just after it has ordered an election."""


class OperatedCluster(Cluster):
    """A cluster with ``spares`` more servers that are no members at first."""

    def __init__(
        self, seed: int, *, size: int = 3, spares: int = 2, faults: Faults, operators: Operators
    ) -> None:
        super().__init__(seed, size=size, faults=faults)
        self.operators = operators
        self.founders = list(self.nodes)
        for number in range(size, size + spares):
            self.nodes[f"n{number}"] = Node(f"n{number}")
        self.rates: dict[str, float] = {}
        self.offsets: dict[str, float] = {}
        for name in self.nodes:
            spread = operators.rate_spread
            self.rates[name] = self.rng.uniform(1 - spread, 1 + spread)
            self.offsets[name] = self.rng.uniform(0, 1000)
        self.suspended: dict[str, float] = {}
        self.walls = dict.fromkeys(self.nodes, self.wall_offset)
        self.quiet_until = 0.0
        self.sleeping_until: dict[str, float] = {}
        self.stalled: dict[str, float] = {}
        self.last_config: tuple[int, Any] | None = None
        self.changes_done = self.transfers_done = self.lease_reads = self.disk_step_downs = 0
        self.refusals: list[str] = []
        self.disks_lost = self.disks_replaced = 0

    # -- every server has clocks of its own

    def clock_of(self, node: Node) -> Callable[[], float]:
        """Monotonic time of a machine; it stands still while the machine is suspended."""
        name = node.name
        return lambda: self.offsets[name] + self.now * self.rates[name]

    def boot_clock_of(self, node: Node) -> Callable[[], float]:
        """The same, and counts the time of suspensions too."""
        clock = self.clock_of(node)
        return lambda: clock() + self.suspended.get(node.name, 0.0)

    def on_clock(self, node: Node, action: Callable[[], Any]) -> Any:
        """Run something on a server under its own clock."""
        before = use_clock(self.clock_of(node))
        try:
            return action()
        finally:
            use_clock(before)

    def config(self, name: str) -> RaftConfig:
        return dataclasses.replace(
            super().config(name),
            lease=self.operators.lease,
            promotion_lag_max=8,
            promotion_stable_s=0.3,
            founding_grace_s=0.5,
        )

    def make_replica(self, node: Node) -> Any:
        replica = self.on_clock(node, lambda: super(OperatedCluster, self).make_replica(node))
        replica._lease_clock = self.boot_clock_of(node)
        if self.operators.losses_per_s:
            replica.journal.claim(node.name, f"disk-{node.name}-{node.life}")
        return replica

    def introduce(self, node: Node, other: Node) -> None:
        journal = other.replica.journal
        node.replica.engine.connected(other.name, journal.disk, journal.saved_index)

    def enrol(self, node: Node) -> None:
        if node.name in self.founders:
            self.on_clock(node, lambda: node.replica.bootstrap(self.record))

    def has_to_turn(self, node: Node) -> bool:
        return bool(self.on_clock(node, lambda: super(OperatedCluster, self).has_to_turn(node)))

    def step(self, node: Node) -> None:
        if self.asleep(node):
            return
        self.on_clock(node, lambda: super(OperatedCluster, self).step(node))

    def turn(self, node: Node) -> Any:
        return node.replica.step(self.now + self.walls[node.name])

    def asleep(self, node: Node) -> bool:
        return self.now < self.sleeping_until.get(node.name, 0.0)

    # -- a disk that stalls

    def sync_time(self, node: Node) -> float:
        until = self.stalled.get(node.name, 0.0)
        return max(super().sync_time(node), until - self.now)

    def synced(self, node: Node, life: int, work: Any) -> None:
        until = self.stalled.get(node.name, 0.0)
        if node.life == life and self.now < max(until, self.sleeping_until.get(node.name, 0.0)):
            self.after(0.05, lambda: self.synced(node, life, work))
            return
        self.on_clock(node, lambda: super(OperatedCluster, self).synced(node, life, work))

    def disk_is_slow(self, node: Node, life: int, work: Any) -> None:
        """What the driver does when a write of a leader takes an election timeout."""
        if node.life != life or node.writing is not work or not self.leads(node):
            return
        if self.asleep(node) or not node.replica.engine.peer_ids():
            return
        self.disk_step_downs += 1
        for peer, message in self.on_clock(node, node.replica.step_down):
            self.send(node.name, peer, message)
        self.results(node)

    def begin_write(self, node: Node, work: Any) -> None:
        super().begin_write(node, work)
        life = node.life
        self.after(STALL_SEEN_S, lambda: self.disk_is_slow(node, life, work))

    # -- operators

    def run(self, seconds: float = 4.0, *, settle_s: float = 30.0) -> Cluster:
        ops = self.operators
        for rate, action in (
            (ops.changes_per_s, self.change_members),
            (ops.transfers_per_s, self.hand_over),
            (ops.jumps_per_s, self.jump),
            (ops.stalls_per_s, self.stall),
            (ops.corners_per_s, self.corner),
            (ops.coups_per_s, self.coup),
            (ops.losses_per_s, self.lose_disk),
            (ops.restores_per_s, self.restore_archive),
        ):
            if rate:
                self.every(rate, action)
        return super().run(seconds, settle_s=settle_s)

    def every(self, rate: float, action: Callable[[], None]) -> None:
        def again() -> None:
            if not self.calm:
                action()
                self.after(self.rng.expovariate(rate), again)

        self.after(self.rng.expovariate(rate), again)

    def some_leader(self) -> Node | None:
        leaders = [n for n in self.nodes.values() if self.leads(n) and not n.syncing]
        return self.rng.choice(leaders) if leaders else None

    def change_members(self) -> None:
        node, name = self.some_leader(), self.rng.choice(list(self.nodes))
        change: Change = self.rng.choice(
            (
                add(name, "", voter=True),
                add(name, "", voter=True),
                add(name, "", voter=False),
                remove(name),
                remove(name),
                set_role(name, STAGING),
                set_role(name, NON_VOTER),
            )
        )
        if node is not None:
            ticket = ("change", self.event_count)
            self.request(node, ticket, lambda: node.replica.change(ticket, change))
            self.queue_step(node)

    def hand_over(self) -> None:
        node = self.some_leader()
        if node is None:
            return
        peers = (None, *node.replica.engine.peer_ids())
        target, ticket = self.rng.choice(peers), ("transfer", self.event_count)
        transfer = node.replica.transfer
        self.request(node, ticket, lambda: self.on_clock(node, lambda: transfer(ticket, target)))
        self.queue_step(node)

    def restore_archive(self) -> None:
        raise AssertionError("nothing here has a state to restore")

    def send(self, source: str, target: str, message: Any) -> None:
        super().send(source, target, message)
        ordered = isinstance(message, TimeoutNow) and not self.calm
        if ordered and self.rng.random() < self.operators.orphan:
            self.after(self.rng.uniform(0.0, 0.05), lambda: self.isolate(source))

    def corner(self) -> None:
        """The worst moment for a lease: one voter has long not heard the leader, another has."""
        leader = self.some_leader()
        peers = leader.replica.engine.peer_ids() if leader is not None else ()
        if leader is None or not peers:
            return
        name, other = leader.name, self.rng.choice(peers)
        self.cut = {(name, other), (other, name)}
        delay = self.rng.uniform(0.8, 2.0)
        self.quiet_until = self.now + delay  # or the lonely one would lack entries, and no vote
        self.after(delay, lambda: self.isolate(name))

    def coup(self) -> None:
        """The worst moment for changes: none can be committed, and the operator goes on."""
        leader = self.some_leader()
        if leader is None:
            return
        self.isolate(leader.name, 2.0)
        for name in leader.replica.engine.peer_ids():
            ticket, change = ("change", name), remove(name)
            self.request(leader, ticket, partial(leader.replica.change, ticket, change))
        self.queue_step(leader)

    def client(self) -> None:
        if self.now < self.quiet_until and not self.calm:
            self.after(0.05, self.client)
        else:
            super().client()

    def isolate(self, name: str, seconds: float = 1.0) -> None:
        """Cut a server off from everybody for a while; its clients still reach it."""
        if self.calm:
            return
        others = [other for other in self.nodes if other != name]
        self.cut = {pair for other in others for pair in ((name, other), (other, name))}
        self.note("isolate", name)
        self.after(seconds * self.rng.uniform(0.8, 1.5), self.cut.clear)
        for _ in range(20):
            self.after(self.rng.uniform(0.0, 1.0), lambda: self.read_at(self.nodes[name]))

    def read_at(self, node: Node) -> None:
        if self.leads(node) and not self.calm:
            ticket = ("read", self.event_count, self.rng.random())
            self.reads_begun[ticket] = self.acked_index_max
            self.request(node, ticket, lambda: node.replica.read(ticket))
            self.queue_step(node)

    def jump(self) -> None:
        """A machine sleeps (its monotonic clock stops), or its wall clock is set."""
        node = self.rng.choice(list(self.nodes.values()))
        if self.rng.random() < 0.5:
            self.walls[node.name] += self.rng.uniform(-3600, 3600)
            return
        seconds = self.rng.uniform(0.1, 3.0)
        leader = self.some_leader()
        if leader is not None and self.rng.random() < 0.5:  # a sleeping leader that nobody wakes
            node, seconds = leader, self.rng.uniform(1.5, 4.0)
            self.isolate(node.name, seconds + 1.0)
        self.offsets[node.name] -= seconds * self.rates[node.name]
        self.suspended[node.name] = (
            self.suspended.get(node.name, 0.0) + seconds * self.rates[node.name]
        )
        self.sleeping_until[node.name] = self.now + seconds
        for _ in range(5):  # clients that come the moment it wakes up
            self.after(seconds + self.rng.uniform(0.0, 0.01), lambda: self.read_at(node))
        self.note("sleep", node.name, seconds)

    def stall(self) -> None:
        node = self.some_leader() or self.rng.choice(list(self.nodes.values()))
        self.stalled[node.name] = self.now + self.rng.uniform(0.2, 4.0)
        self.note("stall", node.name)

    def new_disk(self) -> Any:
        return SimDisk()

    def lose_disk(self) -> None:
        """Only where all the others together still have everything, and nothing more is missing."""
        leader = self.some_leader()
        if not self.all_disks_noted() or leader is None:
            return
        if self.rng.random() < 0.5:
            self.replace_disk(self.nodes[self.rng.choice(sorted(self.last_config[1].members))])
            return
        # The worst moment: one voter lacks what the leader and another have acknowledged; that one
        # forgets it, hears a little of the leader, and then there are only the two of them.
        lagging, robbed = self.rng.sample(leader.replica.engine.peer_ids(), 2)
        others = [name for name in self.nodes if name != lagging]
        self.cut = {pair for n in others for pair in ((lagging, n), (n, lagging))}
        self.after(0.5, lambda: self.rob(leader, self.nodes[robbed]))

    def rob(self, leader: Node, node: Node) -> None:
        if not self.calm and self.all_disks_noted():
            self.replace_disk(node, 0.0)
            self.after(self.rng.uniform(0.02, 0.3), lambda: self.isolate(leader.name, 3.0))

    def all_disks_noted(self) -> bool:
        return self.last_config is not None and all(
            member.role == VOTER and member.disk == self.nodes[name].disk.state.disk.id
            for name, member in self.last_config[1].members.items()
        )

    def replace_disk(self, node: Node, delay: float | None = None) -> None:
        self.note("lose disk", node.name)
        self.crash(node)
        node.disk = self.new_disk()
        self.founders = [name for name in self.founders if name != node.name]
        self.disks_lost += 1
        if delay is None:
            delay = self.rng.uniform(0.0, 2.0)
        self.after(delay, lambda: self.start(node) if not node.replica else None)

    def hand_in(self, node: Node, source: str, message: Any) -> None:
        """A removed server is told so by the transport and gets no further."""
        engine, other = node.replica.engine, self.nodes[source].replica
        if engine.config is not None and source in engine.config.removed and other is not None:
            index, known = engine.config_index, other.engine.config_index
            if engine.config_is_committed() and known < index:
                if not isinstance(message, Removed):
                    self.send(node.name, source, Removed(index))
                return
        super().hand_in(node, source, message)

    def finish_ticket(self, node: Node, ticket: Any, result: Outcome | StoreError) -> bool:
        """Results of operators' requests; True if it was one."""
        if not isinstance(ticket, tuple) or ticket[0] == "read":
            return False
        done = isinstance(result, Outcome)
        if ticket[0] == "change":
            self.changes_done += done
        else:
            self.transfers_done += done
        if not done:
            self.refusals.append(str(result))
        return True

    # -- invariants

    def check(self, node: Node) -> None:
        super().check(node)
        commit = node.replica.engine.commit_index()
        if commit < node.commit:
            raise InvariantError(f"the commit index of {node.name} fell")
        node.commit = commit

    def newly_committed(self, entry: Entry) -> None:
        super().newly_committed(entry)
        command, index, _ = entry
        if command[0] == CONFIG:
            config = decode_config(command[1:])
            before = self.last_config
            if before is not None and len(before[1].voters ^ config.voters) > 1:
                raise InvariantError(f"entries {before[0]} and {index} differ by two voters")
            if before is not None:
                before_disks = {n: m.disk for n, m in before[1].members.items() if m.role == VOTER}
                self.disks_replaced += any(
                    m.role == STAGING and before_disks.get(n, m.disk) != m.disk
                    for n, m in config.members.items()
                )
            self.last_config = (index, config)

    def members(self) -> list[Node]:
        """The servers that must agree in the end: those of the newest committed set."""
        config = self.last_config[1] if self.last_config is not None else None
        names = self.nodes if config is None else config.members
        return [self.nodes[name] for name in names]
