"""The values that the replicated catalog holds.

Records are frozen and know nothing of JSON, HTTP or the log. Two of them are equal when a client
could not tell them apart, apart from their indexes; ``same_content`` compares without indexes, so
that registering a thing again unchanged raises no index (http-api contract, section 1.9).
New fields are appended with a default: the position of a field is part of the format on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType, TypeVar

from raftstore.places import Locality, ServicePort
from raftstore.thawed import copier_of

NodeName = NewType("NodeName", str)
NodeId = NewType("NodeId", str)
ServiceId = NewType("ServiceId", str)
ServiceName = NewType("ServiceName", str)
CheckId = NewType("CheckId", str)

#: Plain data without behaviour as it came from JSON: None, bool, int, float, str, list, dict.
Json = Any

PASSING = "passing"
WARNING = "warning"
CRITICAL = "critical"
WEIGHT_MAX = 65535  # it has 16 bits in an SRV record (RFC 2782)

SERF_HEALTH = CheckId("serfHealth")
CONSUL_SERVICE = ServiceId("consul")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A host. ``id`` is a UUID or empty; None in the maps means "never given" (JSON null)."""

    name: NodeName
    id: NodeId = NodeId("")
    address: str = ""
    datacenter: str = ""
    tagged_addresses: Mapping[str, str] | None = None
    meta: Mapping[str, str] | None = None
    create_index: int = 0
    modify_index: int = 0
    locality: Locality | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """Share of traffic while passing and while warning, 0 to ``WEIGHT_MAX``."""

    passing: int = 1
    warning: int = 1

    @property
    def in_range(self) -> bool:
        """Whether they can be stored. A catalog registration with others counts as one without."""
        return 1 <= self.passing <= WEIGHT_MAX and 0 <= self.warning <= WEIGHT_MAX


@dataclass(frozen=True, slots=True)
class TaggedAddress:
    """Where else a service can be reached, under a name such as ``lan`` or ``wan``."""

    address: str
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A service that a sidecar makes reachable on a local port or unix socket."""

    destination_type: str = ""
    destination_name: str = ""
    datacenter: str = ""
    local_bind_address: str = ""
    local_bind_port: int = 0
    local_bind_socket_path: str = ""
    local_bind_socket_mode: str = ""
    config: Mapping[str, Json] | None = None
    mesh_gateway_mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposePath:
    """A path of the application that the sidecar serves in the clear."""

    path: str = ""
    listener_port: int = 0
    local_path_port: int = 0
    protocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """What makes a registration a proxy (kind connect-proxy and the gateways)."""

    destination_service_name: str = ""
    destination_service_id: str = ""
    local_service_address: str = ""
    local_service_port: int = 0
    local_service_socket_path: str = ""
    mode: str = ""
    config: Mapping[str, Json] | None = None
    upstreams: tuple[Upstream, ...] = ()
    mesh_gateway_mode: str = ""
    expose_checks: bool = False
    expose_paths: tuple[ExposePath, ...] = ()
    outbound_listener_port: int = 0
    dialed_directly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One instance of a service on one node."""

    node: NodeName = NodeName("")
    id: ServiceId
    name: ServiceName
    kind: str = ""
    tags: tuple[str, ...] = ()
    address: str = ""
    tagged_addresses: Mapping[str, TaggedAddress] | None = None
    port: int = 0
    socket_path: str = ""
    meta: Mapping[str, str] | None = None
    weights: Weights = Weights()
    enable_tag_override: bool = False
    proxy: Proxy = Proxy()
    connect_native: bool = False
    create_index: int = 0
    modify_index: int = 0
    ports: tuple[ServicePort, ...] = ()
    locality: Locality | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The state of one health check. An empty ``service_id`` makes it a check of the node.

    ``interval`` and ``timeout`` are duration strings as clients see them; ``definition`` is the
    client's JSON object for catalog registrations, {} for checks that an agent runs.
    """

    node: NodeName = NodeName("")
    id: CheckId
    name: str = ""
    status: str = CRITICAL
    notes: str = ""
    output: str = ""
    service_id: ServiceId = ServiceId("")
    service_name: ServiceName = ServiceName("")
    service_tags: tuple[str, ...] = ()
    type: str = ""
    interval: str = ""
    timeout: str = ""
    exposed_port: int = 0
    definition: Mapping[str, Json] = field(default_factory=dict)
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KVPair:
    """A key. ``session`` holds the lock's owner; ``lock_index`` counts fresh acquisitions."""

    key: str
    value: bytes = b""
    flags: int = 0
    lock_index: int = 0
    session: str = ""
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentionSource:
    """What one source may do to the destination that holds this entry.

    Exactly one of ``action`` ("allow", "deny" or "audit") and ``permissions`` (L7, Consul's JSON
    objects in order) is set. ``legacy_*`` belong to the id-style endpoints; times are RFC 3339
    text.
    """

    name: ServiceName
    action: str = ""
    permissions: tuple[Mapping[str, Json], ...] = ()
    precedence: int = 0
    description: str = ""
    type: str = "consul"
    legacy_id: str = ""
    legacy_meta: Mapping[str, str] | None = None
    legacy_create_time: str = ""
    legacy_update_time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceIntentions:
    """All intentions about one destination, sources ordered by precedence (mesh contract B.1)."""

    name: ServiceName
    sources: tuple[IntentionSource, ...] = ()
    meta: Mapping[str, str] | None = None
    create_index: int = 0
    modify_index: int = 0
    #: The tokens that the destination wants, as in the config entry; None for none.
    jwt: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intention:
    """One source and one destination: the flat view of a ``ServiceIntentions`` entry."""

    destination: ServiceName
    source: IntentionSource
    create_index: int = 0
    modify_index: int = 0
    jwt: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CARoot:
    """A root certificate, without its key. Times are RFC 3339 text in UTC."""

    id: str
    name: str
    serial_number: int
    signing_key_id: str
    external_trust_domain: str
    not_before: str
    not_after: str
    root_cert: str
    intermediate_certs: tuple[str, ...] = ()
    active: bool = True
    private_key_type: str = "ec"
    private_key_bits: int = 256
    rotated_out_at: str = ""
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CAConfig:
    """Configuration of the certificate authority. ``cluster_id`` is the trust domain's UUID."""

    provider: str = "consul"
    cluster_id: str = ""
    config: Mapping[str, Json] = field(default_factory=dict)
    state: Mapping[str, str] | None = None
    force_without_cross_signing: bool = False
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CAProviderState:
    """The signing key of the built-in provider. Never leaves the servers, never rendered.

    ``intermediate_cert`` is the root as the former one signed it. ``signing_chain`` is there where
    the root's key is kept elsewhere: the certificate of ``private_key`` and those up to the root,
    without that.
    """

    root_id: str
    private_key: str
    root_cert: str
    intermediate_cert: str = ""
    signing_chain: str = ""


@dataclass(frozen=True, slots=True)
class ServiceCheckRef:
    """A check of a service that a session is bound to, as clients name it."""

    id: CheckId
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a lock belongs to: it ends with its node, its checks, its TTL, or when destroyed.

    ``ttl`` is the client's text, ``ttl_ns`` the same in nanoseconds (0: it never runs out).
    ``checks`` is the deprecated list, None when it was not used; ``service_checks`` is None when
    none were named. Behaviour decides what becomes of the keys it holds.
    """

    id: str
    name: str = ""
    node: NodeName = NodeName("")
    lock_delay_ns: int = 15_000_000_000
    behavior: Literal["release", "delete"] = "release"
    ttl: str = ""
    ttl_ns: int = 0
    node_checks: tuple[CheckId, ...] = ()
    service_checks: tuple[ServiceCheckRef, ...] | None = None
    checks: tuple[CheckId, ...] | None = None
    create_index: int = 0
    modify_index: int = 0

    def bound_to(self) -> tuple[CheckId, ...]:
        """Every check whose failure ends the session, each once."""
        services = [ref.id for ref in self.service_checks or ()]
        return tuple(dict.fromkeys([*(self.checks or ()), *self.node_checks, *services]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """When and why a session ended. ``at`` is replicated time, in seconds since 1970."""

    session: Session
    index: int
    at: float
    cause: str
    keys: int = 0


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """A session that runs out unless it is renewed."""

    id: str
    ttl_ns: int
    create_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TxnKV:
    """An operation on a key. ``index`` is compared by the cas, check-index and delete-cas verbs."""

    verb: str
    key: str = ""
    value: bytes = b""
    flags: int = 0
    index: int = 0
    session: str = ""


@dataclass(frozen=True, slots=True)
class TxnNode:
    """An operation on a node; its ``modify_index`` is what cas verbs compare."""

    verb: str
    node: Node


@dataclass(frozen=True, slots=True)
class TxnService:
    """An operation on a service of a node; as for nodes."""

    verb: str
    node: NodeName
    service: Service


@dataclass(frozen=True, slots=True)
class TxnCheck:
    """An operation on a check; as for nodes."""

    verb: str
    check: Check


@dataclass(frozen=True, slots=True)
class TxnSession:
    """An operation on a session: only "delete"."""

    verb: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TxnOperation:
    """One step of a transaction: the first part that is there; with none it does nothing."""

    kv: TxnKV | None = None
    node: TxnNode | None = None
    service: TxnService | None = None
    check: TxnCheck | None = None
    session: TxnSession | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TxnResult:
    """What one step gives back: exactly one of these."""

    kv: KVPair | None = None
    node: Node | None = None
    service: Service | None = None
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class TxnError:
    """Why a step failed. ``index`` counts the operations from 0."""

    index: int
    what: str


@dataclass(frozen=True, slots=True)
class TxnAnswer:
    """What a transaction gave: results, or with any error none at all."""

    results: tuple[TxnResult, ...] = ()
    errors: tuple[TxnError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotConfig:
    """How the leader looks after the servers (agent contract, section 7). Times in seconds.

    The last three fields mean nothing here; they are kept for clients that write them.
    """

    cleanup_dead_servers: bool = True
    last_contact_threshold_s: float = 0.2
    max_trailing_logs: int = 250
    min_quorum: int = 0
    server_stabilization_time_s: float = 10.0
    redundancy_zone_tag: str = ""
    disable_upgrade_migration: bool = False
    upgrade_version_tag: str = ""
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """An archive that took the place of the state. Times are replicated ones, in seconds.

    ``saved_index`` and ``saved_cluster`` say where it was saved. Its rows have ``begun_index``, the
    index at which the restore began; its bytes are as they were staged.
    """

    id: str
    saved_index: int
    saved_cluster: str
    parts: int
    staged_bytes: int
    begun_index: int
    begun_at: float
    index: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreView:
    """The last archive that was put in force, and the one that is being staged (index 0)."""

    last: Restored | None = None
    staged: Restored | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf a command was proposed, for the journal of changes; not for decisions.

    ``accessor`` is the accessor id of the token that allowed it, ``address`` where the request came
    from as "ip:port", both empty for what an agent does by itself; ``node`` is that agent's node.
    """

    accessor: str = ""
    address: str = ""
    node: str = ""


Record = TypeVar("Record")


def replace(record: Record, **changes: Any) -> Record:
    """A copy with some fields changed: what ``dataclasses.replace`` gives, at a tenth of its cost.

    That one calls the class's ``__init__``, which looks up each slot of a frozen class by name
    (10 us for a service). Every applied write pays it.
    """
    copied: Record = copier_of(type(record))(record, changes)
    return copied


Indexed = TypeVar(
    "Indexed",
    Node,
    Service,
    Check,
    KVPair,
    ServiceIntentions,
    CARoot,
    CAConfig,
    AutopilotConfig,
)


def same_content(a: Indexed, b: Indexed) -> bool:
    """Whether two records differ in nothing but their indexes."""
    return replace(a, create_index=0, modify_index=0) == replace(b, create_index=0, modify_index=0)
