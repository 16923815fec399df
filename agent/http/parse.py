"""Consul's JSON in: request bodies into definitions, records and commands (http-api contract).

Decides what a body may look like and what its absence means. Whether a definition makes sense on
this host is agent/local's business; whether a write fits the state is the state machine's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from agent.definitions import CheckDefinition, ServiceDefinition
from agent.errors import RequestError
from agent.http.decode import (
    Convert,
    DecodeFailure,
    Shape,
    any_object,
    boolean,
    duration_s,
    ignored,
    integer,
    load,
    object_map,
    objects,
    reads,
    string,
    string_map,
    strings,
    strings_map,
)
from agent.http.parse_ports import locality, service_port
from agent.named_ports import completed
from raftstore.records import (
    ExposePath,
    Json,
    Proxy,
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


@reads(lambda: _ADDRESS)
def address(name: str, value: Json) -> TaggedAddress:
    """An address with a port."""
    found = _ADDRESS.read(name, value)
    return TaggedAddress(found.get("address", ""), found.get("port", 0))


@reads(lambda: _WEIGHTS)
def weights(name: str, value: Json) -> Weights:
    """Weights; what is left out is 0 and refused later."""
    found = _WEIGHTS.read(name, value)
    return Weights(found.get("passing", 0), found.get("warning", 0))


@reads(lambda: _MESH_GATEWAY)
def _mode(name: str, value: Json) -> str:
    return str(_MESH_GATEWAY.read(name, value).get("mode", ""))


@reads(lambda: _EXPOSE_PATH)
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
        "DestinationPartition": ("namespace", ignored),
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


@reads(lambda: _UPSTREAM)
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


@reads(lambda: _PROXY)
def proxy(name: str, value: Json) -> Proxy:
    """The proxy part of a registration."""
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
    "TCPUseTLS": ("tcp_use_tls", boolean),
    "UDP": ("udp", string),
    "GRPC": ("grpc", string),
    "GRPCUseTLS": ("grpc_use_tls", boolean),
    "H2PING": ("h2ping", string),
    "H2PINGUseTLS": ("h2ping_use_tls", boolean),  # for its spelling with underscores
    "H2PingUseTLS": ("h2ping_use_tls", boolean),
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
    "Partition": ("partition", ignored),
}
CHECK_DEFINITION = Shape("CheckDefinition", _CHECK_TYPE, snake=True)


@reads(lambda: CHECK_DEFINITION)
def _check_definition(name: str, value: Json) -> CheckDefinition:
    return CheckDefinition(**CHECK_DEFINITION.read(name, value))


@reads(lambda: _PROXY)
def _agent_proxy(name: str, value: Json) -> Proxy:
    """As in the catalog, but an upstream's destination is a service unless it says otherwise."""
    found = proxy(name, value)
    upstreams = tuple(
        up if up.destination_type else replace(up, destination_type="service")
        for up in found.upstreams
    )
    return replace(found, upstreams=upstreams)


@reads(lambda: SERVICE_DEFINITION)
def _service_definition(name: str, value: Json) -> ServiceDefinition:
    found = SERVICE_DEFINITION.read(name, value)
    connect = found.pop("connect", {})
    check = found.pop("check", None)
    checks = found.pop("checks", ())
    if "ports" in found:
        found["port"], found["ports"] = completed(found.get("port", 0), found["ports"])
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
SERVICE_DEFINITION: Shape = Shape(
    "ServiceDefinition",
    {
        "Kind": ("kind", string),
        "ID": ("id", string),
        "Name": ("name", string),
        "Tags": ("tags", strings),
        "Address": ("address", string),
        "TaggedAddresses": ("tagged_addresses", object_map(address)),
        "Port": ("port", integer),
        "SocketPath": ("socket_path", string),
        "Meta": ("meta", string_map),
        "Weights": ("weights", weights),
        "EnableTagOverride": ("enable_tag_override", boolean),
        "Token": ("token", string),
        "Proxy": ("proxy", _agent_proxy),
        "Connect": ("connect", _CONNECT.read),
        "Check": ("check", _check_definition),
        "Checks": ("checks", objects(_check_definition)),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
        "Ports": ("ports", objects(service_port)),
        "Locality": ("locality", locality),
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


CHECK_UPDATE = Shape("checkUpdate", {"Status": ("status", string), "Output": ("output", string)})


def check_update(body: bytes) -> tuple[str, str]:
    """The body of `agent/check/update`: status and output."""
    try:
        found = CHECK_UPDATE.read("", load(body))
    except DecodeFailure as error:
        raise decode_failed(error) from None
    return found.get("status", ""), found.get("output", "")


def several(problems: list[str]) -> str:
    """Collected errors in the form clients know (contract 1.3)."""
    lines = "".join(f"\n\t* {problem}" for problem in problems)
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    return f"{count} occurred:{lines}\n\n"


# -- connect -------------------------------------------------------------------------------------

AUTHORIZE = Shape(
    "ConnectAuthorizeRequest",
    {
        "Target": ("target", string),
        "ClientCertURI": ("client_cert_uri", string),
        "ClientCertSerial": ("client_cert_serial", string),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
    },
)


def authorize(body: bytes) -> tuple[str, str, str]:
    """The body of `agent/connect/authorize`: target service, the client's URI and serial."""
    try:
        found = AUTHORIZE.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Request decode failed: {error}") from None
    names = ("target", "client_cert_uri", "client_cert_serial")
    target, uri, serial = (found.get(name, "") for name in names)
    return target, uri, serial


CA_CONFIG = Shape(
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
        found = CA_CONFIG.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Request decode failed: {error}") from None
    return found.get("provider", ""), found.get("config", {}), found.get("force", False)


INTERMEDIATE = Shape("Intermediate", {"CertPEM": ("chain_pem", string)})


def intermediate(body: bytes) -> str:
    """Certificates as PEM: an intermediate and those above it."""
    try:
        found = INTERMEDIATE.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Request decode failed: {error}") from None
    return str(found.get("chain_pem", ""))


INTENTION = Shape(
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
        # It follows from the names; still one that is no number is a mistake to be told.
        "Precedence": ("precedence", integer),
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
        return INTENTION.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(500, f"Failed to decode request body: {error}") from None
