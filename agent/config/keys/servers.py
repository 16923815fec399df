"""Keys of servers: Raft, autopilot, what the first leader writes."""

from __future__ import annotations

from agent.config.keys.rows import (
    BOOL,
    DURATION,
    FLOAT,
    INT,
    OPAQUE,
    OPAQUES,
    STRING,
    Key,
    enterprise,
    ignored,
    now,
)

SERVERS: tuple[Key, ...] = (
    now("performance.raft_multiplier", INT, "raft_multiplier"),
    now("performance.raft_lease", BOOL, "raft_lease"),
    now("performance.raft_yield_when_full", BOOL, "raft_yield_when_full"),
    now("performance.leave_drain_time", DURATION, "leave_drain_s"),
    now("performance.rpc_hold_timeout", DURATION, "rpc_hold_timeout_s"),
    now("raft_snapshot_threshold", INT, "raft_snapshot_threshold", positive=True),
    now("raft_snapshot_interval", DURATION, "raft_snapshot_interval_s", positive=True),
    now("raft_trailing_logs", INT, "raft_trailing_logs"),
    ignored("raft_logstore", OPAQUE),
    ignored("raft_boltdb", OPAQUE),
    now("autopilot.cleanup_dead_servers", BOOL, "autopilot.cleanup_dead_servers"),
    now("autopilot.last_contact_threshold", DURATION, "autopilot.last_contact_threshold_s"),
    now("autopilot.max_trailing_logs", INT, "autopilot.max_trailing_logs"),
    now("autopilot.min_quorum", INT, "autopilot.min_quorum"),
    now("autopilot.server_stabilization_time", DURATION, "autopilot.server_stabilization_time_s"),
    enterprise("autopilot.redundancy_zone_tag", STRING),
    enterprise("autopilot.disable_upgrade_migration", BOOL),
    enterprise("autopilot.upgrade_version_tag", STRING),
    now("config_entries.bootstrap", OPAQUES),
    ignored("rpc.enable_streaming", BOOL),
    ignored("use_streaming_backend", BOOL),
    now("cache.entry_fetch_rate", FLOAT, "cache_entry_fetch_rate", positive=True),
    now("cache.entry_fetch_max_burst", INT, "cache_entry_fetch_max_burst", positive=True),
    now("discovery_max_stale", DURATION, "discovery_max_stale_s"),
)
