"""What a node tells about itself. Decides nothing; the driver fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One server of the configuration. The figures are the leader's; None elsewhere."""

    node_id: str
    address: str
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
    bootstrapped: bool
    cluster_id: str
    pending_proposals: int
    waiting_reads: int
    elections_started: int
    elections_won: int
    pre_vote_rounds: int
    step_downs: int
    disk_step_downs: int
    """Times we gave up leading because a write to our disk took too long."""
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
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Closed links and dropped messages by reason."""
