"""What a Raft node may be told: timers and limits. Decides nothing.

Timers follow the shape of Raft's thesis (heartbeat much shorter than the election timeout) with
values for a LAN of loaded two-core machines; multiply all of them for slower networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB = 1024 * 1024
DEFAULT_MULTIPLIER = 5
"""Consul's ``raft_multiplier`` if nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """Timers in seconds and bounds of one node."""

    node_id: str
    heartbeat_s: float = 0.15
    election_min_s: float = 1.0
    """Also the check-quorum period, and how long a voter stays loyal to a leader it has heard."""
    election_max_s: float = 2.0
    first_election_s: tuple[float, float] = (0.05, 0.3)
    """Random deadline of a cluster that has just been bootstrapped: nobody can have led before."""
    lost_leader_first_s: tuple[float, float] = (0.02, 0.05)
    """Random deadline after the leader's process visibly died (link closed, dial refused)."""
    lost_leader_s: tuple[float, float] = (0.05, 0.2)
    """The same for each further round of the hurried election that follows."""
    lost_leader_turn_s: float = 0.1
    """How much later each next one of the servers left, by id, campaigns: longer than a round
    takes, so that the votes are not split."""
    redial_grace_s: float = 0.05
    """How long a closed link to the leader may take to come back before the leader counts as
    lost."""
    lease: bool = False
    """Serve linearizable reads by a lease instead of asking a quorum each time. Sound only if all
    servers have it on, clocks run at the same pace within 5 %, and the lease's clock counts the
    time a machine was suspended."""
    lease_share: float = 0.9
    lease_margin_s: float = 0.05
    """A lease lasts ``lease_share`` of the shortest election timeout, less the margin."""
    promotion_lag_max: int = 200
    """Entries a staging server may lack and still count as caught up."""
    promotion_stable_s: float = 10.0
    """How long a staging server must have been caught up before it votes."""
    founding_grace_s: float = 5.0
    """How long a leader waits before a voter without the first entry counts as one that has
    lost its disk: it may not have heard yet that the cluster forms."""
    changes_waiting_max: int = 64
    """Changes of membership that wait for the one before."""
    yield_when_full: bool = True
    """Hand leadership over when the journal or its disk is about 95 % full; once, and again only
    after it was less than 80 % full."""
    proposal_timeout_s: float = 5.0
    """Default deadline for callers that have none of their own."""
    payload_bytes_max: int = 1 * MIB
    intake_max: int = 16_384
    """Proposals that wait for a step."""
    intake_bytes_max: int = 64 * MIB
    inflight_entries_max: int = 4096
    """Entries in the leader's log that are not committed yet."""
    gather_turns_max: int = 3
    """Turns of the loop for which a step that has nothing but proposals waits for more of them."""
    step_bytes_max: int = 8 * MIB
    """Payload taken into the log by one step, so that one disk write stays short."""
    append_bytes_max: int = 1 * MIB
    append_entries_max: int = 4096
    window_bytes_max: int = 4 * MIB
    window_appends_max: int = 8
    """Unacknowledged appends per peer."""
    apply_entries_max: int = 2000
    """Entries applied by one step before the loop gets its turn again."""
    apply_budget_s: float = 0.003
    apply_bytes_max: int = 4 * MIB
    acknowledge_first_s: float = 0.01
    """A follower applies once it has acknowledged, unless its disk takes longer than this. The
    loop's timers may ring a millisecond early, so it is well above what a sync takes."""
    sync_begin_s: float = 0.001
    """A leader that applies beside its own write lets the sync begin first, but waits no longer
    than this for that."""
    reads_waiting_max: int = 16_384
    journal_bytes_max: int = 4096 * MIB
    tail_entries_max: int = 50_000
    """Applied entries kept in memory for peers that lag; older ones are read from the journal."""
    tail_bytes_max: int = 64 * MIB
    snapshot_log_bytes: int = 64 * MIB
    """A snapshot is due when the log has grown by this, or by the size of the last snapshot,
    whichever is more: so writing snapshots never costs more than writing the log."""
    snapshot_log_entries: int = 200_000
    """It is also due after so many entries, which bounds the time of a restart."""
    snapshot_interval_s: float = 60.0
    """Least time between two, whatever asks for them, save an operator."""
    snapshot_slice_s: float = 0.002
    """How long the loop may work on a snapshot before others get their turn."""
    snapshot_share: float = 0.25
    """Share of the loop's time that encoding a snapshot may take."""
    snapshot_queue_bytes: int = 1 * MIB
    """Encoded chunks handed to the disk at once."""
    trailing_entries: int = 10_000
    """Entries kept below a snapshot for peers that lag a little."""
    trim_slice_entries: int = 4096
    """Entries deleted in one transaction, so that no write waits long for it."""
    full_retry_s: float = 1.0
    """After how long a write that found no room is tried again."""
    install_bytes_max: int = 64 * 1024 * MIB
    """The largest snapshot taken from a leader."""
    install_reserve_bytes: int = 64 * MIB
    """What must stay free on the disk when one is taken in."""
    install_chunk_bytes: int = 64 * 1024
    """Half a second on a line of 1 Mbit/s, so that heartbeats are not held up for an election
    timeout behind it."""
    install_window_bytes_max: int = 4 * MIB
    install_bytes_per_s: int = 32 * MIB
    install_calm_s: float = 0.1
    """A chunk answered sooner widens the window, one answered later halves it."""
    install_retry_s: float = 3.0
    """After how long without an answer, or after a refusal, a snapshot is offered again."""
    hello_bytes_max: int = 4096
    hello_timeout_s: float = 5.0
    frame_bytes_max: int = 8 * MIB
    write_buffer_bytes_max: int = 8 * MIB
    inbox_messages_max: int = 8192
    """Messages of all peers that wait for a step; the link that brings one more is closed."""
    inbox_bytes_max: int = 64 * MIB
    """Bytes of their frames, likewise; eight times what an honest leader has on its way."""
    links_unnamed_max: int = 64
    """Inbound connections whose introduction is not complete."""
    links_unnamed_per_address_max: int = 8
    """The same from one address, so that no single host takes all places."""
    dial_timeout_s: float = 2.0
    redial_min_s: float = 0.05
    redial_max_s: float = 1.0
    slow_sync_s: float = 0.1

    def stretched(self, multiplier: int) -> RaftConfig:
        """For slow machines: the timers, all by one factor to keep their proportions.

        ``multiplier`` is Consul's. Our timers are made for busy machines already, so they hold for
        its default and for everything below.
        """
        factor = max(1.0, multiplier / DEFAULT_MULTIPLIER)
        stretched = ("heartbeat_s", "election_min_s", "election_max_s")
        return replace(self, **{name: getattr(self, name) * factor for name in stretched})
