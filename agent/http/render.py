"""Records out into Consul's JSON: which keys are there, in which form (http-api contract 1.9).

Decides between null, empty and absent, which clients can tell apart. The values are plain JSON;
turning them into bytes is `reply`'s.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from agent.http.context import GossipMember, LeafView
from raftstore.entries.intentions import PERMISSIONS
from raftstore.entries.shape import Shape, show
from raftstore.places import Locality
from raftstore.queries import CARootsAnswer, HealthEntry, ServiceNode
from raftstore.records import (
    CAConfig,
    Check,
    Intention,
    Json,
    KVPair,
    Node,
    Proxy,
    Service,
    TaggedAddress,
    Upstream,
)

Object = dict[str, Json]

_PLAIN_PROXY = Proxy()


def _map(value: Mapping[str, Any] | None) -> Object | None:
    return None if value is None else dict(value)


def kv_pair(pair: KVPair) -> Object:
    """A key; its value is base64, null when empty."""
    shown: Object = {
        "LockIndex": pair.lock_index,
        "Key": pair.key,
        "Flags": pair.flags,
        "Value": base64.b64encode(pair.value).decode("ascii") if pair.value else None,
    }
    if pair.session:
        shown["Session"] = pair.session
    shown["CreateIndex"] = pair.create_index
    shown["ModifyIndex"] = pair.modify_index
    return shown


def node(value: Node) -> Object:
    """A node as the catalog and health show it."""
    where: Object = {} if value.locality is None else {"Locality": locality(value.locality)}
    return {
        "ID": value.id,
        "Node": value.name,
        "Address": value.address,
        "Datacenter": value.datacenter,
        "TaggedAddresses": _map(value.tagged_addresses),
        "Meta": _map(value.meta),
        **where,
        "CreateIndex": value.create_index,
        "ModifyIndex": value.modify_index,
    }


def locality(value: Locality) -> Object:
    """Where something runs."""
    return {"Region": value.region, "Zone": value.zone}


def _more(value: Service, prefix: str = "") -> Object:
    """What only some services have."""
    shown: Object = {}
    if value.ports:
        shown[f"{prefix}Ports"] = [
            {"Name": each.name, "Port": each.port, "Default": each.default} for each in value.ports
        ]
    if value.locality is not None:
        shown[f"{prefix}Locality"] = locality(value.locality)
    return shown


def _tagged(addresses: Mapping[str, TaggedAddress]) -> Object:
    return {tag: {"Address": at.address, "Port": at.port} for tag, at in addresses.items()}


def _weights(value: Service) -> Object:
    return {"Passing": value.weights.passing, "Warning": value.weights.warning}


def _upstream(value: Upstream, *, full: bool) -> Object:
    shown: Object = {
        "DestinationType": value.destination_type,
        "DestinationName": value.destination_name,
        "Datacenter": value.datacenter,
        "LocalBindAddress": value.local_bind_address,
        "LocalBindPort": value.local_bind_port,
        "LocalBindSocketPath": value.local_bind_socket_path,
        "LocalBindSocketMode": value.local_bind_socket_mode,
        "Config": _map(value.config),
    }
    kept = {"DestinationType", "DestinationName", "Datacenter"} if full else set[str]()
    shown = {key: item for key, item in shown.items() if item or key in kept}
    shown["MeshGateway"] = _mesh_gateway(value.mesh_gateway_mode)
    return shown


def _mesh_gateway(mode: str) -> Object:
    return {"Mode": mode} if mode else {}


def _expose(value: Proxy) -> Object:
    shown: Object = {}
    if value.expose_checks:
        shown["Checks"] = True
    if value.expose_paths:
        shown["Paths"] = [
            {
                "ListenerPort": path.listener_port,
                "Path": path.path,
                "LocalPathPort": path.local_path_port,
                "Protocol": path.protocol,
            }
            for path in value.expose_paths
        ]
    return shown


def proxy(value: Proxy, *, full: bool = True) -> Object:
    """The proxy part. ``full`` is the catalog's form; the agent's leaves more out."""
    if value == _PLAIN_PROXY and full:
        return {"Mode": "", "MeshGateway": {}, "Expose": {}}
    shown: Object = {
        "DestinationServiceName": value.destination_service_name,
        "DestinationServiceID": value.destination_service_id,
        "LocalServiceAddress": value.local_service_address,
        "LocalServicePort": value.local_service_port,
        "LocalServiceSocketPath": value.local_service_socket_path,
        "Mode": value.mode,
        "Config": _map(value.config),
        "Upstreams": [_upstream(item, full=full) for item in value.upstreams],
    }
    shown = {key: item for key, item in shown.items() if item or (full and key == "Mode")}
    shown["MeshGateway"] = _mesh_gateway(value.mesh_gateway_mode)
    shown["Expose"] = _expose(value)
    transparent: Object = {}
    if value.outbound_listener_port:
        transparent["OutboundListenerPort"] = value.outbound_listener_port
    if value.dialed_directly:
        transparent["DialedDirectly"] = True
    if transparent:
        shown["TransparentProxy"] = transparent
    return shown


def node_service(value: Service) -> Object:
    """A service below a node: in health entries and `catalog/node`."""
    shown: Object = {"Kind": value.kind} if value.kind else {}
    shown["ID"] = value.id
    shown["Service"] = value.name
    shown["Tags"] = list(value.tags)
    shown["Address"] = value.address
    if value.tagged_addresses:
        shown["TaggedAddresses"] = _tagged(value.tagged_addresses)
    shown["Meta"] = _map(value.meta)
    if value.port:
        shown["Port"] = value.port
    if value.socket_path:
        shown["SocketPath"] = value.socket_path
    shown["Weights"] = _weights(value)
    shown["EnableTagOverride"] = value.enable_tag_override
    shown["Proxy"] = proxy(value.proxy)
    shown["Connect"] = {"Native": True} if value.connect_native else {}
    if value.ports or value.locality is not None:
        shown |= _more(value)
    shown["CreateIndex"] = value.create_index
    shown["ModifyIndex"] = value.modify_index
    return shown


def service_node(value: ServiceNode) -> Object:
    """The flat form of `catalog/service`."""
    at, service = value.node, value.service
    shown: Object = {
        "ID": at.id,
        "Node": at.name,
        "Address": at.address,
        "Datacenter": at.datacenter,
        "TaggedAddresses": _map(at.tagged_addresses),
        "NodeMeta": _map(at.meta),
        "ServiceKind": service.kind,
        "ServiceID": service.id,
        "ServiceName": service.name,
        "ServiceTags": list(service.tags),
        "ServiceAddress": service.address,
    }
    if service.tagged_addresses:
        shown["ServiceTaggedAddresses"] = _tagged(service.tagged_addresses)
    shown["ServiceWeights"] = _weights(service)
    shown["ServiceMeta"] = dict(service.meta or {})
    shown["ServicePort"] = service.port
    shown["ServiceSocketPath"] = service.socket_path
    shown["ServiceEnableTagOverride"] = service.enable_tag_override
    shown["ServiceProxy"] = proxy(service.proxy)
    shown["ServiceConnect"] = {"Native": True} if service.connect_native else {}
    if service.ports or service.locality is not None:
        shown |= _more(service, "Service")
    shown["CreateIndex"] = service.create_index
    shown["ModifyIndex"] = service.modify_index
    return shown


def check(value: Check) -> Object:
    """A check in the catalog's form."""
    return {
        "Node": value.node,
        "CheckID": value.id,
        "Name": value.name,
        "Status": value.status,
        "Notes": value.notes,
        "Output": value.output,
        "ServiceID": value.service_id,
        "ServiceName": value.service_name,
        "ServiceTags": list(value.service_tags),
        "Type": value.type,
        "Interval": value.interval,
        "Timeout": value.timeout,
        "ExposedPort": value.exposed_port,
        "Definition": dict(value.definition),
        "CreateIndex": value.create_index,
        "ModifyIndex": value.modify_index,
    }


def local_check(value: Check, node_name: str) -> Object:
    """A check of this agent: it carries no index, and its node is this one."""
    shown = check(value)
    shown["Node"] = value.node or node_name
    shown["CreateIndex"] = shown["ModifyIndex"] = 0
    return shown


_CLIENT_DEFINITION: Object = {
    "Interval": "0s",
    "Timeout": "0s",
    "DeregisterCriticalServiceAfter": "0s",
    "HTTP": "",
    "Header": None,
    "Method": "",
    "Body": "",
    "TLSServerName": "",
    "TLSSkipVerify": False,
    "TCP": "",
    "GRPC": "",
    "GRPCUseTLS": False,
}


def client_check(value: Check, node_name: str) -> Object:
    """A check in the form of the Go client's structure, as `agent/health` shows it."""
    return {
        "Node": value.node or node_name,
        "CheckID": value.id,
        "Name": value.name,
        "Status": value.status,
        "Notes": value.notes,
        "Output": value.output,
        "ServiceID": value.service_id,
        "ServiceName": value.service_name,
        "ServiceTags": list(value.service_tags) or None,
        "Type": "",
        "Definition": _CLIENT_DEFINITION,
        "CreateIndex": 0,
        "ModifyIndex": 0,
    }


def health_entry(value: HealthEntry) -> Object:
    """An instance with its node and the checks that decide about it."""
    return {
        "Node": node(value.node),
        "Service": node_service(value.service),
        "Checks": [check(item) for item in value.checks],
    }


def agent_service(value: Service, datacenter: str) -> Object:
    """A service of this agent, without its content hash."""
    shown: Object = {"Kind": value.kind} if value.kind else {}
    shown["ID"] = value.id
    shown["Service"] = value.name
    shown["Tags"] = list(value.tags)
    shown["Meta"] = dict(value.meta or {})
    shown["Port"] = value.port
    if value.socket_path:
        shown["SocketPath"] = value.socket_path
    shown["Address"] = value.address
    if value.tagged_addresses:
        shown["TaggedAddresses"] = _tagged(value.tagged_addresses)
    shown["Weights"] = _weights(value)
    shown["EnableTagOverride"] = value.enable_tag_override
    if value.kind:
        shown["Proxy"] = proxy(value.proxy, full=False)
    if value.connect_native:
        shown["Connect"] = {"Native": True}
    shown |= _more(value)
    shown["Datacenter"] = datacenter
    return shown


def content_hash(value: Json) -> str:
    """A hash that changes when the shown value changes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


_PERMISSION = PERMISSIONS.shape or Shape(())


def intention(value: Intention) -> Object:
    """An intention; ids, times and hash only for those of the id-style endpoints."""
    source = value.source
    shown: Object = {"ID": source.legacy_id} if source.legacy_id else {}
    if source.description:
        shown["Description"] = source.description
    shown["SourceNS"] = "default"
    shown["SourceName"] = source.name
    shown["DestinationNS"] = "default"
    shown["DestinationName"] = value.destination
    shown["SourceType"] = source.type
    if source.action:
        shown["Action"] = source.action
    if source.permissions:
        shown["Permissions"] = [show(_PERMISSION, item) for item in source.permissions]
    if value.jwt is not None:
        shown["JWT"] = value.jwt
    if source.legacy_meta:
        shown["Meta"] = dict(source.legacy_meta)
    shown["Precedence"] = source.precedence
    if source.legacy_id:
        shown["CreatedAt"] = source.legacy_create_time
        shown["UpdatedAt"] = source.legacy_update_time
        shown["Hash"] = base64.b64encode(
            hashlib.sha256(content_hash(shown).encode()).digest()
        ).decode("ascii")
    shown["CreateIndex"] = value.create_index
    shown["ModifyIndex"] = value.modify_index
    return shown


def ca_roots(answer: CARootsAnswer) -> Object:
    """The roots that verify leaves."""
    active = next((root.id for root in answer.roots if root.active), "")
    shown = []
    for root in answer.roots:
        item: Object = {
            "ID": root.id,
            "Name": root.name,
            "SerialNumber": root.serial_number,
            "SigningKeyID": root.signing_key_id,
            "ExternalTrustDomain": root.external_trust_domain,
            "NotBefore": root.not_before,
            "NotAfter": root.not_after,
            "RootCert": root.root_cert,
            "IntermediateCerts": list(root.intermediate_certs) or None,
            "Active": root.active,
            "PrivateKeyType": root.private_key_type,
            "PrivateKeyBits": root.private_key_bits,
        }
        if root.rotated_out_at:
            item["RotatedOutAt"] = root.rotated_out_at
        item["CreateIndex"] = root.create_index
        item["ModifyIndex"] = root.modify_index
        shown.append(item)
    return {"ActiveRootID": active, "TrustDomain": answer.trust_domain, "Roots": shown}


def ca_config(value: CAConfig) -> Object:
    """The CA's configuration."""
    return {
        "Provider": value.provider,
        "Config": dict(value.config),
        "State": _map(value.state),
        "ForceWithoutCrossSigning": value.force_without_cross_signing,
        "CreateIndex": value.create_index,
        "ModifyIndex": value.modify_index,
    }


def leaf(value: LeafView) -> Object:
    """A leaf certificate with its key."""
    return {
        "SerialNumber": value.serial_number,
        "CertPEM": value.cert_pem,
        "PrivateKeyPEM": value.private_key_pem,
        "Service": value.service,
        "ServiceURI": value.service_uri,
        "ValidAfter": value.valid_after,
        "ValidBefore": value.valid_before,
        "CreateIndex": value.create_index,
        "ModifyIndex": value.modify_index,
    }


def member(value: GossipMember, name: str | None = None) -> Object:
    """A member of the gossip pool."""
    return {
        "Name": name or value.name,
        "Addr": value.address,
        "Port": value.port,
        "Tags": dict(value.tags),
        "Status": int(value.status),
        "ProtocolMin": value.protocol_min,
        "ProtocolMax": value.protocol_max,
        "ProtocolCur": value.protocol_current,
        "DelegateMin": value.delegate_min,
        "DelegateMax": value.delegate_max,
        "DelegateCur": value.delegate_current,
    }
