"""Consul's JSON in: request bodies into definitions, records and commands (http-api contract).

Decides what a body may look like and what its absence means. Whether a definition makes sense on
this host is agent/local's business; whether a write fits the state is the state machine's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.definitions import CheckDefinition, ServiceDefinition
from agent.durations import format_ns
from agent.errors import RequestError
from agent.http.decode import (
    Convert,
    DecodeFailure,
    Shape,
    any_object,
    boolean,
    duration_ns,
    duration_s,
    ignored,
    integer,
    load,
    object_map,
    objects,
    string,
    string_map,
    strings,
    strings_map,
)
from raftstore.commands import Deregister, Register
from raftstore.records import (
    Check,
    CheckId,
    ExposePath,
    Json,
    Node,
    NodeId,
    NodeName,
    Proxy,
    Service,
    ServiceId,
    ServiceName,
    TaggedAddress,
    Upstream,
    Weights,
)

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_ADDRESS = Shape("ServiceAddress", {"Address": ("address", string), "Port": ("port", integer)})
_WEIGHTS = Shape("Weights", {"Passing": ("passing", integer), "Warning": ("warning", integer)})
_MESH_GATEWAY = Shape("MeshGatewayConfig", {"Mode": ("mode", string)}, snake=True)
_EXPOSE_PATH = Shape(
    "ExposePath",
    {
        "Path": ("path", string),
        "ListenerPort": ("listener_port", integer),
        "LocalPathPort": ("local_path_port", integer),
        "Protocol": ("protocol", string),
        "ParsedFromCheck": ("parsed", ignored),
    },
    snake=True,
)


def _address(name: str, value: Json) -> TaggedAddress:
    found = _ADDRESS.read(name, value)
    return TaggedAddress(found.get("address", ""), found.get("port", 0))


def _weights(name: str, value: Json) -> Weights:
    found = _WEIGHTS.read(name, value)
    return Weights(found.get("passing", 0), found.get("warning", 0))


def _mode(name: str, value: Json) -> str:
    return str(_MESH_GATEWAY.read(name, value).get("mode", ""))


def _expose_path(name: str, value: Json) -> ExposePath:
    return ExposePath(**_EXPOSE_PATH.read(name, value))


_EXPOSE = Shape(
    "ExposeConfig",
    {"Checks": ("checks", boolean), "Paths": ("paths", objects(_expose_path))},
    snake=True,
)
_TRANSPARENT = Shape(
    "TransparentProxyConfig",
    {
        "OutboundListenerPort": ("outbound_listener_port", integer),
        "DialedDirectly": ("dialed_directly", boolean),
    },
    snake=True,
)
_UPSTREAM = Shape(
    "Upstream",
    {
        "DestinationType": ("destination_type", string),
        "DestinationNamespace": ("namespace", ignored),
        "DestinationName": ("destination_name", string),
        "Datacenter": ("datacenter", string),
        "LocalBindAddress": ("local_bind_address", string),
        "LocalBindPort": ("local_bind_port", integer),
        "LocalBindSocketPath": ("local_bind_socket_path", string),
        "LocalBindSocketMode": ("local_bind_socket_mode", string),
        "Config": ("config", any_object),
        "MeshGateway": ("mesh_gateway_mode", _mode),
    },
    snake=True,
)


def _upstream(name: str, value: Json) -> Upstream:
    found = _UPSTREAM.read(name, value)
    found.pop("namespace", None)
    return Upstream(**found)


_PROXY = Shape(
    "ConnectProxyConfig",
    {
        "DestinationServiceName": ("destination_service_name", string),
        "DestinationServiceID": ("destination_service_id", string),
        "LocalServiceAddress": ("local_service_address", string),
        "LocalServicePort": ("local_service_port", integer),
        "LocalServiceSocketPath": ("local_service_socket_path", string),
        "Mode": ("mode", string),
        "Config": ("config", any_object),
        "Upstreams": ("upstreams", objects(_upstream)),
        "MeshGateway": ("mesh_gateway_mode", _mode),
        "Expose": ("expose", _EXPOSE.read),
        "TransparentProxy": ("transparent", _TRANSPARENT.read),
    },
    snake=True,
)


def _proxy(name: str, value: Json) -> Proxy:
    found = _PROXY.read(name, value)
    expose = found.pop("expose", {})
    transparent = found.pop("transparent", {})
    return Proxy(
        **found,
        **transparent,
        expose_checks=expose.get("checks", False),
        expose_paths=expose.get("paths", ()),
    )


# -- what an agent is asked to run ---------------------------------------------------------------

_CHECK_TYPE: dict[str, tuple[str, Convert]] = {
    "ID": ("id", string),
    "CheckID": ("id", string),
    "Name": ("name", string),
    "Notes": ("notes", string),
    "Status": ("status", string),
    "ServiceID": ("service_id", string),
    "Token": ("token", string),
    "Interval": ("interval_s", duration_s),
    "Timeout": ("timeout_s", duration_s),
    "TTL": ("ttl_s", duration_s),
    "HTTP": ("http", string),
    "Method": ("method", string),
    "Header": ("header", strings_map),
    "Body": ("body", string),
    "DisableRedirects": ("disable_redirects", boolean),
    "TCP": ("tcp", string),
    "UDP": ("udp", string),
    "GRPC": ("grpc", string),
    "GRPCUseTLS": ("grpc_use_tls", boolean),
    "H2PING": ("h2ping", string),
    "Args": ("args", strings),
    "ScriptArgs": ("args", strings),
    "DockerContainerID": ("docker_container_id", string),
    "Shell": ("shell", string),
    "OSService": ("os_service", string),
    "AliasNode": ("alias_node", string),
    "AliasService": ("alias_service", string),
    "TLSServerName": ("tls_server_name", string),
    "TLSSkipVerify": ("tls_skip_verify", boolean),
    "SuccessBeforePassing": ("success_before_passing", integer),
    "FailuresBeforeWarning": ("failures_before_warning", integer),
    "FailuresBeforeCritical": ("failures_before_critical", integer),
    "DeregisterCriticalServiceAfter": ("deregister_critical_service_after_s", duration_s),
    "OutputMaxSize": ("output_max_size", integer),
    "Namespace": ("namespace", ignored),
}
_CHECK_DEFINITION = Shape("CheckDefinition", _CHECK_TYPE, snake=True)


def _check_definition(name: str, value: Json) -> CheckDefinition:
    return CheckDefinition(**_CHECK_DEFINITION.read(name, value))


def _agent_proxy(name: str, value: Json) -> Proxy:
    """As in the catalog, but an upstream's destination is a service unless it says otherwise."""
    proxy = _proxy(name, value)
    upstreams = tuple(
        up if up.destination_type else replace(up, destination_type="service")
        for up in proxy.upstreams
    )
    return replace(proxy, upstreams=upstreams)


def _service_definition(name: str, value: Json) -> ServiceDefinition:
    found = _SERVICE_DEFINITION.read(name, value)
    connect = found.pop("connect", {})
    check = found.pop("check", None)
    checks = found.pop("checks", ())
    return ServiceDefinition(
        name=ServiceName(found.pop("name", "")),
        **found,
        connect_native=connect.get("native", False),
        sidecar=connect.get("sidecar"),
        checks=(check, *checks) if check is not None else checks,
    )


_CONNECT = Shape(
    "ServiceConnect",
    {"Native": ("native", boolean), "SidecarService": ("sidecar", _service_definition)},
    snake=True,
)
_SERVICE_DEFINITION = Shape(
    "ServiceDefinition",
    {
        "Kind": ("kind", string),
        "ID": ("id", string),
        "Name": ("name", string),
        "Tags": ("tags", strings),
        "Address": ("address", string),
        "TaggedAddresses": ("tagged_addresses", object_map(_address)),
        "Port": ("port", integer),
        "SocketPath": ("socket_path", string),
        "Meta": ("meta", string_map),
        "Weights": ("weights", _weights),
        "EnableTagOverride": ("enable_tag_override", boolean),
        "Token": ("token", string),
        "Proxy": ("proxy", _agent_proxy),
        "Connect": ("connect", _CONNECT.read),
        "Check": ("check", _check_definition),
        "Checks": ("checks", objects(_check_definition)),
        "Namespace": ("namespace", ignored),
    },
    snake=True,
)


def decode_failed(error: DecodeFailure) -> RequestError:
    """The contract's 400 for a body that cannot be read."""
    return RequestError(400, f"Request decode failed: {error}")


def service_definition(body: bytes) -> ServiceDefinition:
    """The body of `agent/service/register`."""
    try:
        return _service_definition("", load(body))
    except DecodeFailure as error:
        raise decode_failed(error) from None


def check_definition(body: bytes) -> CheckDefinition:
    """The body of `agent/check/register`."""
    try:
        return _check_definition("", load(body))
    except DecodeFailure as error:
        raise decode_failed(error) from None


_CHECK_UPDATE = Shape("checkUpdate", {"Status": ("status", string), "Output": ("output", string)})


def check_update(body: bytes) -> tuple[str, str]:
    """The body of `agent/check/update`: status and output."""
    try:
        found = _CHECK_UPDATE.read("", load(body))
    except DecodeFailure as error:
        raise decode_failed(error) from None
    return found.get("status", ""), found.get("output", "")


# -- what the catalog is told --------------------------------------------------------------------

_CATALOG_CONNECT = Shape(
    "ServiceConnect", {"Native": ("native", boolean), "SidecarService": ("sidecar", ignored)}
)
_NODE_SERVICE = Shape(
    "NodeService",
    {
        "Kind": ("kind", string),
        "ID": ("id", string),
        "Service": ("name", string),
        "Tags": ("tags", strings),
        "Address": ("address", string),
        "TaggedAddresses": ("tagged_addresses", object_map(_address)),
        "Meta": ("meta", string_map),
        "Port": ("port", integer),
        "SocketPath": ("socket_path", string),
        "Weights": ("weights", _weights),
        "EnableTagOverride": ("enable_tag_override", boolean),
        "Proxy": ("proxy", _proxy),
        "Connect": ("connect", _CATALOG_CONNECT.read),
        "LocallyRegisteredAsSidecar": ("sidecar", ignored),
        "Namespace": ("namespace", ignored),
        "CreateIndex": ("create_index", ignored),
        "ModifyIndex": ("modify_index", ignored),
    },
)
_DEFINITION_FIELDS: dict[str, tuple[str, Convert]] = {
    "Interval": ("Interval", duration_ns),
    "Timeout": ("Timeout", duration_ns),
    "DeregisterCriticalServiceAfter": ("DeregisterCriticalServiceAfter", duration_ns),
    "IntervalDuration": ("Interval", duration_ns),
    "TimeoutDuration": ("Timeout", duration_ns),
    "DeregisterCriticalServiceAfterDuration": ("DeregisterCriticalServiceAfter", duration_ns),
    "HTTP": ("HTTP", string),
    "TLSServerName": ("TLSServerName", string),
    "TLSSkipVerify": ("TLSSkipVerify", boolean),
    "Header": ("Header", strings_map),
    "Method": ("Method", string),
    "Body": ("Body", string),
    "DisableRedirects": ("DisableRedirects", boolean),
    "TCP": ("TCP", string),
    "UDP": ("UDP", string),
    "H2PING": ("H2PING", string),
    "OutputMaxSize": ("OutputMaxSize", integer),
    "ScriptArgs": ("ScriptArgs", strings),
    "DockerContainerID": ("DockerContainerID", string),
    "Shell": ("Shell", string),
    "GRPC": ("GRPC", string),
    "GRPCUseTLS": ("GRPCUseTLS", boolean),
    "AliasNode": ("AliasNode", string),
    "AliasService": ("AliasService", string),
    "TTL": ("TTL", duration_ns),
}
_DEFINITION = Shape("HealthCheckDefinition", _DEFINITION_FIELDS)
_DURATIONS = ("Interval", "Timeout", "DeregisterCriticalServiceAfter", "TTL")
#: The type word shown for a catalog check, by what its definition holds.
_TYPES = (("HTTP", "http"), ("TCP", "tcp"), ("UDP", "udp"), ("GRPC", "grpc"),
          ("H2PING", "h2ping"), ("DockerContainerID", "docker"), ("ScriptArgs", "script"),
          ("AliasNode", "alias"), ("AliasService", "alias"), ("TTL", "ttl"))  # fmt: skip


def _definition(name: str, value: Json) -> dict[str, Json]:
    """The definition as it is shown: empty values left out, durations as text."""
    shown: dict[str, Json] = {}
    for key, item in _DEFINITION.read(name, value).items():
        if not item:
            continue
        if key in _DURATIONS:
            shown[key] = format_ns(item)
        elif isinstance(item, tuple):
            shown[key] = list(item)
        elif isinstance(item, dict):
            shown[key] = {header: list(values) for header, values in item.items()}
        else:
            shown[key] = item
    return shown


_HEALTH_CHECK = Shape(
    "HealthCheck",
    {
        "Node": ("node", string),
        "CheckID": ("id", string),
        "Name": ("name", string),
        "Status": ("status", string),
        "Notes": ("notes", string),
        "Output": ("output", string),
        "ServiceID": ("service_id", string),
        "ServiceName": ("service_name", ignored),
        "ServiceTags": ("service_tags", ignored),
        "Type": ("type", string),
        "Interval": ("interval", string),
        "Timeout": ("timeout", string),
        "ExposedPort": ("exposed_port", integer),
        "Definition": ("definition", _definition),
        "Namespace": ("namespace", ignored),
        "CreateIndex": ("create_index", ignored),
        "ModifyIndex": ("modify_index", ignored),
    },
)
_REGISTER = Shape(
    "RegisterRequest",
    {
        "ID": ("id", string),
        "Node": ("name", string),
        "Address": ("address", string),
        "TaggedAddresses": ("tagged_addresses", string_map),
        "NodeMeta": ("meta", string_map),
        "Datacenter": ("datacenter", string),
        "Service": ("service", _NODE_SERVICE.read),
        "Check": ("check", _HEALTH_CHECK.read),
        "Checks": ("checks", objects(_HEALTH_CHECK.read)),
        "SkipNodeUpdate": ("skip_node_update", boolean),
        "Namespace": ("namespace", ignored),
    },
)


def register(body: bytes, *, datacenter: str) -> tuple[Register, str]:
    """The body of `catalog/register`: the command, and the datacenter it asks for ("" = ours)."""
    try:
        found = _REGISTER.read("", load(body))
    except DecodeFailure as error:
        raise decode_failed(error) from None
    wanted = found.pop("datacenter", "")
    service, check = found.pop("service", None), found.pop("check", None)
    checks, skip = found.pop("checks", ()), found.pop("skip_node_update", False)
    node = Node(name=NodeName(found.pop("name", "")), datacenter=datacenter, **found)
    if not node.name:
        raise RequestError(500, "Must provide node")
    if not node.address and not skip:
        raise RequestError(500, "Must provide address if SkipNodeUpdate is not set")
    _check_node_id(node.id)
    command = Register(
        node=replace(node, id=NodeId(node.id.lower())),
        service=_catalog_service(service, node.name) if service is not None else None,
        checks=tuple(
            _catalog_check(item, node.name)
            for item in ((check, *checks) if check is not None else checks)
        ),
        skip_node_update=skip,
    )
    return command, wanted


def _check_node_id(node_id: str) -> None:
    if not node_id or _UUID.fullmatch(node_id):
        return
    reason = "uuid string is wrong length" if len(node_id) != 36 else "uuid is improperly formatted"
    raise RequestError(500, f"Bad node ID: {reason}")


def _catalog_service(found: Mapping[str, Any], node: NodeName) -> Service:
    fields = dict(found)
    name, service_id = fields.pop("name", ""), fields.pop("id", "")
    native = fields.pop("connect", {}).get("native", False)
    if service_id and not name:
        raise RequestError(500, "Must provide service name with ID")
    service = Service(
        node=node,
        id=ServiceId(service_id or name),
        name=ServiceName(name),
        connect_native=native,
        **fields,
    )
    if service.address in {"0.0.0.0", "::", "[::]"}:  # noqa: S104  (refused, not bound)
        raise RequestError(500, "Invalid service address")
    problems = proxy_problems(service)
    if problems:
        raise RequestError(500, several(problems))
    _check_tagged(service.tagged_addresses or {})
    return service


def proxy_problems(service: Service) -> list[str]:
    """What keeps a connect-proxy registration from being one."""
    if service.kind != "connect-proxy":
        return []
    problems = []
    if not service.proxy.destination_service_name:
        problems.append("Proxy.DestinationServiceName must be non-empty for Connect proxy services")
    if not service.port and not service.socket_path:
        problems.append("Port or SocketPath must be set for a Connect proxy")
    return problems


def several(problems: list[str]) -> str:
    """Collected errors in the form clients know (contract 1.3)."""
    lines = "".join(f"\n\t* {problem}" for problem in problems)
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    return f"{count} occurred:{lines}\n\n"


def _check_tagged(addresses: Mapping[str, TaggedAddress]) -> None:
    for tag, given in addresses.items():
        version = {"lan_ipv4": 4, "wan_ipv4": 4, "lan_ipv6": 6, "wan_ipv6": 6}.get(tag)
        if version is not None and _ip_version(given.address) != version:
            raise RequestError(
                500, f'Service tagged address "{tag}" must be a valid ipv{version} address'
            )


def _ip_version(text: str) -> int:
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return 0


def _catalog_check(found: Mapping[str, Any], node: NodeName) -> Check:
    fields = dict(found)
    given = fields.pop("node", "") or node
    if given.lower() != node.lower():
        raise RequestError(500, f'check node "{given}" does not match node "{node}"')
    name = fields.pop("name", "")
    definition = fields.get("definition", {})
    if not fields.get("type"):
        fields["type"] = next((word for key, word in _TYPES if definition.get(key)), "")
    fields["status"] = fields.get("status") or "critical"
    return Check(node=node, id=CheckId(fields.pop("id", "") or name), name=name, **fields)


_DEREGISTER = Shape(
    "DeregisterRequest",
    {
        "Datacenter": ("datacenter", string),
        "Node": ("node", string),
        "Address": ("address", ignored),
        "ServiceID": ("service_id", string),
        "CheckID": ("check_id", string),
        "Namespace": ("namespace", ignored),
    },
)


def deregister(body: bytes) -> tuple[Deregister, str]:
    """The body of `catalog/deregister`: the command, and the datacenter it asks for."""
    try:
        found = _DEREGISTER.read("", load(body))
    except DecodeFailure as error:
        raise decode_failed(error) from None
    wanted = found.pop("datacenter", "")
    if not found.get("node"):
        raise RequestError(500, "Must provide node")
    return Deregister(**found), wanted


# -- connect -------------------------------------------------------------------------------------

_AUTHORIZE = Shape(
    "ConnectAuthorizeRequest",
    {
        "Target": ("target", string),
        "ClientCertURI": ("client_cert_uri", string),
        "ClientCertSerial": ("client_cert_serial", string),
        "Namespace": ("namespace", ignored),
    },
)


def authorize(body: bytes) -> tuple[str, str]:
    """The body of `agent/connect/authorize`: target service and the client's URI."""
    try:
        found = _AUTHORIZE.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Request decode failed: {error}") from None
    return found.get("target", ""), found.get("client_cert_uri", "")


_CA_CONFIG = Shape(
    "CAConfiguration",
    {
        "Provider": ("provider", string),
        "Config": ("config", any_object),
        "State": ("state", ignored),
        "ForceWithoutCrossSigning": ("force", boolean),
        "ClusterID": ("cluster_id", ignored),
        "CreateIndex": ("create_index", ignored),
        "ModifyIndex": ("modify_index", ignored),
    },
    snake=True,
)


def ca_configuration(body: bytes) -> tuple[str, dict[str, Json], bool]:
    """The body of a CA configuration: provider, its settings, whether to skip cross-signing."""
    try:
        found = _CA_CONFIG.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Request decode failed: {error}") from None
    return found.get("provider", ""), found.get("config", {}), found.get("force", False)


_INTENTION = Shape(
    "Intention",
    {
        "ID": ("id", string),
        "Description": ("description", string),
        "SourceNS": ("source_ns", ignored),
        "SourceName": ("source", string),
        "DestinationNS": ("destination_ns", ignored),
        "DestinationName": ("destination", string),
        "SourceType": ("type", string),
        "Action": ("action", string),
        "Permissions": ("permissions", objects(any_object)),
        "DefaultAddr": ("default_addr", ignored),
        "DefaultPort": ("default_port", ignored),
        "Meta": ("meta", string_map),
        "Precedence": ("precedence", ignored),
        "CreatedAt": ("created_at", ignored),
        "UpdatedAt": ("updated_at", ignored),
        "Hash": ("hash", ignored),
        "CreateIndex": ("create_index", ignored),
        "ModifyIndex": ("modify_index", ignored),
    },
)


def intention(body: bytes) -> dict[str, Any]:
    """The body of an intention write, by our field names."""
    try:
        return _INTENTION.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(500, f"Failed to decode request body: {error}") from None
