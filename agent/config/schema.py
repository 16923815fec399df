"""The agent's whole configuration as one frozen value (cli-config contract, part B).

Field names follow Consul's keys; nested stanzas are flattened with their prefix (``ports.http`` is
``port_http``). Durations are seconds and end in ``_s``; limits end in ``_max``. The loader
(agent/config/load.py) builds it and is the only place that knows how users spell things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.audit.config import SinkConfig
from agent.certificates import TlsConfig
from agent.config.bounds import Limits
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.quotas import RequestLimits
from agent.watches.plan import Watch
from raftstore.definitions import ConfigEntry
from raftstore.records import AutopilotConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipTiming:
    """Consul's `gossip_lan` / `gossip_wan` keys."""

    gossip_interval_s: float = 0.2
    gossip_nodes: int = 3
    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.5
    retransmit_mult: int = 4
    suspicion_mult: int = 4
    #: Lictor's own, see docs/operate/gossip.md. 0 turns each of them off.
    identity_reclaim_s: float = 3.0
    dead_node_reclaim_s: float = 0.0
    push_pull_strict: bool = False
    unique_node_ids: bool = True
    stall_min_s: float = 0.5
    quarantine_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateConfig:
    """How coordinates come into the catalog. Consul has the same keys without writing of them.

    Agents send theirs every ``sync_interval_min_s`` or, in a large ring, so that about
    ``sync_rate_target`` a second arrive; the leader writes at most ``update_max_batches`` of
    ``update_batch_size`` every ``update_period_s``.
    """

    sync_interval_min_s: float = 15.0
    sync_rate_target: float = 64.0
    update_period_s: float = 5.0
    update_batch_size: int = 128
    update_max_batches: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """Consul's `dns_config`, `domain`, `alt_domain` and `recursors`."""

    domain: str = "consul."
    alt_domain: str = ""
    recursors: tuple[str, ...] = ()
    recursor_timeout_s: float = 2.0
    recursor_strategy: str = "sequential"
    #: Whose questions go to the recursors; none given: this host's and those of local networks.
    recursion_allowed_cidrs: tuple[str, ...] = ()
    #: Ranges whose reverse names we alone answer: one that is not registered does not exist.
    owned_ranges: tuple[str, ...] = ()
    #: A answers in an order drawn by weight.
    weighted_order: bool = False
    #: Alike replies that one network gets over UDP in a second, 0 for any number; which part of
    #: those that are too much is sent with TC; who is not counted (nobody given: this host).
    response_rate_limit: int = 0
    response_rate_slip: int = 2
    response_rate_exempt_cidrs: tuple[str, ...] = ()
    #: Processes that answer over UDP beside the agent, 0 for none.
    workers: int = 0
    use_cache: bool = False
    cache_max_age_s: float = 0.0
    allow_stale: bool = True
    max_stale_s: float = 87600 * 3600.0
    node_ttl_s: float = 0.0
    service_ttl_s: Mapping[str, float] = field(default_factory=dict)
    enable_truncate: bool = False
    only_passing: bool = False
    udp_answer_limit: int = 3
    a_record_limit: int = 0
    disable_compression: bool = False
    enable_additional_node_meta_txt: bool = True
    soa_refresh_s: int = 3600
    soa_retry_s: int = 600
    soa_expire_s: int = 86400
    soa_min_ttl_s: int = 0

    @property
    def zones(self) -> tuple[str, ...]:
        """The domains in which we answer, without the last dot."""
        return tuple(filter(None, (self.domain.rstrip("."), self.alt_domain.rstrip("."))))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixSockets:
    """Consul's `unix_sockets`: who may open the sockets. A name or a number; a mode in octal.

    "" leaves owner and group to the system, and the socket to its owner.
    """

    user: str = ""
    group: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFileConfig:
    """``path`` "" is no file. ``max_files`` old ones are kept beside the newest: 0 all, -1 none."""

    path: str = ""
    rotate_bytes: int = 0
    rotate_s: float = 24 * 3600.0
    max_files: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRules:
    """Parts of Consul's `http_config`: what is refused, and what goes with every answer."""

    block_endpoints: tuple[str, ...] = ()
    #: Networks whose requests may change something; none: all may.
    allow_write_http_from: tuple[str, ...] = ()
    response_headers: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> tuple[str, ...]:
        """The headers as they are sent."""
        return tuple(f"{name}: {value}" for name, value in self.response_headers.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class WebUi:
    """`ui_config`: whether anything is shown, below which path, and which directory has it, "" for
    a page that says that there is no web interface."""

    on: bool = False
    path: str = "/ui/"
    directory: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """Consul's `telemetry`. The longest of the prefixes in ``allowed`` and ``blocked`` decides
    whether a metric is told, ``filter_default`` where none fits."""

    metrics_prefix: str = "lictor"
    disable_hostname: bool = False
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    filter_default: bool = True
    statsd_address: str = ""
    statsite_address: str = ""
    dogstatsd_addr: str = ""
    dogstatsd_tags: tuple[str, ...] = ()

    def tells(self, name: str) -> bool:
        """Whether the metric of this name is told."""
        fitting = [p for p in (*self.allowed, *self.blocked) if name.startswith(p)]
        longest = max(fitting, key=len, default=None)
        return self.filter_default if longest is None else longest not in self.blocked


@dataclass(frozen=True, slots=True, kw_only=True)
class AclTokens:
    """Secrets of tokens that the agent itself uses, or that its cluster begins with; "" for none.

    ``initial_management`` is created by the first leader, ``agent_recovery`` counts on this agent
    alone and without a server; the others are what the agent shows to the servers.
    """

    initial_management: str = field(default="", repr=False)
    agent_recovery: str = field(default="", repr=False)
    agent: str = field(default="", repr=False)
    default: str = field(default="", repr=False)
    replication: str = field(default="", repr=False)
    config_file_service_registration: str = field(default="", repr=False)
    dns: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AclConfig:
    """Consul's `acl` stanza. ``dry_run`` is ours: log what would be denied, and allow it."""

    enabled: bool = False
    default_policy: str = "allow"
    down_policy: str = "extend-cache"
    token_ttl_s: float = 30.0
    policy_ttl_s: float = 30.0
    role_ttl_s: float = 30.0
    enable_token_persistence: bool = False
    enable_token_replication: bool = False
    enable_key_list_policy: bool = False
    dry_run: bool = False
    #: `default_intention_policy`: "" follows ``default_policy``.
    intention_policy: str = ""
    tokens: AclTokens = AclTokens()

    @property
    def default_allow(self) -> bool:
        """Whether what no rule speaks of is allowed."""
        return not self.enabled or self.default_policy == "allow"

    @property
    def intentions_allow(self) -> bool:
        """Whether services may connect of whom no intention speaks."""
        if self.intention_policy:
            return self.intention_policy == "allow"
        return self.default_allow


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Everything an agent needs to know to start. Ports of -1 are off."""

    node_name: str
    node_id: str = ""
    #: False: the id is made of the host's, the same after each installation.
    disable_host_node_id: bool = True
    node_meta: Mapping[str, str] = field(default_factory=dict)
    datacenter: str = "dc1"
    data_dir: str = ""
    dev_mode: bool = False
    server: bool = False
    bootstrap: bool = False
    bootstrap_expect: int = 0

    bind_addr: str = "0.0.0.0"  # noqa: S104  (the contract's default; advertise_addr narrows it)
    advertise_addr: str = ""
    #: Told beside ``advertise_addr``, for those who reach this host from other networks.
    advertise_addr_wan: str = ""
    #: Where gossip listens; "" is ``bind_addr``.
    serf_lan_addr: str = ""
    serf_wan_addr: str = ""
    #: Networks whose addresses members may have; () for all.
    serf_lan_allowed_cidrs: tuple[str, ...] = ()
    serf_wan_allowed_cidrs: tuple[str, ...] = ()
    client_addrs: tuple[str, ...] = ("127.0.0.1",)
    #: Where each face listens, if not on ``client_addrs``; HTTP also on "unix:///path".
    addresses_http: tuple[str, ...] = ()
    addresses_https: tuple[str, ...] = ()
    addresses_dns: tuple[str, ...] = ()
    unix_sockets: UnixSockets = UnixSockets()
    tagged_addresses: Mapping[str, str] = field(default_factory=dict)
    port_http: int = 8500
    port_https: int = -1
    port_dns: int = 8600
    port_serf_lan: int = 8301
    #: 0 or less: this server takes no part in the pool of the servers of all datacenters.
    port_serf_wan: int = 8302
    port_server: int = 8300
    port_sidecar_min: int = 21000
    port_sidecar_max: int = 21255
    port_expose_min: int = 21500
    port_expose_max: int = 21755

    retry_join: tuple[str, ...] = ()
    retry_interval_s: float = 30.0
    retry_max: int = 0
    start_join: tuple[str, ...] = ()
    retry_join_wan: tuple[str, ...] = ()
    retry_interval_wan_s: float = 30.0
    retry_max_wan: int = 0
    start_join_wan: tuple[str, ...] = ()
    rejoin_after_leave: bool = False
    leave_on_terminate: bool = True
    skip_leave_on_interrupt: bool = False
    leave_drain_s: float = 5.0
    rpc_hold_timeout_s: float = 7.0
    #: The shortest TTL that a session may be created with through this agent.
    session_ttl_min_s: float = 10.0
    raft_multiplier: int = 5
    #: Reads by a lease of the leader instead of a quorum each time; on all servers or on none.
    raft_lease: bool = False
    #: A leader whose journal or disk is about 95 % full hands over to another server.
    raft_yield_when_full: bool = True
    #: Entries after which a server takes a snapshot (it also does when the log grew by 64 MiB),
    #: the least time between two, and the entries kept below one for servers that lag.
    raft_snapshot_threshold: int = 200_000
    raft_snapshot_interval_s: float = 60.0
    raft_trailing_logs: int = 10_000
    #: What the first leader of a cluster writes; later changes go through the operator's API.
    autopilot: AutopilotConfig = field(default_factory=AutopilotConfig)
    reconnect_timeout_s: float = 72 * 3600.0
    reconnect_timeout_wan_s: float = 72 * 3600.0
    #: What a client agent asks others to do with it once it has failed; 0: what they do with all.
    advertise_reconnect_timeout_s: float = 0.0

    encrypt: str = ""
    encrypt_verify_incoming: bool = True
    encrypt_verify_outgoing: bool = True
    disable_keyring_file: bool = False
    #: The keys that gossip starts with: of the keyring's file, or ``encrypt``.
    gossip_keys: tuple[bytes, ...] = ()
    gossip_wan_keys: tuple[bytes, ...] = ()
    tls: TlsConfig = field(default_factory=TlsConfig)
    https: TlsConfig = field(default_factory=lambda: TlsConfig(stanza="https"))
    gossip_lan: GossipTiming = GossipTiming()
    #: Further fields of `gossip.GossipConfig` that are set, or that the profile changes.
    gossip: Mapping[str, object] = field(default_factory=dict)
    gossip_wan: GossipTiming = GossipTiming(
        gossip_interval_s=0.5,
        probe_interval_s=5.0,
        probe_timeout_s=3.0,
        suspicion_mult=6,
    )
    gossip_between: Mapping[str, object] = field(default_factory=dict)
    disable_coordinates: bool = False
    coordinates: CoordinateConfig = CoordinateConfig()

    log_level: str = "INFO"
    log_json: bool = False
    log_file: LogFileConfig = field(default_factory=LogFileConfig)
    enable_debug: bool = False
    #: Files are looked at all the time, and reloaded when they have changed.
    auto_reload_config: bool = False
    #: No commands of `exec` are run here.
    disable_remote_exec: bool = True
    pid_file: str = ""

    dns: DnsConfig = DnsConfig()
    limits: Limits = field(default_factory=Limits)
    #: Where the audit log goes; nowhere when there is none.
    audit: tuple[SinkConfig, ...] = ()
    request_limits: RequestLimits = field(default_factory=RequestLimits)

    http_use_cache: bool = True
    enable_script_checks: bool = False
    enable_local_script_checks: bool = False
    check_update_interval_s: float = 300.0
    check_output_max_size: int = 4096
    discard_check_output: bool = False
    enable_agent_tls_for_checks: bool = False
    enable_central_service_config: bool = True
    services: tuple[ServiceDefinition, ...] = ()
    checks: tuple[CheckDefinition, ...] = ()
    watches: tuple[Watch, ...] = ()

    #: A client agent gets its certificate from the servers; a server gives them out.
    auto_encrypt_tls: bool = False
    auto_encrypt_allow_tls: bool = False
    connect_enabled: bool = True
    connect_builtin_proxy: str = (
        "auto"  # "auto": the agent runs sidecars; "off": somebody else does
    )
    #: Whether connections between our sidecars share warm ones: "auto", "off", "require".
    proxy_tunnel: str = "auto"
    #: How long sidecars go on without the agent, for its next start to take over; 0: not at all.
    proxy_outlives_agent_s: float = 0.0
    #: Processes that share the ports of each sidecar (SO_REUSEPORT).
    proxy_workers: int = 1
    #: Whether sidecars use the compiled form of the proxy: auto, off or require (ADR 102).
    proxy_native: str = "auto"
    #: Bounds of sidecars by name (proxy.bounds); what is not named stays as it is.
    proxy_limits: Mapping[str, float] = field(default_factory=dict)
    #: Streams of a sidecar, each way, that may go on over a connection of their own (0: none), how
    #: many bytes they must have moved, and within what time (ADR 95).
    proxy_own_streams_max: int = 8
    proxy_own_stream_bytes: int = 16 << 20
    proxy_own_stream_within_s: float = 2.0
    ca_config: Mapping[str, object] = field(default_factory=dict)
    #: Holds the key under which servers keep the mesh's signing keys; "": they lie clear.
    ca_seal_key_file: str = ""
    #: Written by the leader where there are none of that kind and name.
    config_entries: tuple[ConfigEntry, ...] = ()
    acl: AclConfig = AclConfig()
    prometheus_retention_time_s: float = 0.0
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    ui: WebUi = WebUi()
    #: How often an answer that is kept may be fetched anew, in times a second; 0 is no limit.
    cache_entry_fetch_rate: float = 0.0
    cache_entry_fetch_max_burst: int = 2
    http_rules: HttpRules = field(default_factory=HttpRules)
    #: Characters that cannot be printed may stand in paths.
    http_any_char: bool = False
    #: Reads of catalog and health that name no mode may be answered by any server that is not
    #: older than this; 0 has them answered as of now.
    discovery_max_stale_s: float = 0.0
    default_query_time_s: float = 300.0
    max_query_time_s: float = 600.0

    @property
    def http_addrs(self) -> tuple[str, ...]:
        """Where the HTTP API listens: IP addresses, or sockets as "unix:///path"."""
        return self.addresses_http or self.client_addrs

    @property
    def https_addrs(self) -> tuple[str, ...]:
        """Where the HTTP API listens with TLS."""
        return self.addresses_https or self.client_addrs

    @property
    def dns_addrs(self) -> tuple[str, ...]:
        """Where DNS listens."""
        return self.addresses_dns or self.client_addrs

    @property
    def in_wan(self) -> bool:
        """Whether this agent is a member of the pool of all datacenters' servers."""
        return self.server and self.port_serf_wan > 0

    @property
    def coordinates_enabled(self) -> bool:
        """Whether this agent measures and tells where it is, and answers about others."""
        return not self.disable_coordinates

    def __post_init__(self) -> None:
        assert self.node_name, "a node has a name"
        assert self.server or not (self.bootstrap or self.bootstrap_expect)
