"""PySyncObj as released, in the simulated world, to prove that the world finds its bugs."""

from __future__ import annotations

import random
from typing import Any

import pysyncobj.syncobj
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.syncobj import _COMMAND_TYPE
from pysyncobj.transport import Transport

from raftstore.raft.log import payload_command
from raftstore.raft.replica import Work
from raftstore.raft.requests import Outcome
from tests.sim.raft_cluster import Cluster
from tests.sim.raft_cluster import Node as SimNode


class _Peer(Node):
    def __hash__(self) -> int:
        return int(self.id[1:])


class _Outlet(Transport):
    def __init__(self) -> None:
        super().__init__(None, None, [])
        self.sent: list[tuple[str, Any]] = []

    def send(self, node: Node, message: Any) -> bool:
        self.sent.append((node.id, message))
        return True


class StockReplica:
    """The released engine behind the face of ``Replica``; its disk is perfect."""

    def __init__(self, name: str, names: list[str]) -> None:
        self.outlet = _Outlet()
        self.peers = {n: _Peer(n) for n in names if n != name}
        self.sync = SyncObj(
            _Peer(name),
            list(self.peers.values()),
            conf=SyncObjConf(
                autoTick=False,
                appendEntriesUseBatch=True,
                appendEntriesBatchSizeBytes=60,
                appendEntriesPeriod=0.15,
                raftMinTimeout=1.0,
                raftMaxTimeout=2.0,
                leaderFallbackTimeout=1.0,
                logCompactionMinEntries=10**9,
                logCompactionMinTime=10**9,
            ),
            transport=self.outlet,
        )
        self.inbox: list[tuple[str, Any]] = []
        self.done: list[tuple[object, Outcome]] = []
        self.engine = self

    # the face that the simulation uses

    def leads(self) -> bool:
        return self.sync._isLeader()

    def term(self) -> int:
        return self.sync._getTerm()

    def connected(self, peer: str) -> None:
        self.outlet._onNodeConnected(self.peers[peer])

    def disconnected(self, peer: str) -> None:
        self.outlet._onNodeDisconnected(self.peers[peer])

    def deliver(self, peer: str, message: Any) -> None:
        self.inbox.append((peer, message))

    def answer(self, peer: str, message: Any) -> None:
        """It answers in its ticks only."""

    def begin_reads(self) -> list[Any]:
        return []

    def propose(self, ticket: bytes, payload: bytes) -> None:
        def finished(_: object, reason: int) -> None:
            if reason == FAIL_REASON.SUCCESS:
                self.done.append((ticket, Outcome(0, payload)))

        # A "no-op" in PySyncObj's eyes: it replicates like any other entry and is not unpickled.
        self.sync._applyCommand(payload_command(0.0, payload), finished, _COMMAND_TYPE.NO_OP)

    def read(self, ticket: object) -> None:
        pass

    def step(self, wall_now: float) -> Work:
        inbox, self.inbox = self.inbox, []
        for peer, message in inbox:
            self.outlet._onMessageReceived(self.peers[peer], message)
        self.sync.doTick(0)
        sent, self.outlet.sent = self.outlet.sent, []
        return Work(sent, None, [])

    def commit(self) -> bool:
        """Its tick commits."""
        return False

    def apply(self) -> None:
        """Its tick has applied."""

    def take_results(self) -> list[Any]:
        done, self.done = self.done, []
        return done

    def wants_step(self) -> bool:
        return False


class StockCluster(Cluster):
    """Cuts only, no crash, no loss on a link: the mildest world there is."""

    answers_all = False  # nor does it: its hazard C5, which is not what this is for

    def run(self, seconds: float = 8.0, *, settle_s: float = 30.0) -> Cluster:
        before = pysyncobj.syncobj.random
        pysyncobj.syncobj.random = random.Random(self.seed)
        try:
            return super().run(seconds, settle_s=settle_s)
        finally:
            pysyncobj.syncobj.random = before

    def start(self, node: SimNode) -> None:
        node.life += 1
        node.replica = StockReplica(node.name, list(self.nodes))
        for other in self.nodes.values():
            if other is not node and other.replica is not None:
                self.relink(node.name, other.name)
        self.tick(node, node.life)

    def has_to_turn(self, node: SimNode) -> bool:
        return True

    def settle(self, seconds: float) -> None:
        self.calm = True

    def check(self, node: SimNode) -> None:
        sync = node.replica.sync
        log = sync._SyncObj__raftLog[:]
        self.check_log(node, sync._getTerm(), sync.raftCommitIndex, log, sync._isLeader())
