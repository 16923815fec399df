"""What a node tells about itself. Decides nothing; the driver fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raftstore.raft.config import RaftConfig

if TYPE_CHECKING:
    from raftstore.raft.engine import RaftEngine
    from raftstore.raft.replica import Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One server of the configuration. The figures are the leader's; None elsewhere."""

    node_id: str
    address: str
    """Where it is dialled."""
    hint: str
    """The address in the configuration, for who cannot ask gossip."""
    role: str
    """voter, non-voter, or staging: a non-voter that votes as soon as it has caught up."""
    leader: bool
    match_index: int | None
    """How far its log is known to equal the leader's; 0 if nothing is known yet."""
    next_index: int | None
    sending: str
    """probe, pipeline, or offline."""
    inflight_bytes: int
    last_ack_s: float | None
    """Seconds since it answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftStatus:
    """A snapshot of one node. Counters count since start."""

    role: str
    term: int
    leader_id: str | None
    leader_address: str
    commit_index: int
    applied_index: int
    last_index: int
    first_index: int
    last_contact_s: float | None
    """Seconds since the leader was heard; 0 on the leader, None if never."""
    members: tuple[tuple[str, str, bool], ...]
    """(node id, address, voter), sorted by id."""
    config_index: int
    config_committed: bool
    is_voter: bool
    dismissed: bool
    """Has a member told us that we were removed from the cluster?"""
    remembers: bool
    """Is our disk the one that the cluster knows us by? If not, our votes do not count."""
    disks_replaced: int
    """Times we have seen a server taken in again because it came back with another disk."""
    bootstrapped: bool
    cluster_id: str
    pending_proposals: int
    waiting_reads: int
    elections_started: int
    elections_won: int
    pre_vote_rounds: int
    step_downs: int
    step_downs_by: Mapping[str, int]
    """By reason: lost quorum, hung disk, transferred, higher term."""
    step_down_reason: str
    """The last one's; empty if there was none."""
    full_handovers: int
    """Times we handed over because the journal was full."""
    disk_step_downs: int
    """Times we gave up leading because a write to our disk took too long."""
    lease_left_s: float
    """Seconds for which this leader may read without asking a quorum; 0 without a lease."""
    lease_reads: int
    transfers_begun: int
    leader_changes: int
    conflict_entries_cut: int
    syncs: int
    sync_last_s: float
    sync_max_s: float
    slow_syncs: int
    steps: int
    journal_used_bytes: int
    journal_max_bytes: int
    journal_full: bool
    snapshot_index: int = 0
    """Index of the snapshot that the journal points to."""
    snapshot_bytes: int = 0
    snapshots_installed: int = 0
    snapshots_sent: int = 0
    snapshots_taken: int = 0
    snapshots_failed: int = 0
    snapshot_last_s: float = 0.0
    snapshot_held_s: float = 0.0
    """How long the last snapshot kept entries from being applied."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Closed links and dropped messages by reason."""


Seen = tuple[str, int, str | None, int, bool]
"""What a node looks at after each step: role, term, leader, index of the configuration, and
whether that is committed."""


def seen_of(engine: RaftEngine) -> Seen:
    """How it is now."""
    return (
        engine.role(),
        engine.term(),
        engine.leader_id(),
        engine.config_index,
        engine.config_is_committed(),
    )


def dropped_by(engine: RaftEngine) -> dict[str, int]:
    """Messages that the engine did not heed, by reason."""
    return {
        "stranger message": engine.stats.strangers_dropped,
        "stale reply": engine.stats.stale_replies_dropped,
        "append refused: journal full": engine.stats.appends_refused_full,
    }


def figures_of(config: RaftConfig, replica: Replica) -> dict[str, Any]:
    """What the replica itself knows, by the fields' names."""
    engine, journal, stats = replica.engine, replica.journal, replica.engine.stats
    snapshot = journal.snapshot
    return {
        "role": engine.role(),
        "term": engine.term(),
        "leader_id": engine.leader_id(),
        "commit_index": engine.commit_index(),
        "applied_index": engine.applied_index(),
        "last_index": journal.last_index,
        "first_index": journal.first_index,
        "last_contact_s": engine.last_contact_s(),
        "config_index": engine.config_index,
        "config_committed": engine.config_is_committed(),
        "is_voter": engine.is_voter(),
        "dismissed": engine.dismissed,
        "remembers": engine.counts(config.node_id),
        "pending_proposals": replica.pending(),
        "waiting_reads": replica.reads.waiting,
        "elections_started": stats.elections_started,
        "elections_won": stats.elections_won,
        "pre_vote_rounds": stats.pre_vote_rounds,
        "step_downs": stats.step_downs,
        "step_downs_by": dict(stats.step_downs_by),
        "step_down_reason": stats.step_down_reason,
        "full_handovers": replica.yielding.count,
        "lease_left_s": max(0.0, replica.lease_left_s()),
        "lease_reads": replica.lease_reads,
        "transfers_begun": replica.transfers_begun,
        "leader_changes": stats.leader_changes,
        "conflict_entries_cut": stats.conflict_entries_cut,
        "journal_used_bytes": journal.used_bytes,
        "journal_max_bytes": config.journal_bytes_max,
        "journal_full": journal.full,
        "snapshot_index": snapshot.index if snapshot is not None else 0,
        "snapshot_bytes": snapshot.size if snapshot is not None else 0,
        "snapshots_installed": replica.installs.installed,
        "snapshots_sent": replica.installs.sent,
    }
