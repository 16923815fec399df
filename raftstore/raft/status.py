"""What a node tells about itself. Decides nothing; the driver fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    bootstrapped: bool
    cluster_id: str
    pending_proposals: int
    waiting_reads: int
    elections_started: int
    elections_won: int
    pre_vote_rounds: int
    step_downs: int
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
