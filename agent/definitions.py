"""What a user asks this agent to run: service and check definitions, as values.

HTTP bodies (agent/http/parse.py), configuration files (agent/config) and the files that survive a
restart (agent/local/files.py) all end in these. Fields follow the agent contract, sections 1 and 2;
durations are seconds, 0 means "not given".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raftstore.places import Locality, ServicePort
from raftstore.records import (
    CheckId,
    NodeName,
    Proxy,
    ServiceId,
    ServiceName,
    TaggedAddress,
    Weights,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDefinition:
    """One health check to run here. Exactly one of the type fields is given (see ``kind``)."""

    id: CheckId = CheckId("")
    name: str = ""
    notes: str = ""
    status: str = ""
    service_id: ServiceId = ServiceId("")
    token: str = ""
    interval_s: float = 0.0
    timeout_s: float = 0.0
    ttl_s: float = 0.0
    http: str = ""
    method: str = ""
    header: Mapping[str, tuple[str, ...]] | None = None
    body: str = ""
    disable_redirects: bool = False
    tcp: str = ""
    tcp_use_tls: bool = False
    udp: str = ""
    grpc: str = ""
    grpc_use_tls: bool = False
    h2ping: str = ""
    h2ping_use_tls: bool = True
    args: tuple[str, ...] = ()
    docker_container_id: str = ""
    shell: str = ""
    os_service: str = ""
    alias_node: NodeName = NodeName("")
    alias_service: ServiceId = ServiceId("")
    tls_server_name: str = ""
    tls_skip_verify: bool = False
    success_before_passing: int = 0
    failures_before_warning: int = 0
    failures_before_critical: int = 0
    deregister_critical_service_after_s: float = 0.0
    output_max_size: int = 0

    @property
    def kind(self) -> str:
        """The type word clients see; order of precedence as in the agent contract 1.1."""
        for word, given in (
            ("ttl", self.ttl_s),
            ("http", self.http),
            ("tcp", self.tcp),
            ("udp", self.udp),
            ("grpc", self.grpc),
            ("docker", self.docker_container_id),
            ("script", self.args),
            ("h2ping", self.h2ping),
            ("os_service", self.os_service),
            ("alias", self.alias_node or self.alias_service),
        ):
            if given:
                return word
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDefinition:
    """One service to register here. ``sidecar`` is `connect.sidecar_service`, if asked for.

    ``weights`` is None when not given (1/1). The sidecar's own fields are completed from the
    parent by agent/local (agent contract 2.1).
    """

    name: ServiceName
    id: ServiceId = ServiceId("")
    kind: str = ""
    tags: tuple[str, ...] = ()
    address: str = ""
    tagged_addresses: Mapping[str, TaggedAddress] | None = None
    port: int = 0
    socket_path: str = ""
    meta: Mapping[str, str] | None = None
    weights: Weights | None = None
    enable_tag_override: bool = False
    token: str = ""
    proxy: Proxy | None = None
    connect_native: bool = False
    checks: tuple[CheckDefinition, ...] = ()
    sidecar: ServiceDefinition | None = None
    ports: tuple[ServicePort, ...] = ()
    locality: Locality | None = None
