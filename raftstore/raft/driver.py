"""Carries a replica on the asyncio loop: steps, the disk barrier, timers, links, futures.

Persist before send. A step may change the log, the term or the vote. Whatever rests on such a
change (an acknowledgement, a vote, a request for votes) is held back
until the batch of that step is on disk, for a server that forgets what it promised breaks the
promise. The write is one synced transaction on a thread of its own, and while it runs no further
step is taken: frames and proposals just gather, which is the group commit, and the engine can never
count an entry of ours that is not yet durable. Appends may leave before our own write, so the
leader's disk and the followers' work at the same time; and what is committed is applied while the
batch is being written, for that needs no step. A failed write is never retried: what the
disk then holds is unknown, so the node stops for good (``fatal``). One that found no room is no
such failure: the journal promises that nothing of it has happened. It is tried again until there
is room; until then the node is like one with a very slow disk, and loses the leadership.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

from raftstore.errors import LeadershipLost, Refused
from raftstore.raft.callers import Done, Waiting, settle
from raftstore.raft.config import RaftConfig
from raftstore.raft.disk import DiskThread
from raftstore.raft.frames import Hello, Message, ProbeReply
from raftstore.raft.gathering import Gathering
from raftstore.raft.inspection import Inspector
from raftstore.raft.log import Journal, SnapshotPointer
from raftstore.raft.lost_disk import KnownDisks
from raftstore.raft.members import bootstrap_config
from raftstore.raft.operations import Operations
from raftstore.raft.replica import Replica, Work
from raftstore.raft.requests import Outcome, Proposal
from raftstore.raft.snapshot import SnapshotFiles
from raftstore.raft.snapshotter import Snapshotter
from raftstore.raft.status import RaftStatus, Seen, dropped_by, figures_of, seen_of
from raftstore.raft.timers import Alarm, CallerTimer, Graces
from raftstore.raft.transfers import Machine
from raftstore.raft.transport import PeerNetwork, PeerTls

log = logging.getLogger("lictor.raftstore.raft.driver")

WALL_CLOCK = time.time
BOOT_CLOCK = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
LONELY_TIMEOUTS = 2
"""After so many election timeouts without a leader a server, perhaps removed, dials everybody."""


class RaftNode:
    """One server's Raft. Must be made on the loop it runs on; the caller owns the journal."""

    def __init__(
        self,
        config: RaftConfig,
        *,
        journal: Journal,
        apply: Callable[[int, float, bytes], object],
        on_applied: Callable[[], None] = lambda: None,
        on_change: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
        tls: PeerTls | None = None,
        snapshots: tuple[SnapshotFiles, Machine] | None = None,
    ) -> None:
        """``apply(index, stamp, payload)`` never raises; ``on_change`` must only schedule.

        Without ``snapshots`` (where they are kept, and of what) the log is never trimmed.
        Raises CorruptState if the journal belongs to another node.
        """
        journal.claim(config.node_id, secrets.token_hex(8))
        rng = rng or random.Random()
        self.fatal: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        """Completes, with the error as its result, when the process must stop."""
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._journal = journal
        self._on_applied = on_applied
        self._on_change = on_change
        dice = random.Random(rng.getrandbits(64))
        self._replica = Replica(config, journal, apply, dice, BOOT_CLOCK)
        self._network = PeerNetwork(
            config,
            cluster_id=lambda: self.cluster_id,
            on_message=self._message,
            on_up=self._link_up,
            on_down=self._link_down,
            rng=random.Random(rng.getrandbits(64)),
            tls=tls,
            memory=lambda: (journal.disk, journal.saved_index),
        )
        self._disk = DiskThread(journal, config=config, done=self._persisted)
        self._snapshots = snapshots and Snapshotter(
            config, self._replica, *snapshots, disk=self._disk, wake=self._schedule
        )
        self.operations = Operations(
            self._replica,
            node_id=config.node_id,
            must_run=self._must_run,
            schedule=self._schedule,
            learn_address=self._learn_address,
            address=self._network.address,
            refusals=self._network.refusals.last,
            inspector=Inspector(
                config, self._replica, self._disk, self._snapshots, self._failure, self.status
            ),
        )
        """What an operator may ask: to hand over, to change the set of servers, to explain."""
        self._founding: Callable[[], bool] | None = None
        self._running = False
        self._scheduled = False
        self._gathering = Gathering(config.gather_turns_max)
        self._apply_due: asyncio.Handle | None = None
        self._reads_due: asyncio.Handle | None = None
        self._alarm = Alarm(self._replica.engine.now, self._alarmed)
        self._callers = CallerTimer()
        self._graces = Graces(config.redial_grace_s, self._grace_over)
        self._seen: Seen | None = None
        self._steps = self._disk_step_downs = 0
        self._disks = KnownDisks(config.node_id)
        self._led_at = self._replica.engine.now()

    # -- life

    async def start(self) -> None:
        """Load the snapshot; begin to dial, to step and to apply what is committed.

        Raises CorruptState if there should be a snapshot, and none can be used.
        """
        if self._snapshots is not None:
            await self._snapshots.restore()
        self._running = True
        self._adopt_members()
        self._network.start()
        self._schedule()

    async def stop(self) -> None:
        """End quietly: links are closed, a write that runs is waited for. Futures are failed."""
        if not self._running:
            return
        self._running = False
        for timer in (self._alarm, self._callers, self._graces):
            timer.cancel()
        if self._snapshots is not None:
            await self._snapshots.stop()
        await self._network.stop()
        await self._disk.close()
        self._fail_callers("this node stops")

    def accept(self) -> asyncio.Protocol:
        """A protocol for one inbound peer connection whose first byte has been read already."""
        return self._network.accept()

    def set_address(self, node_id: str, host: str, port: int) -> None:
        """Tell where a server can be dialled (from gossip)."""
        self._network.set_address(node_id, host, port)

    def bootstrap(self, members: Mapping[str, str]) -> None:
        """Write the first configuration (node id -> "host:port"), the same on all of the members,
        unless there is one; at the next step at the latest. ValueError if we are no member."""
        if self.bootstrapped:
            return
        if self._config.node_id not in members:
            raise ValueError("the members of a bootstrap must include this node")
        self._found(functools.partial(self._replica.bootstrap, bootstrap_config(members).encode()))

    def claim_founding(self) -> None:
        """Count as a founder of the cluster that a leader has told us of."""
        self._found(self._replica.claim_founding)

    def _found(self, how: Callable[[], bool]) -> None:
        self._founding = how
        if self._disk.writing is None:
            self._carry_out_founding()
        self._schedule()

    def _carry_out_founding(self) -> None:
        """Never while a write runs: the log must not change under it."""
        founding, self._founding = self._founding, None
        if founding is not None and founding():
            self._adopt_members()

    @property
    def bootstrapped(self) -> bool:
        """Has this node a configuration, written by itself or received from a leader?"""
        return self._journal.config is not None

    @property
    def cluster_id(self) -> str:
        """The cluster's id, or empty before bootstrap."""
        return config.cluster_id if (config := self._replica.engine.config) is not None else ""

    # -- callers

    async def propose(self, payload: bytes, *, timeout_s: float) -> tuple[int, object]:
        """Replicate a payload; (index, apply's result) once durable on a quorum and applied here.

        Raises NotLeader, NoLeader, QueueFull, JournalFull, Superseded (definite) or
        LeadershipLost, ProposalTimeout (indefinite).
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        proposal = self.propose_soon(
            payload, timeout_s=timeout_s, done=functools.partial(settle, future)
        )
        try:
            outcome = await future
        finally:
            proposal.withdrawn = True  # if it is still waiting: nobody waits for it any more
        return outcome.index, outcome.value

    def propose_soon(self, payload: bytes, *, timeout_s: float, done: Done) -> Proposal:
        """The same without a task: ``done`` is called once with what ``propose`` gives or raises.

        Raises the definite errors at once where they show at once.
        """
        self._must_run()
        waiting = Waiting(done)
        proposal = waiting.proposal = self._replica.propose(waiting, payload)
        self._callers.watch(waiting, timeout_s)
        self._schedule()
        return proposal

    async def read_index(self, *, timeout_s: float) -> int:
        """Confirm leadership with a quorum; the index that this node has applied at least.

        Raises NotLeader, NoLeader, QueueFull, or Refused when no quorum answers in time.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self.read_index_soon(timeout_s=timeout_s, done=functools.partial(settle, future))
        return (await future).index

    def read_index_soon(self, *, timeout_s: float, done: Done) -> None:
        """The same without a task. Raises at once what shows at once."""
        self._must_run()
        waiting = Waiting(done)
        self._replica.read(waiting)
        self._callers.watch(waiting, timeout_s)
        if self._config.lease:
            self._schedule()
        elif self._reads_due is None:
            self._reads_due = self._loop.call_soon(self._begin_reads)

    def _begin_reads(self) -> None:
        self._reads_due = None
        if not self._running or self.fatal.done():
            return
        self._network.send_all(self._replica.begin_reads())
        self._deliver_results()
        if self._disk.writing is None:
            self._go_on()  # it may have to wait until we may read, or we lead no more

    @property
    def applied_index(self) -> int:
        """How far the log is applied here."""
        return self._replica.engine.applied_index()

    @property
    def age_s(self) -> float:
        """How old the state here may be, in seconds."""
        return self._replica.engine.age_s(WALL_CLOCK())

    def pace_applies(self, unfinished: Callable[[], bool]) -> None:
        """Apply nothing while ``unfinished()``; ``resume`` is called when it no longer is."""
        self._replica.engine.apply_unfinished = unfinished

    def resume(self) -> None:
        """There may be something to apply again."""
        self._schedule()

    async def snapshot_now(self) -> SnapshotPointer:
        """Take a snapshot on demand; what the journal points to then. Raises StoreError."""
        self._must_run()
        if self._snapshots is None:
            raise Refused("this node takes no snapshots")
        return await self._snapshots.snapshot_now()

    def status(self) -> RaftStatus:
        """How this node is, now."""
        engine = self._replica.engine
        members = self.operations.members()
        return RaftStatus(
            **figures_of(self._config, self._replica),
            **asdict(self._disk.stats),
            **(self._snapshots.figures() if self._snapshots is not None else {}),
            leader_address=next((a for n, a, _ in members if n == engine.leader_id()), ""),
            members=members,
            bootstrapped=self.bootstrapped,
            cluster_id=self.cluster_id,
            disks_replaced=self._disks.replaced,
            disk_step_downs=self._disk_step_downs,
            steps=self._steps,
            dropped={**self._network.dropped, **dropped_by(engine)},
        )

    def _failure(self) -> str:
        return repr(self.fatal.result()) if self.fatal.done() else ""

    def _must_run(self) -> None:
        if not self._running or self.fatal.done():
            raise Refused("this node is not running")

    # -- links

    def _message(self, peer: str, message: Message, size: int) -> bool:
        answers = self._replica.answer(peer, message)
        if answers is None and not self._replica.deliver(peer, message, size):
            return False
        self._network.send_all(answers or ())
        if type(message) is ProbeReply:
            self._deliver_results()
        elif not answers and self._disk.writing is None:
            self._go_on()
        return True

    def _link_up(self, peer: str, hello: Hello) -> None:
        self._graces.end(peer)
        self._replica.engine.connected(peer, hello.disk, hello.last_index)
        self._schedule()

    def _link_down(self, peer: str) -> None:
        self._replica.engine.disconnected(peer)
        if self._running and peer == self._replica.engine.leader_id():
            self._graces.begin(peer)

    def _grace_over(self, peer: str) -> None:
        """The link closed and did not come back: most likely the leader's process is dead."""
        if self._running and not self._network.linked(peer):
            self._replica.engine.leader_lost(peer)
            self._schedule()

    def _adopt_members(self) -> None:
        engine, config = self._replica.engine, self._replica.engine.config
        if config is None:
            self._network.set_members(None)
            return
        for news in self._disks.look(config, remembers=engine.counts(self._config.node_id)):
            log.warning("%s", news)
        for node_id, member in config.members.items():
            if not self._network.address(node_id):
                self._learn_address(node_id, member.address)
        removed = config.removed if engine.config_is_committed() else frozenset()
        self._network.set_members(config.members, removed, engine.config_index, config.returned)

    def _learn_address(self, node_id: str, address: str) -> None:
        host, _, port = address.rpartition(":")
        if host and port.isascii() and port.isdigit():
            self._network.set_address(node_id, host.strip("[]"), int(port))

    # -- steps

    def _may_step(self) -> bool:
        return self._running and self._disk.writing is None and not self.fatal.done()

    def _schedule(self) -> None:
        if not self._scheduled and self._may_step():
            self._scheduled = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        if self._may_step() and self._replica.commit():
            self._apply()  # who is answered now asks again in this batch, not in one beside it
        if self._gathering.waits(self._replica.only_proposals()):
            self._loop.call_soon(self._step)
            return
        self._scheduled = False
        if not self._may_step():
            return
        self._steps += 1
        self._carry_out_founding()
        try:
            work = self._replica.step(WALL_CLOCK())
        except Exception as error:
            self._die(error)
            return
        self._network.send_all(work.early)
        if work.batch is None:
            self._network.send_all(work.late)
        else:
            self._disk.persist(work, work.batch)
        if self._disk.writing is None or self._replica.engine.leads():
            if self._replica.engine.apply_is_due():
                self._disk.let_sync_begin()
            self._apply()
        elif self._apply_due is None:
            self._apply_due = self._loop.call_later(self._config.acknowledge_first_s, self._apply)
        self._notice_change()
        if self._snapshots is not None:
            for task in work.tasks:
                self._snapshots.transfers.carry(task)
        if self._disk.writing is None:
            self._go_on()
        self._set_alarm()

    def _apply(self) -> None:
        """Apply a slice. While a batch is being written, the rest follows at the next turn."""
        self._apply_due = None
        if not self._running or self.fatal.done():
            return
        engine = self._replica.engine
        before = engine.applied_index()
        try:
            self._replica.apply()
        except Exception as error:
            self._die(error)
            return
        self._deliver_results()
        if engine.applied_index() != before:
            self._on_applied()
        if engine.apply_is_due() and self._disk.writing is not None and self._apply_due is None:
            self._apply_due = self._loop.call_soon(self._apply)

    def _persisted(self, work: Work, error: BaseException | None) -> None:
        if error is not None:
            self._die(error)
            return
        assert work.batch is not None
        self._replica.persisted(work.batch)
        if self._snapshots is not None:
            self._snapshots.saved(work.batch)
        if self._running:  # what rested on the disk may leave now
            self._network.send_all(work.late)
            if self._apply_due is not None:
                self._apply_due.cancel()
                self._apply()
            self._go_on()
        self._set_alarm()

    def _go_on(self) -> None:
        if self._founding is not None or self._replica.wants_step():
            self._schedule()

    def _deliver_results(self) -> None:
        self._callers.settle(self._replica.take_results())

    def _notice_change(self) -> None:
        engine = self._replica.engine
        seen = seen_of(engine)
        if seen[2] is not None:
            self._led_at = engine.now()
        alone_s = engine.now() - self._led_at
        self._network.dial_all(alone_s > LONELY_TIMEOUTS * self._config.election_max_s)
        before, self._seen = self._seen, seen
        if before == seen:
            return
        if before is None or before[3:] != seen[3:]:
            self._adopt_members()
        if before is not None and before[:3] != seen[:3]:
            stopped = engine.stats.step_down_reason if before[0] == "leader" != seen[0] else ""
            log.info("raft state role=%s term=%d leader=%s stopped=%s", *seen[:3], stopped)
        self._on_change()

    def _die(self, error: BaseException) -> None:
        if self.fatal.done():
            return
        log.critical("raft node must stop error=%s", error, exc_info=error)
        self.fatal.set_result(error)
        self._fail_callers("this node has failed and must stop")
        self._network.close_links("node failed")

    def _fail_callers(self, reason: str) -> None:
        lost = LeadershipLost(reason)
        self._callers.settle((waiting, lost) for waiting in self._replica.fail_all())

    # -- the engine's deadline

    def _set_alarm(self) -> None:
        if self._running and not self.fatal.done():
            self._alarm.set(self._replica.engine.deadline())

    def _alarmed(self) -> None:
        engine = self._replica.engine
        if engine.deadline() > engine.now():
            self._set_alarm()
        elif self._disk.writing is None:
            self._schedule()
        else:
            self._calm_followers(self._disk.writing)

    def _calm_followers(self, work: Work) -> None:
        """A write takes long: keep followers calm for a while, then let them choose another.

        Longer than an election timeout, and we lead no more: callers are told, the best follower is
        told to campaign, and we go on as a follower. The only voter leads on: there is no other.
        """
        engine = self._replica.engine
        if not engine.leads():
            return
        if engine.peer_ids() and self._disk.waited_s() >= self._config.election_min_s:
            self._disk_step_downs += 1
            self._network.send_all(self._replica.step_down())
            self._deliver_results()
            self._notice_change()
            return
        if work.batch is not None and not work.batch.state_changed:
            self._network.send_all(self._replica.heartbeats())
        self._alarm.again_in(self._config.heartbeat_s)
