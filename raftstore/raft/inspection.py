"""Everything that one server's Raft can say about itself, gathered at one moment.

Unlike the status, which is asked for at every change, this is made when somebody wants to know, so
it may cost a millisecond. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftstore.raft.elections import Attempt, Led, SteppedDown
from raftstore.raft.latencies import LatencySummary
from raftstore.raft.members import ROLE_NAMES, VOTER, Disk
from raftstore.raft.policy import LogGrowth, due
from raftstore.raft.standing import Standing, why

if TYPE_CHECKING:
    from raftstore.raft.config import RaftConfig
    from raftstore.raft.disk import DiskThread
    from raftstore.raft.replica import Replica
    from raftstore.raft.snapshotter import SnapshotRecord, Snapshotter
    from raftstore.raft.status import RaftStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One server. Points in time are of the engine's clock, as ``now`` is; the newest first."""

    now: float
    config: RaftConfig
    status: RaftStatus
    why: str
    """Why it leads, or does not."""
    fatal: str
    transfer: str
    attempts: tuple[Attempt, ...]
    step_downs: tuple[SteppedDown, ...]
    leaders: tuple[Led, ...]
    disk: Disk
    known_by: str
    """The disk by which the cluster knows this server; empty where no leader has noted one yet."""
    latencies: LatencySummary
    writing_s: float | None
    """How long the present write has taken so far."""
    snapshots: tuple[SnapshotRecord, ...]
    taking: str
    """Why a snapshot is being taken now."""
    growth: LogGrowth | None
    next_snapshot: str
    """Why one is due; empty if none is, or nothing takes any."""


class Inspector:
    """Looks at the parts of one node."""

    def __init__(
        self,
        config: RaftConfig,
        replica: Replica,
        disk: DiskThread,
        snapshots: Snapshotter | None,
        fatal: Callable[[], str],
        status: Callable[[], RaftStatus],
    ) -> None:
        """``fatal``: why the node must stop, or nothing."""
        self._config = config
        self._replica = replica
        self._disk = disk
        self._snapshots = snapshots
        self._fatal = fatal
        self._status = status

    def look(self) -> Inspection:
        """How it is now."""
        replica, snapshots = self._replica, self._snapshots
        engine, now = replica.engine, replica.engine.now()
        members = engine.config.members if engine.config is not None else {}
        own = members.get(self._config.node_id)
        growth = snapshots.growth() if snapshots is not None else None
        standing = self._standing(now)
        return Inspection(
            now=now,
            config=self._config,
            status=self._status(),
            why=why(standing),
            fatal=standing.fatal,
            transfer=standing.transfer,
            attempts=engine.elections.attempts(),
            step_downs=engine.elections.step_downs(),
            leaders=engine.elections.leaders(),
            disk=replica.journal.disk,
            known_by=own.disk if own is not None else "",
            latencies=self._disk.recent(),
            writing_s=self._disk.waited_s() if self._disk.writing is not None else None,
            snapshots=tuple(reversed(snapshots.records)) if snapshots is not None else (),
            taking=snapshots.taking if snapshots is not None else "",
            growth=growth,
            next_snapshot=due(self._config, growth) if growth is not None else "",
        )

    def _standing(self, now: float) -> Standing:
        engine, node_id = self._replica.engine, self._config.node_id
        members = engine.config.members if engine.config is not None else {}
        attempts = engine.elections.attempts()
        return Standing(
            node_id=node_id,
            role=engine.role(),
            term=engine.term(),
            leader_id=engine.leader_id(),
            fatal=self._fatal(),
            configured=engine.config is not None,
            member_role=ROLE_NAMES[members[node_id].role] if node_id in members else "",
            dismissed=engine.dismissed,
            remembers=engine.counts(node_id),
            last_contact_s=engine.last_contact_s(),
            voters=frozenset(n for n, member in members.items() if member.role == VOTER),
            attempt=attempts[0] if attempts else None,
            timer_s=engine.deadline() - now,
            transfer=self._replica.handing_over,
        )
