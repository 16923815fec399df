"""What a proxy must be told, and the protocol of whoever tells it.

A `Source` holds the newest state for ever: when it loses its own supplier the proxy goes on with
what it knows, and only `age_s` shows it (mesh contract D.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy import revocations
from proxy.authz import DEFAULT_ACL_OFF, Rule
from proxy.balance.hosts import Host
from proxy.http1 import underscores
from proxy.jwt import Provider
from proxy.l7.guard import GuardConfig
from proxy.l7.ingress import IngressListener
from proxy.l7.limits import UPGRADES
from proxy.l7.locality import Locality
from proxy.l7.routes import Chain
from proxy.l7.settings import UpstreamSettings
from proxy.revocations import Revocations
from proxy.telemetry.settings import QUIET, Telemetry
from proxy.tls_range import USUAL, TlsRange


@dataclass(frozen=True, slots=True)
class AppTls:
    """How a gateway secures connections to a service outside of the mesh: files of this host.

    The other side must have a certificate of that authority for ``server_name``, or where that is
    "" for the name or address that is dialled.
    """

    ca_file: str
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class AppAddress:
    """Where the local application listens: host and port, or a unix socket's path.

    With ``proxy_header`` it is told in a PROXY header (version 2) who each connection comes from;
    connections with requests are shared, and have none.
    """

    address: str = "127.0.0.1"
    port: int = 0
    socket_path: str = ""
    proxy_header: bool = False
    #: More places of the same application: connections and requests take turns, and go on to the
    #: next where one does not answer; and how much each place may get, the first one's first.
    others: tuple[tuple[str, int], ...] = ()
    weights: tuple[int, ...] = ()
    tls: AppTls | None = None
    #: What becomes of the host that its requests name; "" leaves it.
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One sidecar (or native instance) of an upstream service."""

    address: str
    port: int
    datacenter: str = ""
    node: str = ""
    service_id: str = ""
    #: The service whose identity it has, where that is not the upstream's own name.
    service: str = ""
    #: The subset of the service that it is asked as; a gateway stands for each of its own.
    subset: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSpec:
    """A service to make reachable on a local port or unix socket. ``datacenter`` "" is our own."""

    name: str
    bind_address: str = "127.0.0.1"
    bind_port: int = 0
    socket_path: str = ""
    socket_mode: int | None = None
    datacenter: str = ""
    connect_timeout_s: float | None = None
    #: Of a transparent proxy. An upstream that is only reached so has neither port nor socket.
    virtual_ip: str = ""
    dialed_directly: bool = False
    #: Addresses of the service outside of the mesh: who is led here from one of them means it.
    destinations: tuple[str, ...] = ()
    destination_port: int = 0
    #: Identity of the upstream among those of one proxy.
    key: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        """The key is asked for several times for each connection."""
        key = self.socket_path or f"{self.bind_address}:{self.bind_port}"
        if not self.listens:
            key = f"virtual:{self.name}@{self.datacenter}"
        object.__setattr__(self, "key", key)

    @property
    def listens(self) -> bool:
        """Whether it has a listener of its own."""
        return bool(self.socket_path or self.bind_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposedPath:
    """A path of the application that is served in clear on a port of its own."""

    path: str
    listener_port: int
    local_port: int
    #: Whether only this host may ask: so it is for paths of the agent's own checks.
    here_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transparent:
    """The kernel leads the application's connections to ``port``."""

    port: int = 15001
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnService:
    """The service that this proxy stands for.

    A ``listen_port`` of 0 has no public listener;
    here and in upstreams a port of -1 asks for any free one.
    """

    name: str
    #: Of a service behind a terminating gateway, where it is only a part of it.
    subset: str = ""
    proxy_id: str = ""
    listen_address: str = ""
    listen_port: int = 0
    app: AppAddress = AppAddress()
    upstreams: tuple[UpstreamSpec, ...] = ()
    local_connect_timeout_s: float | None = None
    local_request_timeout_s: float | None = None
    handshake_timeout_s: float | None = None
    #: How long a stream lives after rules that let it in no more.
    intention_drain_s: float | None = None
    #: How old a connection may be whose client's certificate has ended.
    connection_age_s: float | None = None
    inbound_connections_max: int = 0
    guard: GuardConfig = field(default_factory=GuardConfig)
    exposed: tuple[ExposedPath, ...] = ()
    transparent: Transparent | None = None
    #: Of an ingress gateway, which has no application and no public listener.
    ingress: tuple[IngressListener, ...] = ()
    #: Of a terminating gateway, which has no application either: the services that it stands for,
    #: and the port for all of them.
    linked: tuple[str, ...] = ()
    linked_port: int = 0
    #: The protocols that requests may switch to, in lower case.
    upgrades: frozenset[str] = UPGRADES
    #: Whether a connection in clear that was meant for the application's own port is let through.
    permissive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafPair:
    """Our certificate chain (leaf first) and its private key, both PEM. The key is never shown."""

    cert_pem: str
    private_key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshState:
    """All that a proxy knows at one moment. ``None`` and empty parts are not known yet.

    ``endpoints`` is keyed by `UpstreamSpec.key`. ``rules`` stand in order of precedence; None
    means that they were never heard, and then nobody is let in.
    """

    own: OwnService | None = None
    leaf: LeafPair | None = None
    roots_pem: tuple[str, ...] = ()
    trust_domain: str = ""
    datacenter: str = ""
    rules: tuple[Rule, ...] | None = None
    #: Certificates that count no more before their end.
    revoked: Revocations = revocations.NONE
    default_allow: bool | None = None
    default_reason: str = DEFAULT_ACL_OFF
    endpoints: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    #: Of the own service; "tcp" has no requests. Chains and settings are keyed
    #: as the endpoints, hosts by the id of their target.
    protocol: str = "tcp"
    chains: Mapping[str, Chain] = field(default_factory=dict)
    hosts: Mapping[str, tuple[Host, ...]] = field(default_factory=dict)
    #: Whose tokens the rules may ask for.
    providers: Mapping[str, Provider] = field(default_factory=dict)
    telemetry: Telemetry = QUIET
    settings: Mapping[str, UpstreamSettings] = field(default_factory=dict)
    #: Where this proxy stands; nowhere without a region.
    locality: Locality = field(default_factory=Locality)
    #: Whether a transparent proxy reaches nothing outside the mesh.
    mesh_destinations_only: bool = False
    #: What becomes of headers of requests from the mesh that have an underscore in their name.
    underscored: str = underscores.REJECT
    #: What TLS is spoken by those who dial us, and by us.
    tls: tuple[TlsRange, TlsRange] = (USUAL, USUAL)


class Source(Protocol):
    """Tells a proxy what it must do."""

    @property
    def state(self) -> MeshState:
        """The newest state."""
        ...

    def subscribe(self, on_change: Callable[[MeshState], None]) -> None:
        """Call back on the event loop after every change, once it is in ``state``."""
        ...

    @property
    def rejected(self) -> int:
        """How often what was told could not be used."""
        ...

    def age_s(self) -> float:
        """How old the oldest part of the state may be: seconds since all of it was confirmed."""
        ...
