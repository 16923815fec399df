"""Limits and settings of the replicated store, each with its trade-off.

Values only; agent/config says where an operator may set them.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLimits:
    """Bounds on what the state machine remembers beside the catalog itself.

    All servers of a cluster must agree on them: they decide what is forgotten, and what is
    forgotten is part of the state.
    """

    #: Deleted keys whose index is remembered one by one. When more are deleted the oldest share
    #: one index: watchers of a prefix may then wake in vain, never too late.
    tombstones_max: int = 4096
    #: Outcomes remembered per sender. Must exceed what one agent has in flight.
    outcomes_max: int = 8192
    #: Bytes of the remembered outcomes over 256 bytes (answers of transactions), of all senders
    #: together. Must exceed what all agents have in flight: of the oldest past it only that they
    #: were is kept, and who asks again for one is told that its answer is gone.
    outcomes_bytes_max: int = 64 * 1024 * 1024
    #: Senders (boots of agents) with remembered outcomes. The longest silent one goes first.
    senders_max: int = 4096
    #: Sessions whose end is remembered, to explain it.
    ended_sessions_max: int = 1024
    #: Operations of one transaction (Consul's present limit; its faces may allow fewer).
    txn_operations_max: int = 128
    #: Rows that a transaction that writes gives back: each is read and written out in the step in
    #: which the transaction is applied, on every server. One with more is refused whole.
    txn_results_max: int = 1024
    #: Bytes of the same.
    txn_results_bytes_max: int = 2 * 1024 * 1024
    #: The same of one that only reads: less than a frame between agents carries.
    txn_read_bytes_max: int = 7 * 1024 * 1024
    #: Replicated seconds after which a silent sender is forgotten (raft-engine contract 2.8).
    sender_idle_s: float = 3600.0
    #: Row writes that the journal of changes keeps, those of rows' and tables' indexes included
    #: (two per write of a key, about six per registration). Reading an earlier state walks over
    #: what came after it on the loop: so many take some 5 ms.
    history_entries_max: int = 65_536
    #: Bytes that the journal may hold on to, by estimate. A snapshot grows by up to twice that.
    history_bytes_max: int = 32 * 1024 * 1024
    #: Bytes of an archive that is being restored, as they are staged (compressed), until it is put
    #: in force. They are held in memory beside the state that they make, and are in snapshots.
    staged_bytes_max: int = 4 * 1024 * 1024 * 1024
    #: Replicated seconds after which an archive whose parts stopped coming is forgotten.
    staged_idle_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Settings of one server's store."""

    node_id: str
    #: Where the journal lives; "" keeps everything in memory (development mode).
    data_dir: str = ""
    #: Stretches election and lease times, 1 to 10; higher is calmer on slow machines.
    raft_multiplier: int = 5
    #: Serve linearizable reads by a lease instead of asking a quorum each time. On all servers or
    #: on none, and only where clocks run at the same pace within 5 %.
    raft_lease: bool = False
    #: A leader whose journal or disk is about 95 % full hands over, once, for another may have
    #: room; without it, it stays and refuses writes until there is room.
    yield_when_full: bool = True
    #: Entries since the last snapshot that make the next one due.
    snapshot_entries: int = 200_000
    #: Least time between two snapshots, in seconds.
    snapshot_interval_s: float = 60.0
    #: Entries kept below a snapshot, for servers that lag a little.
    trailing_entries: int = 10_000
    #: Queries that may wait at once on this server; one more is refused.
    blocking_queries_max: int = 65_536
    #: How long a proposal may take when its caller sets no time, in seconds.
    propose_timeout_s: float = 10.0
    #: Size of the journal's memory map: the most the log may ever take on disk.
    journal_bytes_max: int = 4096 * 1024 * 1024
    state: StateLimits = field(default_factory=StateLimits)
