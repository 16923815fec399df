"""Keys of the agent itself: who it is, what it logs, its place among coordinates."""

from __future__ import annotations

from agent.config.keys.rows import (
    BOOL,
    DURATION,
    FLOAT,
    INT,
    STRING,
    STRING_MAP,
    Key,
    ignored,
    later,
    now,
)

NODE: tuple[Key, ...] = (
    now("datacenter", STRING, "datacenter"),
    now("data_dir", STRING, "data_dir"),
    now("node_name", STRING, "node_name"),
    now("node_id", STRING, "node_id"),
    now("node_meta", STRING_MAP, "node_meta", live=True),
    now("server", BOOL, "server"),
    now("bootstrap", BOOL),
    now("bootstrap_expect", INT),
    now("leave_on_terminate", BOOL),
    now("skip_leave_on_interrupt", BOOL),
    now("rejoin_after_leave", BOOL, "rejoin_after_leave"),
    now("pid_file", STRING, "pid_file"),
    now("primary_datacenter", STRING),
    now("disable_host_node_id", BOOL, "disable_host_node_id"),
    now("protocol", INT),
    now("raft_protocol", INT),
    now("session_ttl_min", DURATION, "session_ttl_min_s"),
    later("translate_wan_addrs", BOOL, False),
    now("tagged_addresses", STRING_MAP, "tagged_addresses"),
    now("disable_coordinates", BOOL, "disable_coordinates"),
    now("sync_coordinate_interval_min", DURATION, "coordinates.sync_interval_min_s", positive=True),
    now("sync_coordinate_rate_target", FLOAT, "coordinates.sync_rate_target", positive=True),
    now("consul.coordinate.update_period", DURATION, "coordinates.update_period_s", positive=True),
    now("consul.coordinate.update_batch_size", INT, "coordinates.update_batch_size", positive=True),
    now(
        "consul.coordinate.update_max_batches", INT, "coordinates.update_max_batches", positive=True
    ),
    now("disable_remote_exec", BOOL, "disable_remote_exec"),
    ignored("disable_update_check", BOOL),
    ignored("disable_anonymous_signature", BOOL),
    # Consul's build sets these about itself, and test servers of its clients write them.
    ignored("version", STRING),
    ignored("version_prerelease", STRING),
    ignored("version_metadata", STRING),
    ignored("revision", STRING),
    ignored("build_date", STRING),
    now("enable_debug", BOOL, "enable_debug"),
    now("auto_reload_config", BOOL, "auto_reload_config"),
)

LOGS: tuple[Key, ...] = (
    now("log_level", STRING, live=True),
    now("log_json", BOOL, "log_json"),
    now("log_file", STRING, "log_file.path"),
    now("log_rotate_bytes", INT, "log_file.rotate_bytes", signed=True),
    now("log_rotate_duration", DURATION, "log_file.rotate_s"),
    now("log_rotate_max_files", INT, "log_file.max_files", signed=True),
    ignored("enable_syslog", BOOL, "enable_syslog is not supported; logs go to standard output"),
    ignored("syslog_facility", STRING),
)
