"""Catalog writes: `catalog/register` and `deregister` bodies into commands (http-api contract 5).

Decides what a client may leave out and refuses, in the reference's words, what no state could take.
What depends on the stored state is the state machine's to refuse.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from agent.durations import format_ns
from agent.errors import RequestError
from agent.http.decode import (
    Convert,
    DecodeFailure,
    Shape,
    boolean,
    duration_ns,
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
from agent.http.parse import address, decode_failed, proxy, several, weights
from agent.http.parse_ports import locality, service_port
from agent.named_ports import completed, problem
from raftstore.commands import Deregister, Register
from raftstore.records import (
    Check,
    CheckId,
    Json,
    Node,
    NodeId,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
    TaggedAddress,
)
from raftstore.thawed import copier_of, maker_of

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_CATALOG_CONNECT = Shape(
    "ServiceConnect", {"Native": ("native", boolean), "SidecarService": ("sidecar", ignored)}
)
NODE_SERVICE: dict[str, tuple[str, Convert]] = {
    "Kind": ("kind", string),
    "ID": ("id", string),
    "Service": ("name", string),
    "Tags": ("tags", strings),
    "Address": ("address", string),
    "TaggedAddresses": ("tagged_addresses", object_map(address)),
    "Meta": ("meta", string_map),
    "Port": ("port", integer),
    "SocketPath": ("socket_path", string),
    "Weights": ("weights", weights),
    "EnableTagOverride": ("enable_tag_override", boolean),
    "Proxy": ("proxy", proxy),
    "Connect": ("connect", _CATALOG_CONNECT.read),
    "LocallyRegisteredAsSidecar": ("sidecar", ignored),
    "Namespace": ("namespace", ignored),
    "Partition": ("partition", ignored),
    "PeerName": ("peer_name", ignored),
    "CreateIndex": ("create_index", ignored),
    "ModifyIndex": ("modify_index", ignored),
    "Ports": ("ports", objects(service_port)),
    "Locality": ("locality", locality),
}
_NODE_SERVICE = Shape("NodeService", NODE_SERVICE)
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
    "TCPUseTLS": ("TCPUseTLS", boolean),
    "UDP": ("UDP", string),
    "OSService": ("OSService", string),
    "H2PING": ("H2PING", string),
    "H2PingUseTLS": ("H2PingUseTLS", boolean),
    "SessionName": ("SessionName", string),
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


@reads(lambda: _DEFINITION)
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


HEALTH_CHECK: dict[str, tuple[str, Convert]] = {
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
    "Partition": ("partition", ignored),
    "PeerName": ("peer_name", ignored),
    "CreateIndex": ("create_index", ignored),
    "ModifyIndex": ("modify_index", ignored),
}
_HEALTH_CHECK = Shape("HealthCheck", HEALTH_CHECK)
REGISTER = Shape(
    "RegisterRequest",
    {
        "ID": ("id", string),
        "Node": ("name", string),
        "Address": ("address", string),
        "TaggedAddresses": ("tagged_addresses", string_map),
        "NodeMeta": ("meta", string_map),
        "Locality": ("locality", locality),
        "Datacenter": ("datacenter", string),
        "Service": ("service", _NODE_SERVICE.read),
        "Check": ("check", _HEALTH_CHECK.read),
        "Checks": ("checks", objects(_HEALTH_CHECK.read)),
        "SkipNodeUpdate": ("skip_node_update", boolean),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
    },
)


#: Records are copies of these with what is given: cheaper by half than their ``__init__``.
_ANY_NODE = Node(name=NodeName(""), datacenter="")
_ANY_SERVICE = Service(node=NodeName(""), id=ServiceId(""), name=ServiceName(""))
_ANY_CHECK = Check(node=NodeName(""), id=CheckId(""), name="")
_node, _service, _check = copier_of(Node), copier_of(Service), copier_of(Check)
_make_register = maker_of(Register)


def register(body: bytes, *, datacenter: str) -> tuple[Register, str]:
    """The body of `catalog/register`: the command, and the datacenter it asks for ("" = ours)."""
    try:
        found = REGISTER.read("", load(body))
    except DecodeFailure as error:
        raise decode_failed(error) from None
    wanted = found.pop("datacenter", "")
    service, check = found.pop("service", None), found.pop("check", None)
    checks, skip = found.pop("checks", ()), found.pop("skip_node_update", False)
    node_id = found.pop("id", "")
    node = _node(_ANY_NODE, {"datacenter": datacenter, "id": NodeId(node_id.lower()), **found})
    if not node.name:
        raise RequestError(500, "Must provide node")
    if not node.address and not skip:
        raise RequestError(500, "Must provide address if SkipNodeUpdate is not set")
    _check_node_id(node_id)
    if check is not None:
        checks = (check, *checks)
    command = _make_register(
        node,
        catalog_service(service, node.name) if service is not None else None,
        tuple([_catalog_check(item, node.name) for item in checks]),
        skip,
    )
    return command, wanted


def _check_node_id(node_id: str) -> None:
    if not node_id or _UUID.fullmatch(node_id):
        return
    reason = "uuid string is wrong length" if len(node_id) != 36 else "uuid is improperly formatted"
    raise RequestError(500, f"Bad node ID: {reason}")


def catalog_service(found: Mapping[str, Any], node: NodeName) -> Service:
    fields = dict(found)
    name, service_id = fields.pop("name", ""), fields.pop("id", "")
    native = fields.pop("connect", {}).get("native", False)
    if service_id and not name:
        raise RequestError(500, "Must provide service name with ID")
    fields["node"], fields["name"], fields["id"] = node, name, service_id or name
    fields["connect_native"] = native
    given = fields.get("weights")
    if given is not None and not given.in_range:
        del fields["weights"]  # as in Consul, where clients that know of no weights send zeros
    if "ports" in fields:
        port, ports = fields.get("port", 0), fields["ports"]
        words = problem(port, ports)
        if words:
            raise RequestError(500, f"Invalid service ports: {words}")
        fields["port"], fields["ports"] = completed(port, ports)
    service: Service = _service(_ANY_SERVICE, fields)
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
    fields["node"], fields["name"], fields["id"] = node, name, fields.get("id") or name
    made: Check = _check(_ANY_CHECK, fields)
    return made


DEREGISTER = Shape(
    "DeregisterRequest",
    {
        "Datacenter": ("datacenter", string),
        "Node": ("node", string),
        "Address": ("address", ignored),
        "ServiceID": ("service_id", string),
        "CheckID": ("check_id", string),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
    },
)


def deregister(body: bytes) -> tuple[Deregister, str]:
    """The body of `catalog/deregister`: the command, and the datacenter it asks for."""
    try:
        found = DEREGISTER.read("", load(body))
    except DecodeFailure as error:
        raise decode_failed(error) from None
    wanted = found.pop("datacenter", "")
    if not found.get("node"):
        raise RequestError(500, "Must provide node")
    return Deregister(**found), wanted
