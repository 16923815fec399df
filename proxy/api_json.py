"""What the agent's JSON means to a proxy (HTTP API contract, sections 8 and 10).

Pure. Anything that does not have the promised shape is a SourceError, and what was known before
stays in force.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from proxy import spiffe
from proxy.authz import Rule
from proxy.errors import IdentityError, SourceError
from proxy.jwt import read_wanted
from proxy.l7.limits import UPGRADES
from proxy.permissions import permission
from proxy.revocations import Revocations, of_entries
from proxy.source import (
    AppAddress,
    Endpoint,
    ExposedPath,
    LeafPair,
    OwnService,
    Transparent,
    UpstreamSpec,
)

CONNECT_PROXY = "connect-proxy"
#: Where a public listener binds when the registration names no address.
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  (the contract's default, D.2)


@dataclass(frozen=True, slots=True)
class Roots:
    """The root certificates and the trust domain."""

    pem: tuple[str, ...]
    trust_domain: str


def load(body: bytes) -> Any:
    """Parse JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"the agent's answer is no JSON: {error}") from error


def index(text: str) -> int:
    """The index header; 0 when there is none."""
    return int(text) if text.isascii() and text.isdigit() else 0


def own_service(body: Any, proxy_id: str, *, listen_address: str = ANY_ADDRESS) -> OwnService:
    """A proxy's registration (`GET /v1/agent/service/<proxy id>`).

    ``listen_address`` is for a registration that names none.
    """
    service = _object(body, "service")
    if service.get("Kind") != CONNECT_PROXY:
        raise SourceError(f'service "{proxy_id}" is not a {CONNECT_PROXY}')
    proxy = _object(service.get("Proxy") or {}, "Proxy")
    config = _object(proxy.get("Config") or {}, "Proxy.Config")
    upstreams = proxy.get("Upstreams") or []
    if not isinstance(upstreams, list):
        raise SourceError("Proxy.Upstreams is no list")
    address = _text(config, "bind_address") or _text(service, "Address") or listen_address
    return OwnService(
        name=_text(proxy, "DestinationServiceName"),
        proxy_id=proxy_id,
        listen_address=address,
        listen_port=_port(config, "bind_port") or _port(service, "Port"),
        app=AppAddress(
            _text(proxy, "LocalServiceAddress") or "127.0.0.1",
            _port(proxy, "LocalServicePort"),
            _text(proxy, "LocalServiceSocketPath"),
            proxy_header=config.get("lictor_proxy_protocol") == "send_v2",
        ),
        upstreams=tuple(_upstream(each) for each in upstreams),
        local_connect_timeout_s=_milliseconds(config, "local_connect_timeout_ms"),
        local_request_timeout_s=_milliseconds(config, "local_request_timeout_ms"),
        handshake_timeout_s=_milliseconds(config, "handshake_timeout_ms"),
        intention_drain_s=_milliseconds(config, "intention_drain_ms"),
        connection_age_s=_milliseconds(config, "max_connection_age_ms"),
        inbound_connections_max=_count(config, "max_inbound_connections"),
        upgrades=_upgrades(config),
        exposed=exposed(proxy),
        transparent=_transparent(proxy),
    )


def _upgrades(config: dict[str, Any]) -> frozenset[str]:
    """Beside websockets, which are always let through."""
    given = config.get("lictor_upgrades") or []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise SourceError("lictor_upgrades is no list of protocols")
    return UPGRADES | {each.strip().lower() for each in given}


def exposed(proxy: dict[str, Any]) -> tuple[ExposedPath, ...]:
    """The paths that a registration exposes; those of HTTP/2 are not served."""
    expose = _object(proxy.get("Expose") or {}, "Proxy.Expose")
    found = []
    for each in expose.get("Paths") or ():
        path = _object(each, "exposed path")
        if _text(path, "Protocol") not in ("", "http"):
            continue
        found.append(
            ExposedPath(
                path=_text(path, "Path") or "/",
                listener_port=_port(path, "ListenerPort"),
                local_port=_port(path, "LocalPathPort"),
                here_only=path.get("ParsedFromCheck") is True,
            )
        )
    return tuple(each for each in found if each.listener_port and each.local_port)


def _transparent(proxy: dict[str, Any]) -> Transparent | None:
    if _text(proxy, "Mode") != "transparent":
        return None
    given = _object(proxy.get("TransparentProxy") or {}, "TransparentProxy")
    return Transparent(port=_port(given, "OutboundListenerPort") or Transparent().port)


def _upstream(body: Any) -> UpstreamSpec:
    upstream = _object(body, "upstream")
    config = _object(upstream.get("Config") or {}, "upstream's Config")
    mode = _text(upstream, "LocalBindSocketMode")
    try:
        socket_mode = int(mode, 8) & 0o777 if mode else None
    except ValueError as error:
        raise SourceError(f'LocalBindSocketMode "{mode}" is not octal') from error
    return UpstreamSpec(
        name=_text(upstream, "DestinationName"),
        bind_address=_text(upstream, "LocalBindAddress") or "127.0.0.1",
        bind_port=_port(upstream, "LocalBindPort"),
        socket_path=_text(upstream, "LocalBindSocketPath"),
        socket_mode=socket_mode,
        datacenter=_text(upstream, "Datacenter"),
        connect_timeout_s=_milliseconds(config, "connect_timeout_ms"),
        virtual_ip=_text(upstream, "VirtualIP"),
        dialed_directly=upstream.get("DialedDirectly") is True,
        destinations=_texts(upstream, "Destinations"),
        destination_port=_port(upstream, "DestinationPort"),
    )


def roots(body: Any) -> Roots:
    """The roots' answer."""
    answer = _object(body, "roots")
    entries = answer.get("Roots") or []
    if not isinstance(entries, list):
        raise SourceError("Roots is no list")
    pem = tuple(_text(_object(root, "root"), "RootCert") for root in entries)
    return Roots(tuple(each for each in pem if each), _text(answer, "TrustDomain"))


def revoked(body: Any) -> Revocations:
    """The certificates that count no more."""
    if not isinstance(body, list):
        raise SourceError("the revocations are no list")
    entries = [_object(each, "revocation") for each in body]
    try:
        return of_entries(
            (_text(each, "SerialNumber"), _text(each, "ServiceURI"), _moment(each.get("Before")))
            for each in entries
        )
    except ValueError as error:
        raise SourceError(f"a revocation cannot be read: {error}") from error


def _moment(value: Any) -> float:
    """Unix seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SourceError("Before is no number of seconds")
    return float(value)


def leaf(body: Any) -> tuple[LeafPair, str]:
    """The leaf's answer: the pair, and the datacenter that its identity names."""
    answer = _object(body, "leaf")
    pair = LeafPair(
        cert_pem=_text(answer, "CertPEM"), private_key_pem=_text(answer, "PrivateKeyPEM")
    )
    try:
        identity = spiffe.parse(_text(answer, "ServiceURI"))
    except IdentityError as error:
        raise SourceError(f"the leaf's ServiceURI cannot be read: {error}") from error
    return pair, identity.datacenter


def rules(body: Any, service: str) -> tuple[Rule, ...]:
    """The intentions that match a destination, in the order given."""
    answer = _object(body, "intentions")
    entries = answer.get(service) or []
    if not isinstance(entries, list):
        raise SourceError("intentions are no list")
    return tuple(_rule(_object(entry, "intention")) for entry in entries)


def _rule(entry: dict[str, Any]) -> Rule:
    permissions = entry.get("Permissions") or []
    if not isinstance(permissions, list):
        raise SourceError("an intention's Permissions are no list")
    return Rule(
        source=_text(entry, "SourceName"),
        destination=_text(entry, "DestinationName"),
        action=_text(entry, "Action"),
        permissions=len(permissions),
        precedence=_count(entry, "Precedence"),
        matches=tuple(permission(_object(one, "permission")) for one in permissions),
        providers=read_wanted(_object(entry.get("JWT") or {}, "JWT")),
    )


def endpoints(body: Any) -> tuple[Endpoint, ...]:
    """Healthy mesh endpoints (`GET /v1/health/connect/<service>?passing`)."""
    if not isinstance(body, list):
        raise SourceError("health answer is no list")
    found = []
    for each in body:
        entry = _object(each, "health entry")
        node = _object(entry.get("Node") or {}, "Node")
        service = _object(entry.get("Service") or {}, "Service")
        address = _text(service, "Address") or _text(node, "Address")
        port = _port(service, "Port")
        if address and port:
            found.append(
                Endpoint(
                    address=address,
                    port=port,
                    datacenter=_text(node, "Datacenter"),
                    node=_text(node, "Node"),
                    service_id=_text(service, "ID"),
                )
            )
    return tuple(found)


def sidecar_of(body: Any, service_id: str) -> str:
    """The one proxy of a service among the agent's services (`GET /v1/agent/services`)."""
    services = _object(body, "services")
    found = []
    for proxy_id, each in services.items():
        service = _object(each, "service")
        proxy = _object(service.get("Proxy") or {}, "Proxy")
        if service.get("Kind") == CONNECT_PROXY and proxy.get("DestinationServiceID") == service_id:
            found.append(str(proxy_id))
    if not found:
        raise SourceError(
            f"Failed looking up sidecar proxy info: No sidecar proxy registered for {service_id}"
        )
    if len(found) > 1:
        raise SourceError(
            "Failed looking up sidecar proxy info: More than one sidecar proxy registered for "
            f"{service_id}. Start proxy with -proxy-id and one of the following IDs: "
            f"{', '.join(sorted(found))}"
        )
    return found[0]


def gateway_of(body: Any, kind: str, name: str) -> str:
    """The one gateway of a kind and name among the agent's services."""
    services = _object(body, "services")
    found = [
        str(gateway_id)
        for gateway_id, each in services.items()
        if (_text(_object(each, "service"), "Kind"), _text(each, "Service")) == (kind, name)
    ]
    if len(found) != 1:
        told = f"More than one {kind}" if found else f"No {kind}"
        raise SourceError(f'{told} with the service name "{name}" is registered on this agent')
    return found[0]


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SourceError(f"{what} is no JSON object")
    return value


def _text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SourceError(f"{key} is no text")
    return value


def _texts(holder: dict[str, Any], key: str) -> tuple[str, ...]:
    value = holder.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise SourceError(f"{key} is no list of texts")
    return tuple(value)


def _count(holder: dict[str, Any], key: str) -> int:
    value = holder.get(key) or 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SourceError(f"{key} is no count")
    return value


def _port(holder: dict[str, Any], key: str) -> int:
    value = _count(holder, key)
    if value > 65535:
        raise SourceError(f"{key} is no port")
    return value


def _milliseconds(holder: dict[str, Any], key: str) -> float | None:
    value = holder.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise SourceError(f"{key} is no number of milliseconds")
    return value / 1000.0
