"""The one table of configuration keys (cli-config contract, section B4).

Each row says how a key is spelled, what type it has, whether it counts today, which field of
``AgentConfig`` it fills, and its default where that decides whether a user set something. Whatever
else the loader knows of keys (shapes, unknown keys, flags, warnings) is derived from here. The
shapes of service and check definitions are in `definition_keys`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agent.config.definition_keys import CHECK_FIELDS, SERVICE_FIELDS, Kind, Shape
from agent.config.gossip_keys import BETTER, NUMBERS

__all__ = ["KEYS", "KEYS_BY_PATH", "REMOVED", "TREE", "Key", "Kind", "Shape", "Standing", "Tree"]

STRING, BOOL, INT, FLOAT = Kind.STRING, Kind.BOOL, Kind.INT, Kind.FLOAT
DURATION, STRINGS, STRING_MAP = Kind.DURATION, Kind.STRINGS, Kind.STRING_MAP
DURATION_MAP, OPAQUE, OPAQUES = Kind.DURATION_MAP, Kind.OPAQUE, Kind.OPAQUES


class Standing(enum.Enum):
    """What becomes of a key that a user sets."""

    #: It fills a field of the configuration.
    NOW = "now"
    #: Part of the contract, not built yet: accepted, and a warning when it asks for something.
    LATER = "later"
    #: Accepted without effect for good; ``note`` is the warning, "" means without a word.
    IGNORED = "ignored"
    #: An error; ``note`` is its text.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One row. ``target`` is a field such as "node_name" or "dns.node_ttl_s"; "" where agent/
    config/build.py works the field out from several keys. ``default`` counts for LATER and REFUSED
    keys only: setting a key to it asks for nothing."""

    path: str
    kind: Kind | Shape
    standing: Standing = Standing.NOW
    target: str = ""
    default: Any = None
    note: str = ""


def _now(path: str, kind: Kind | Shape, target: str = "") -> Key:
    return Key(path=path, kind=kind, target=target)


def _later(path: str, kind: Kind | Shape, default: Any = None) -> Key:
    return Key(path=path, kind=kind, standing=Standing.LATER, default=default)


def _ignored(path: str, kind: Kind | Shape, note: str = "") -> Key:
    return Key(path=path, kind=kind, standing=Standing.IGNORED, note=note)


def _refused(path: str, kind: Kind | Shape, note: str, default: Any = None) -> Key:
    return Key(path=path, kind=kind, standing=Standing.REFUSED, note=note, default=default)


def _enterprise(path: str, kind: Kind | Shape) -> Key:
    top = path.split(".")[0]
    return _ignored(
        path, kind, f'"{top}" is a Consul Enterprise configuration and will have no effect'
    )


_NODE = (
    _now("datacenter", STRING, "datacenter"),
    _now("data_dir", STRING, "data_dir"),
    _now("node_name", STRING, "node_name"),
    _now("node_id", STRING, "node_id"),
    _now("node_meta", STRING_MAP, "node_meta"),
    _now("server", BOOL, "server"),
    _now("bootstrap", BOOL),
    _now("bootstrap_expect", INT),
    _now("leave_on_terminate", BOOL),
    _now("skip_leave_on_interrupt", BOOL),
    _now("rejoin_after_leave", BOOL, "rejoin_after_leave"),
    _now("pid_file", STRING, "pid_file"),
    _now("log_level", STRING),
    _now("log_json", BOOL, "log_json"),
    _later("log_file", STRING, ""),
    _later("log_rotate_bytes", INT, 0),
    _later("log_rotate_duration", DURATION, "24h"),
    _later("log_rotate_max_files", INT, 0),
    _ignored("enable_syslog", BOOL, "enable_syslog is not supported; logs go to standard output"),
    _ignored("syslog_facility", STRING),
    _later("primary_datacenter", STRING, ""),
    _later("disable_host_node_id", BOOL, True),
    _now("protocol", INT),
    _now("raft_protocol", INT),
    _now("session_ttl_min", DURATION, "session_ttl_min_s"),
    _later("translate_wan_addrs", BOOL, False),
    _now("tagged_addresses", STRING_MAP, "tagged_addresses"),
    _now("disable_coordinates", BOOL, "disable_coordinates"),
    _now("sync_coordinate_interval_min", DURATION, "coordinates.sync_interval_min_s"),
    _now("sync_coordinate_rate_target", FLOAT, "coordinates.sync_rate_target"),
    _now("consul.coordinate.update_period", DURATION, "coordinates.update_period_s"),
    _now("consul.coordinate.update_batch_size", INT, "coordinates.update_batch_size"),
    _now("consul.coordinate.update_max_batches", INT, "coordinates.update_max_batches"),
    _later("disable_remote_exec", BOOL, True),
    _ignored("disable_update_check", BOOL),
    _ignored("disable_anonymous_signature", BOOL),
    _now("enable_debug", BOOL, "enable_debug"),
    _later("auto_reload_config", BOOL, False),
)

_NETWORK = (
    _now("bind_addr", STRING),
    _now("advertise_addr", STRING),
    _now("advertise_addr_ipv4", STRING),
    _now("advertise_addr_ipv6", STRING),
    _later("advertise_addr_wan", STRING, ""),
    _later("advertise_addr_wan_ipv4", STRING, ""),
    _later("advertise_addr_wan_ipv6", STRING, ""),
    _now("client_addr", STRING),
    _later("addresses.dns", STRING, ""),
    _later("addresses.http", STRING, ""),
    _later("addresses.https", STRING, ""),
    _later("addresses.grpc", STRING, ""),
    _now("ports.dns", INT, "port_dns"),
    _now("ports.http", INT, "port_http"),
    _later("ports.https", INT, -1),
    _later("ports.grpc", INT, -1),
    _later("ports.grpc_tls", INT, -1),
    _now("ports.serf_lan", INT, "port_serf_lan"),
    _later("ports.serf_wan", INT, 8302),
    _now("ports.server", INT, "port_server"),
    _now("ports.sidecar_min_port", INT, "port_sidecar_min"),
    _now("ports.sidecar_max_port", INT, "port_sidecar_max"),
    _later("ports.expose_min_port", INT, 21500),
    _later("ports.expose_max_port", INT, 21755),
    _ignored("ports.proxy_min_port", INT),
    _ignored("ports.proxy_max_port", INT),
    _later("serf_lan", STRING, ""),
    _later("serf_wan", STRING, ""),
    _later("serf_lan_allowed_cidrs", STRINGS, ()),
    _later("serf_wan_allowed_cidrs", STRINGS, ()),
    _now("retry_join", STRINGS),
    _now("retry_interval", DURATION, "retry_interval_s"),
    _now("retry_max", INT, "retry_max"),
    _later("retry_join_wan", STRINGS, ()),
    _later("retry_interval_wan", DURATION, "30s"),
    _later("retry_max_wan", INT, 0),
    _now("start_join", STRINGS),
    _later("start_join_wan", STRINGS, ()),
    _now("reconnect_timeout", DURATION, "reconnect_timeout_s"),
    _later("reconnect_timeout_wan", DURATION, "72h"),
    _now("advertise_reconnect_timeout", DURATION, "advertise_reconnect_timeout_s"),
    _now("encrypt", STRING, "encrypt"),
    _now("encrypt_verify_incoming", BOOL, "encrypt_verify_incoming"),
    _now("encrypt_verify_outgoing", BOOL, "encrypt_verify_outgoing"),
    _now("disable_keyring_file", BOOL, "disable_keyring_file"),
    _later("unix_sockets.user", STRING, ""),
    _later("unix_sockets.group", STRING, ""),
    _later("unix_sockets.mode", STRING, ""),
    _refused("primary_gateways", STRINGS, "primary_gateways is not supported", ()),
    _ignored("primary_gateways_interval", DURATION),
)

_TIMING = tuple(
    row
    for prefix, now in (("gossip_lan", True), ("gossip_wan", False))
    for row in (
        Key(
            path=f"{prefix}.{name}",
            kind=kind,
            standing=Standing.NOW if now else Standing.LATER,
            target=f"gossip_lan.{field}" if now else "",
            default=None if now else wan_default,
        )
        for name, kind, field, wan_default in (
            ("gossip_interval", DURATION, "gossip_interval_s", "500ms"),
            ("gossip_nodes", INT, "gossip_nodes", 3),
            ("probe_interval", DURATION, "probe_interval_s", "5s"),
            ("probe_timeout", DURATION, "probe_timeout_s", "3s"),
            ("retransmit_mult", INT, "retransmit_mult", 4),
            ("suspicion_mult", INT, "suspicion_mult", 6),
        )
    )
)

_GOSSIP = (
    _now("gossip_lan.profile", STRING, "gossip.profile"),
    *(_now(f"gossip_lan.{name}", kind, f"gossip_lan.{field}") for name, kind, field in BETTER),
    *(_now(f"gossip_lan.{name}", kind, f"gossip.{field}") for name, kind, field in NUMBERS),
)

_SERVER = (
    _now("performance.raft_multiplier", INT, "raft_multiplier"),
    _now("performance.raft_lease", BOOL, "raft_lease"),
    _now("performance.raft_yield_when_full", BOOL, "raft_yield_when_full"),
    _now("performance.leave_drain_time", DURATION, "leave_drain_s"),
    _now("performance.rpc_hold_timeout", DURATION, "rpc_hold_timeout_s"),
    _now("raft_snapshot_threshold", INT, "raft_snapshot_threshold"),
    _now("raft_snapshot_interval", DURATION, "raft_snapshot_interval_s"),
    _now("raft_trailing_logs", INT, "raft_trailing_logs"),
    _ignored("raft_logstore", OPAQUE),
    _ignored("raft_boltdb", OPAQUE),
    _now("autopilot.cleanup_dead_servers", BOOL, "autopilot.cleanup_dead_servers"),
    _now("autopilot.last_contact_threshold", DURATION, "autopilot.last_contact_threshold_s"),
    _now("autopilot.max_trailing_logs", INT, "autopilot.max_trailing_logs"),
    _now("autopilot.min_quorum", INT, "autopilot.min_quorum"),
    _now("autopilot.server_stabilization_time", DURATION, "autopilot.server_stabilization_time_s"),
    _enterprise("autopilot.redundancy_zone_tag", STRING),
    _enterprise("autopilot.disable_upgrade_migration", BOOL),
    _enterprise("autopilot.upgrade_version_tag", STRING),
    _later("config_entries.bootstrap", OPAQUES, ()),
    _now("limits.http_max_conns_per_client", INT, "limits.http_max_conns_per_client"),
    _later("limits.https_handshake_timeout", DURATION, "5s"),
    _now("limits.rpc_handshake_timeout", DURATION, "limits.rpc_handshake_timeout_s"),
    _later("limits.rpc_rate", FLOAT, -1),
    _later("limits.rpc_max_burst", INT, 1000),
    _now("limits.rpc_handshakes_max", INT, "limits.rpc_handshakes_max"),
    _now("limits.rpc_handshakes_per_second", FLOAT, "limits.rpc_handshakes_per_second"),
    _now("limits.rpc_handshakes_per_client", FLOAT, "limits.rpc_handshakes_per_client"),
    _now("limits.rpc_client_bytes_max", INT, "limits.rpc_client_bytes_max"),
    _now("limits.rpc_max_conns_per_client", INT, "limits.rpc_max_conns_per_client"),
    _now("limits.kv_max_value_size", INT, "limits.kv_max_value_size"),
    _now("limits.txn_max_req_len", INT, "limits.txn_max_req_len"),
    _now("limits.archive_max_size", INT, "limits.archive_max_size"),
    _now("limits.archive_max_unpacked_size", INT, "limits.archive_max_unpacked_size"),
    _now("limits.archive_timeout", DURATION, "limits.archive_timeout_s"),
    _now("limits.archives_max", INT, "limits.archives_max"),
    _ignored("limits.request_limits", OPAQUE, "limits.request_limits is not supported"),
    _ignored("rpc.enable_streaming", BOOL),
    _ignored("use_streaming_backend", BOOL),
    _later("cache.entry_fetch_rate", FLOAT, None),
    _later("cache.entry_fetch_max_burst", INT, 2),
    _later("discovery_max_stale", DURATION, "0s"),
)

_DNS = (
    _now("domain", STRING),
    _now("alt_domain", STRING),
    _now("recursors", STRINGS),
    _now("dns_config.recursor_timeout", DURATION, "dns.recursor_timeout_s"),
    _later("dns_config.recursor_strategy", STRING, "sequential"),
    _now("dns_config.allow_stale", BOOL, "dns.allow_stale"),
    _now("dns_config.max_stale", DURATION, "dns.max_stale_s"),
    _now("dns_config.node_ttl", DURATION, "dns.node_ttl_s"),
    _now("dns_config.service_ttl", DURATION_MAP, "dns.service_ttl_s"),
    _now("dns_config.enable_truncate", BOOL, "dns.enable_truncate"),
    _now("dns_config.only_passing", BOOL, "dns.only_passing"),
    _now("dns_config.udp_answer_limit", INT, "dns.udp_answer_limit"),
    _now("dns_config.a_record_limit", INT, "dns.a_record_limit"),
    _now("dns_config.disable_compression", BOOL, "dns.disable_compression"),
    _now("dns_config.enable_additional_node_meta_txt", BOOL, "dns.enable_additional_node_meta_txt"),
    _now("dns_config.soa.refresh", INT, "dns.soa_refresh_s"),
    _now("dns_config.soa.retry", INT, "dns.soa_retry_s"),
    _now("dns_config.soa.expire", INT, "dns.soa_expire_s"),
    _now("dns_config.soa.min_ttl", INT, "dns.soa_min_ttl_s"),
    _later("dns_config.use_cache", BOOL, False),
    _later("dns_config.cache_max_age", DURATION, "0s"),
    _enterprise("dns_config.prefer_namespace", BOOL),
)

_HTTP = (
    _now("default_query_time", DURATION, "default_query_time_s"),
    _now("max_query_time", DURATION, "max_query_time_s"),
    _later("http_config.response_headers", STRING_MAP, {}),
    _later("http_config.block_endpoints", STRINGS, ()),
    _later("http_config.allow_write_http_from", STRINGS, ()),
    _later("http_config.use_cache", BOOL, True),
    _now("http_config.max_header_bytes", INT, "limits.http_header_max"),
    _later("disable_http_unprintable_char_filter", BOOL, False),
    _now("ui_config.enabled", BOOL, "ui_enabled"),
    _later("ui_config.dir", STRING, ""),
    _later("ui_config.content_path", STRING, "/ui/"),
    _ignored("ui_config.metrics_provider", STRING),
    _ignored("ui_config.metrics_provider_files", STRINGS),
    _ignored("ui_config.metrics_provider_options_json", STRING),
    _ignored("ui_config.metrics_proxy", OPAQUE),
    _ignored("ui_config.dashboard_url_templates", STRING_MAP),
    _now("ui", BOOL),
    _now("ui_dir", STRING),
    _now("ui_content_path", STRING),
)

_LOCAL = (
    _now("services", Shape(SERVICE_FIELDS, form="many"), "services"),
    _now("service", Shape(SERVICE_FIELDS)),
    _now("checks", Shape(CHECK_FIELDS, form="many"), "checks"),
    _now("check", Shape(CHECK_FIELDS)),
    _now("enable_script_checks", BOOL, "enable_script_checks"),
    _now("enable_local_script_checks", BOOL, "enable_local_script_checks"),
    _now("check_update_interval", DURATION, "check_update_interval_s"),
    _now("check_output_max_size", INT, "check_output_max_size"),
    _now("discard_check_output", BOOL, "discard_check_output"),
    _later("enable_agent_tls_for_checks", BOOL, False),
    _later("enable_central_service_config", BOOL, True),
    _later("watches", OPAQUES, ()),
)

_TELEMETRY = (
    _now(
        "telemetry.prometheus_retention_time", DURATION, "prometheus_retention_time_s"
    ),
    _later("telemetry.metrics_prefix", STRING, "consul"),
    _later("telemetry.disable_hostname", BOOL, False),
    _later("telemetry.prefix_filter", STRINGS, ()),
    _later("telemetry.filter_default", BOOL, True),
    _later("telemetry.statsd_address", STRING, ""),
    _later("telemetry.statsite_address", STRING, ""),
    _later("telemetry.dogstatsd_addr", STRING, ""),
    _later("telemetry.dogstatsd_tags", STRINGS, ()),
    *(
        _ignored(f"telemetry.circonus_{name}", STRING, "telemetry.circonus_* has no effect")
        for name in (
            "api_app", "api_token", "api_url", "broker_id", "broker_select_tag",
            "check_display_name", "check_force_metric_activation", "check_id",
            "check_instance_id", "check_search_tag", "check_tags", "submission_interval",
            "submission_url",
        )
    ),
    _ignored("telemetry.disable_compat_1.9", BOOL),
    _ignored("telemetry.enable_host_metrics", BOOL),
    _ignored("telemetry.retry_failed_connection", BOOL),
)  # fmt: skip

_MESH = (
    _now("connect.enabled", BOOL, "connect_enabled"),
    _now("connect.builtin_proxy", STRING, "connect_builtin_proxy"),
    _now("connect.ca_provider", STRING),
    _now("connect.ca_config", OPAQUE, "ca_config"),
    _refused(
        "connect.enable_mesh_gateway_wan_federation",
        BOOL,
        "connect.enable_mesh_gateway_wan_federation is not supported",
        False,
    ),
    _later("auto_encrypt.tls", BOOL, False),
    _later("auto_encrypt.allow_tls", BOOL, False),
    _later("auto_encrypt.dns_san", STRINGS, ()),
    _later("auto_encrypt.ip_san", STRINGS, ()),
    _refused("auto_config", OPAQUE, "auto_config is not supported", {}),
    _later("peering.enabled", BOOL, False),
    _ignored("experiments", STRINGS),
    _ignored("xds", OPAQUE, "xds has no effect: there is no xDS server"),
)

_ACL = (
    _later("acl.enabled", BOOL, False),
    _later("acl.default_policy", STRING, "allow"),
    _later("acl.down_policy", STRING, "extend-cache"),
    _later("acl.token_ttl", DURATION, "30s"),
    _later("acl.policy_ttl", DURATION, "30s"),
    _later("acl.role_ttl", DURATION, "30s"),
    _later("acl.enable_token_persistence", BOOL, False),
    _later("acl.enable_token_replication", BOOL, False),
    _later("acl.enable_key_list_policy", BOOL, False),
    *(
        _later(f"acl.tokens.{name}", STRING, "")
        for name in (
            "initial_management", "master", "agent_recovery", "agent_master", "agent", "default",
            "replication", "config_file_service_registration", "dns",
        )
    ),
    _ignored("acl.tokens.managed_service_provider", OPAQUES),
    _ignored("acl.msp_disable_bootstrap", BOOL),
    _later("acl_datacenter", STRING, ""),
    _later("acl_default_policy", STRING, "allow"),
    _later("acl_down_policy", STRING, "extend-cache"),
    _later("acl_ttl", DURATION, "30s"),
    _later("enable_acl_replication", BOOL, False),
    _later("acl_enable_key_list_policy", BOOL, False),
    _later("acl_master_token", STRING, ""),
    _later("acl_agent_master_token", STRING, ""),
    _later("acl_agent_token", STRING, ""),
    _later("acl_token", STRING, ""),
    _later("acl_replication_token", STRING, ""),
    _ignored(
        "acl_enforce_version_8",
        BOOL,
        'config key "acl_enforce_version_8" is deprecated and should be removed',
    ),
)  # fmt: skip

_CERTIFICATES: Mapping[str, Kind] = {
    "ca_file": STRING,
    "ca_path": STRING,
    "cert_file": STRING,
    "key_file": STRING,
    "verify_incoming": BOOL,
    "verify_outgoing": BOOL,
    "verify_server_hostname": BOOL,
    "tls_min_version": STRING,
    "tls_cipher_suites": STRING,
}
_OFF: Mapping[Kind, Any] = {STRING: "", BOOL: False}


def _tls(path: str, kind: Kind) -> Key:
    """Counts for the server port; what is for other faces only, or not built, counts later."""
    stanza, _, name = path.rpartition(".")
    built = stanza in {"", "tls.defaults", "tls.internal_rpc"} and name != "tls_cipher_suites"
    if stanza == "tls.defaults" and name == "verify_server_hostname":
        built = False  # it belongs to the stanza of the server port
    return _now(path, kind) if built else _later(path, kind, _OFF[kind])


_TLS = (
    *(_tls(name, kind) for name, kind in _CERTIFICATES.items()),
    _now("verify_incoming_rpc", BOOL),
    _now("tls.internal_rpc.require_node_id", BOOL),
    _later("verify_incoming_https", BOOL, False),
    _later("server_name", STRING, ""),
    _ignored("tls_prefer_server_cipher_suites", BOOL),
    *(
        _tls(f"tls.{stanza}.{name}", kind)
        for stanza in ("defaults", "https", "internal_rpc", "grpc")
        for name, kind in _CERTIFICATES.items()
    ),
    _later("tls.grpc.use_auto_cert", BOOL, False),
)  # fmt: skip

_ENTERPRISE = (
    _enterprise("audit", OPAQUE),
    _enterprise("license_path", STRING),
    _enterprise("read_replica", BOOL),
    _enterprise("non_voting_server", BOOL),
    _enterprise("snapshot_agent", OPAQUE),
    _enterprise("cloud", OPAQUE),
    _enterprise("reporting", OPAQUE),
    _enterprise("locality", OPAQUE),
    _refused("partition", STRING, "partition is not supported", "default"),
    _refused("segment", STRING, "Network segments are not supported in this version of Consul", ""),
    _refused(
        "segments", OPAQUES, "Network segments are not supported in this version of Consul", ()
    ),
)

KEYS: tuple[Key, ...] = (
    *_NODE,
    *_NETWORK,
    *_TIMING,
    *_GOSSIP,
    *_SERVER,
    *_DNS,
    *_HTTP,
    *_LOCAL,
    *_TELEMETRY,
    *_MESH,
    *_ACL,
    *_TLS,
    *_ENTERPRISE,
)
KEYS_BY_PATH: Mapping[str, Key] = {key.path: key for key in KEYS}

#: Keys that older releases had -> what to use instead.
REMOVED: Mapping[str, str] = {
    "advertise_addrs": "advertise_addr",
    "http_api_response_headers": "http_config.response_headers",
    "recursor": "recursors",
    "statsd_addr": "telemetry.statsd_address",
    "statsite_addr": "telemetry.statsite_address",
    "statsite_prefix": "telemetry.metrics_prefix",
    "dogstatsd_addr": "telemetry.dogstatsd_addr",
    "dogstatsd_tags": "telemetry.dogstatsd_tags",
    "atlas_acl_token": "",
    "atlas_endpoint": "",
    "atlas_infrastructure": "",
    "atlas_join": "",
    "atlas_token": "",
}

Tree: TypeAlias = "dict[str, Tree | Kind | Shape]"


def _tree() -> Tree:
    root: Tree = {}
    for key in KEYS:
        *stanzas, name = key.path.split(".") if key.path not in _DOTTED else _DOTTED[key.path]
        level = root
        for stanza in stanzas:
            inner = level.setdefault(stanza, {})
            assert isinstance(inner, dict), f"{key.path} lies below a plain key"
            level = inner
        assert name not in level, f"{key.path} stands twice in the table"
        level[name] = key.kind
    return root


#: Names with a dot in them.
_DOTTED = {"telemetry.disable_compat_1.9": ("telemetry", "disable_compat_1.9")}

#: The keys as nested stanzas: what a file may look like.
TREE: Tree = _tree()
