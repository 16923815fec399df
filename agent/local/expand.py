"""From what a user wrote to what is registered: default names, ids, ports, and the sidecar.

Decides how a definition is completed (agent contract 1.2, 2 and 2.1). The result are the catalog's
own records; nothing here asks whether a port can really be bound.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from agent.definitions import CheckDefinition, ServiceDefinition
from agent.durations import format_s
from agent.errors import RequestError
from agent.local.validate import CONNECT_PROXY, address_version
from raftstore.records import (
    CRITICAL,
    Check,
    CheckId,
    NodeName,
    Proxy,
    Service,
    ServiceId,
    ServiceName,
    TaggedAddress,
    Weights,
)

SIDECAR_SUFFIX = "-sidecar-proxy"
#: How often the sidecar's listener is tried (agent contract 2.1).
SIDECAR_CHECK_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True)
class PortRange:
    """The ports that sidecars get, both ends included; a 0 switches the allocation off.

    ``address`` is where the sidecars that this agent runs listen, "" for every address: their
    check must ask there.
    """

    lowest: int
    highest: int
    address: str = ""

    def __str__(self) -> str:
        return f"[{self.lowest}, {self.highest}]"


def service_id(definition: ServiceDefinition) -> ServiceId:
    """The id the service will have: its own, or its name."""
    return definition.id or ServiceId(definition.name)


def sidecar_id(parent: ServiceId) -> ServiceId:
    """The id of a service's automatic sidecar."""
    return ServiceId(parent + SIDECAR_SUFFIX)


def service_record(definition: ServiceDefinition, node: NodeName) -> Service:
    """The catalog's record of a complete definition."""
    return Service(
        node=node,
        id=service_id(definition),
        name=definition.name,
        kind=definition.kind,
        tags=definition.tags,
        address=definition.address,
        tagged_addresses=_tagged_addresses(definition),
        port=definition.port,
        socket_path=definition.socket_path,
        meta=dict(definition.meta or {}),
        weights=definition.weights or Weights(),
        enable_tag_override=definition.enable_tag_override,
        proxy=_with_bind_defaults(definition.proxy) if definition.proxy else Proxy(),
        connect_native=definition.connect_native,
        ports=definition.ports,
        locality=definition.locality,
    )


def service_checks(definition: ServiceDefinition) -> tuple[CheckDefinition, ...]:
    """The service's checks with ids, names and the service they belong to."""
    owner = service_id(definition)
    alone = len(definition.checks) == 1
    return tuple(
        replace(
            check,
            id=check.id or CheckId(f"service:{owner}" if alone else f"service:{owner}:{number}"),
            name=check.name or f"Service '{definition.name}' check",
            service_id=owner,
            token=check.token or definition.token,
        )
        for number, check in enumerate(definition.checks, start=1)
    )


def check_record(
    check: CheckDefinition, *, node: NodeName, service: Service | None, standalone: bool
) -> Check:
    """The catalog's record of a check that has not run yet.

    Only checks registered on their own show their times; those that come with a service show ""
    (HTTP API contract 1.9).
    """
    return Check(
        node=node,
        id=check.id or CheckId(check.name),
        name=check.name,
        status=check.status or CRITICAL,
        notes=check.notes,
        service_id=check.service_id,
        service_name=service.name if service else ServiceName(""),
        service_tags=service.tags if service else (),
        type=check.kind,
        interval=format_s(check.interval_s) if standalone else "",
        timeout=format_s(check.timeout_s) if standalone else "",
    )


def expand_sidecar(
    parent: ServiceDefinition,
    *,
    taken: Collection[int],
    previous_port: int,
    ports: PortRange,
) -> ServiceDefinition | None:
    """The full definition of the sidecar that ``parent`` asks for, None if it asks for none.

    ``taken`` are the ports of all local services; ``previous_port`` is the port this sidecar has
    already, or 0. Raises RequestError when no port is left.
    """
    wanted = parent.sidecar
    if wanted is None:
        return None
    owner = service_id(parent)
    port = wanted.port
    if not port and not wanted.socket_path:
        port = previous_port or _free_port(taken, ports)
    proxy = _sidecar_proxy(parent, wanted.proxy or Proxy())
    return replace(
        wanted,
        id=sidecar_id(owner),
        name=wanted.name or ServiceName(parent.name + SIDECAR_SUFFIX),
        kind=wanted.kind or CONNECT_PROXY,
        port=port,
        address=wanted.address or parent.address,
        tags=wanted.tags or parent.tags,
        meta=wanted.meta or parent.meta,
        weights=wanted.weights or parent.weights,
        token=wanted.token or parent.token,
        proxy=proxy,
        checks=wanted.checks
        or _sidecar_checks(
            owner,
            proxy,
            port,
            ports.address and (wanted.address or parent.address or ports.address),
        ),
        sidecar=None,
    )


def _sidecar_proxy(parent: ServiceDefinition, proxy: Proxy) -> Proxy:
    socket = proxy.local_service_socket_path
    address, local_port = proxy.local_service_address, proxy.local_service_port
    if not socket and not local_port and parent.socket_path:
        socket = parent.socket_path
    if not socket:
        address = address or "127.0.0.1"
        local_port = local_port or parent.port
    return replace(
        proxy,
        destination_service_name=proxy.destination_service_name or parent.name,
        destination_service_id=proxy.destination_service_id or service_id(parent),
        local_service_address=address,
        local_service_port=local_port,
        local_service_socket_path=socket,
    )


def _sidecar_checks(
    owner: ServiceId, proxy: Proxy, port: int, listens: str
) -> tuple[CheckDefinition, ...]:
    alias = CheckDefinition(name=f"Connect Sidecar Aliasing {owner}", alias_service=owner)
    if not port:
        return (alias,)
    host = listens or proxy.local_service_address or "127.0.0.1"
    listening = CheckDefinition(
        name="Connect Sidecar Listening",
        tcp=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        interval_s=SIDECAR_CHECK_INTERVAL_S,
    )
    return (listening, alias)


def _free_port(taken: Collection[int], ports: PortRange) -> int:
    if ports.lowest <= 0 or ports.highest <= 0:
        raise RequestError(
            400,
            "no port provided for sidecar_service and auto-assignment disabled in config",
        )
    used = frozenset(taken)
    for port in range(ports.lowest, ports.highest + 1):
        if port not in used:
            return port
    raise RequestError(
        400,
        "no port provided for sidecar_service and none left in the configured range "
        f"[{ports.lowest}, {ports.highest}]",
    )


def _with_bind_defaults(proxy: Proxy) -> Proxy:
    """Upstreams as the reference stores them: of type service, as the agent shows them."""
    return replace(
        proxy,
        upstreams=tuple(
            replace(upstream, destination_type=upstream.destination_type or "service")
            for upstream in proxy.upstreams
        ),
    )


def _tagged_addresses(definition: ServiceDefinition) -> Mapping[str, TaggedAddress] | None:
    """Given ones, and with an address literal the usual names for it (HTTP API contract 8)."""
    tagged = dict(definition.tagged_addresses or {})
    if definition.address:
        own = TaggedAddress(definition.address, definition.port)
        version = address_version(definition.address)
        names = ["lan", "wan"]
        if version is not None:
            names += [f"lan_ipv{version}", f"wan_ipv{version}"]
        for name in names:
            tagged.setdefault(name, own)
    return tagged or None
