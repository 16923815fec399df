"""The JSON that registrations have on disk, in both directions.

Decides the shape only (agent contract, section 3: the reference's own, so that its data directory
can be taken over). Unknown keys are passed over, missing ones have their defaults; anything of the
wrong type is a ``StoredError``, and the file is then skipped by files.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.definitions import CheckDefinition
from agent.local.services import LocalCheck, LocalService
from raftstore.places import Locality, ServicePort
from raftstore.records import (
    CRITICAL,
    PASSING,
    WARNING,
    Check,
    CheckId,
    ExposePath,
    Json,
    NodeName,
    Proxy,
    Service,
    ServiceId,
    ServiceName,
    TaggedAddress,
    Upstream,
    Weights,
)


class StoredError(ValueError):
    """The content is not what this agent or the reference writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptState:
    """The last word about a check. ``expires_at`` is Unix time: a TTL check's update plus its TTL,
    0 for the others, whose state counts until they are run again."""

    check_id: CheckId
    status: str
    output: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEntry:
    """A config entry as a server last told it; ``content`` is None where there was none."""

    kind: str
    name: str
    content: Mapping[str, Json] | None

    @property
    def key(self) -> str:
        """What its file is named by."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the directory holds; what cannot be read is logged and not in here."""

    services: tuple[LocalService, ...] = ()
    checks: tuple[LocalCheck, ...] = ()
    states: tuple[KeptState, ...] = ()
    entries: tuple[KeptEntry, ...] = ()
    #: What the catalog may still call this host (former.py).
    former_names: tuple[NodeName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Files to write and to remove, in one go. A gone check's state goes with it; that of one in
    ``now_in_files`` stays, since only its definition is no request's any more."""

    services: tuple[LocalService, ...] = ()
    checks: tuple[LocalCheck, ...] = ()
    gone_services: tuple[ServiceId, ...] = ()
    gone_checks: tuple[CheckId, ...] = ()
    now_in_files: tuple[CheckId, ...] = ()


def entry_json(entry: KeptEntry) -> Json:
    """A config entry as its file holds it."""
    return {"Kind": entry.kind, "Name": entry.name, "Entry": entry.content}


def read_entry(data: Json) -> KeptEntry:
    """The config entry that a file holds. Raises StoredError."""
    top = _Fields(data)
    return KeptEntry(kind=top.text("Kind"), name=top.text("Name"), content=top.mapping("Entry"))


def service_json(service: LocalService) -> Json:
    """A service as the file holds it."""
    stored: dict[str, Json] = {
        "Token": service.token,
        "Service": _service(service.record),
        "Source": service.source,
    }
    if service.sidecar:
        stored["LocallyRegisteredAsSidecar"] = True
    return stored


def read_service(data: Json, node: NodeName) -> LocalService:
    """The service a file holds. Raises StoredError."""
    top = _Fields(data)
    body = top.sub("Service")
    weights = body.sub("Weights")
    tagged = {
        tag: TaggedAddress(_Fields(entry).text("Address"), _Fields(entry).number("Port"))
        for tag, entry in body.mapping("TaggedAddresses").items()
    }
    record = Service(
        node=node,
        id=ServiceId(body.needed("ID")),
        name=ServiceName(body.needed("Service")),
        kind=body.text("Kind"),
        tags=body.texts("Tags"),
        address=body.text("Address"),
        tagged_addresses=tagged or None,
        port=body.number("Port"),
        socket_path=body.text("SocketPath"),
        meta=body.text_map("Meta"),
        weights=Weights(weights.number("Passing", 1), weights.number("Warning", 1)),
        enable_tag_override=body.flag("EnableTagOverride"),
        proxy=_read_proxy(body.sub("Proxy")),
        connect_native=body.sub("Connect").flag("Native"),
        ports=tuple(
            ServicePort(port.text("Name"), port.number("Port"), port.flag("Default"))
            for port in map(_Fields, body.items("Ports"))
        ),
        locality=_read_locality(body.sub("Locality")),
    )
    return LocalService(
        record=record,
        token=top.text("Token"),
        source="remote",
        sidecar=top.flag("LocallyRegisteredAsSidecar"),
    )


def _read_locality(fields: _Fields) -> Locality | None:
    found = Locality(fields.text("Region"), fields.text("Zone"))
    return found if found != Locality() else None


def check_json(check: LocalCheck) -> Json:
    """A check as the file holds it."""
    record = check.record
    return {
        "Check": {
            "Node": record.node,
            "CheckID": record.id,
            "Name": record.name,
            "Status": record.status,
            "Notes": record.notes,
            "Output": record.output,
            "ServiceID": record.service_id,
            "ServiceName": record.service_name,
            "ServiceTags": list(record.service_tags),
            "Type": record.type,
            "Interval": record.interval,
            "Timeout": record.timeout,
        },
        "ChkType": _check_type(check.definition),
        "Token": check.token,
        "Source": check.source,
    }


def read_check(data: Json, node: NodeName) -> LocalCheck:
    """The check a file holds, critical until it has run. Raises StoredError."""
    top = _Fields(data)
    body = top.sub("Check")
    record = Check(
        node=node,
        id=CheckId(body.needed("CheckID")),
        name=body.text("Name"),
        status=CRITICAL,
        notes=body.text("Notes"),
        service_id=ServiceId(body.text("ServiceID")),
        service_name=ServiceName(body.text("ServiceName")),
        service_tags=body.texts("ServiceTags"),
        type=body.text("Type"),
        interval=body.text("Interval"),
        timeout=body.text("Timeout"),
    )
    definition = _read_check_type(top.sub("ChkType"), record, top.text("Token"))
    return LocalCheck(
        record=record, definition=definition, token=top.text("Token"), source="remote"
    )


def state_json(state: KeptState) -> Json:
    """The state of a TTL check as the file holds it."""
    return {
        "CheckID": state.check_id,
        "Status": state.status,
        "Output": state.output,
        "Expires": int(state.expires_at),
    }


def read_state(data: Json) -> KeptState:
    """The state a file holds. Raises StoredError."""
    fields = _Fields(data)
    status = fields.text("Status")
    if status not in {PASSING, WARNING, CRITICAL}:
        raise StoredError(f"Status {status!r} is no status")
    return KeptState(
        check_id=CheckId(fields.needed("CheckID")),
        status=status,
        output=fields.text("Output"),
        expires_at=float(fields.number("Expires")),
    )


def _service(record: Service) -> Json:
    stored: dict[str, Json] = {
        "Kind": record.kind,
        "ID": record.id,
        "Service": record.name,
        "Tags": list(record.tags),
        "Address": record.address,
        "TaggedAddresses": {
            tag: {"Address": entry.address, "Port": entry.port}
            for tag, entry in (record.tagged_addresses or {}).items()
        },
        "Meta": dict(record.meta or {}),
        "Port": record.port,
        "SocketPath": record.socket_path,
        "Weights": {"Passing": record.weights.passing, "Warning": record.weights.warning},
        "EnableTagOverride": record.enable_tag_override,
        "Proxy": _proxy(record.proxy),
        "Connect": {"Native": True} if record.connect_native else {},
    }
    if record.ports:
        stored["Ports"] = [
            {"Name": each.name, "Port": each.port, "Default": each.default} for each in record.ports
        ]
    if record.locality is not None:
        stored["Locality"] = {"Region": record.locality.region, "Zone": record.locality.zone}
    return stored


def _proxy(proxy: Proxy) -> Json:
    return {
        "DestinationServiceName": proxy.destination_service_name,
        "DestinationServiceID": proxy.destination_service_id,
        "LocalServiceAddress": proxy.local_service_address,
        "LocalServicePort": proxy.local_service_port,
        "LocalServiceSocketPath": proxy.local_service_socket_path,
        "Mode": proxy.mode,
        "Config": None if proxy.config is None else dict(proxy.config),
        "Upstreams": [
            {
                "DestinationType": upstream.destination_type,
                "DestinationName": upstream.destination_name,
                "Datacenter": upstream.datacenter,
                "LocalBindAddress": upstream.local_bind_address,
                "LocalBindPort": upstream.local_bind_port,
                "LocalBindSocketPath": upstream.local_bind_socket_path,
                "LocalBindSocketMode": upstream.local_bind_socket_mode,
                "Config": None if upstream.config is None else dict(upstream.config),
                "MeshGateway": {"Mode": upstream.mesh_gateway_mode},
            }
            for upstream in proxy.upstreams
        ],
        "MeshGateway": {"Mode": proxy.mesh_gateway_mode},
        "Expose": {
            "Checks": proxy.expose_checks,
            "Paths": [
                {
                    "Path": path.path,
                    "ListenerPort": path.listener_port,
                    "LocalPathPort": path.local_path_port,
                    "Protocol": path.protocol,
                }
                for path in proxy.expose_paths
            ],
        },
        "TransparentProxy": {
            "OutboundListenerPort": proxy.outbound_listener_port,
            "DialedDirectly": proxy.dialed_directly,
        },
    }


def _read_proxy(fields: _Fields) -> Proxy:
    expose = fields.sub("Expose")
    transparent = fields.sub("TransparentProxy")
    return Proxy(
        destination_service_name=fields.text("DestinationServiceName"),
        destination_service_id=fields.text("DestinationServiceID"),
        local_service_address=fields.text("LocalServiceAddress"),
        local_service_port=fields.number("LocalServicePort"),
        local_service_socket_path=fields.text("LocalServiceSocketPath"),
        mode=fields.text("Mode"),
        config=fields.optional_mapping("Config"),
        upstreams=tuple(_read_upstream(_Fields(item)) for item in fields.items("Upstreams")),
        mesh_gateway_mode=fields.sub("MeshGateway").text("Mode"),
        expose_checks=expose.flag("Checks"),
        expose_paths=tuple(
            ExposePath(
                path=path.text("Path"),
                listener_port=path.number("ListenerPort"),
                local_path_port=path.number("LocalPathPort"),
                protocol=path.text("Protocol"),
            )
            for path in map(_Fields, expose.items("Paths"))
        ),
        outbound_listener_port=transparent.number("OutboundListenerPort"),
        dialed_directly=transparent.flag("DialedDirectly"),
    )


def _read_upstream(fields: _Fields) -> Upstream:
    return Upstream(
        destination_type=fields.text("DestinationType"),
        destination_name=fields.text("DestinationName"),
        datacenter=fields.text("Datacenter"),
        local_bind_address=fields.text("LocalBindAddress"),
        local_bind_port=fields.number("LocalBindPort"),
        local_bind_socket_path=fields.text("LocalBindSocketPath"),
        local_bind_socket_mode=fields.text("LocalBindSocketMode"),
        config=fields.optional_mapping("Config"),
        mesh_gateway_mode=fields.sub("MeshGateway").text("Mode"),
    )


def _check_type(check: CheckDefinition) -> Json:
    return {
        "CheckID": check.id,
        "Name": check.name,
        "Status": check.status,
        "Notes": check.notes,
        "ScriptArgs": list(check.args),
        "HTTP": check.http,
        "H2PING": check.h2ping,
        "H2PingUseTLS": check.h2ping_use_tls,
        "Header": {name: list(values) for name, values in (check.header or {}).items()},
        "Method": check.method,
        "Body": check.body,
        "DisableRedirects": check.disable_redirects,
        "TCP": check.tcp,
        "TCPUseTLS": check.tcp_use_tls,
        "UDP": check.udp,
        "Interval": _ns(check.interval_s),
        "AliasNode": check.alias_node,
        "AliasService": check.alias_service,
        "DockerContainerID": check.docker_container_id,
        "Shell": check.shell,
        "OSService": check.os_service,
        "GRPC": check.grpc,
        "GRPCUseTLS": check.grpc_use_tls,
        "TLSServerName": check.tls_server_name,
        "TLSSkipVerify": check.tls_skip_verify,
        "Timeout": _ns(check.timeout_s),
        "TTL": _ns(check.ttl_s),
        "SuccessBeforePassing": check.success_before_passing,
        "FailuresBeforeWarning": check.failures_before_warning,
        "FailuresBeforeCritical": check.failures_before_critical,
        "DeregisterCriticalServiceAfter": _ns(check.deregister_critical_service_after_s),
        "OutputMaxSize": check.output_max_size,
    }


def _read_check_type(fields: _Fields, record: Check, token: str) -> CheckDefinition:
    header = {
        name: tuple(str(value) for value in values) if isinstance(values, list) else ()
        for name, values in fields.mapping("Header").items()
    }
    return CheckDefinition(
        id=record.id,
        name=record.name,
        notes=record.notes,
        status=fields.text("Status"),
        service_id=record.service_id,
        token=token,
        interval_s=fields.seconds("Interval"),
        timeout_s=fields.seconds("Timeout"),
        ttl_s=fields.seconds("TTL"),
        http=fields.text("HTTP"),
        method=fields.text("Method"),
        header=header or None,
        body=fields.text("Body"),
        disable_redirects=fields.flag("DisableRedirects"),
        tcp=fields.text("TCP"),
        tcp_use_tls=fields.flag("TCPUseTLS"),
        udp=fields.text("UDP"),
        grpc=fields.text("GRPC"),
        grpc_use_tls=fields.flag("GRPCUseTLS"),
        h2ping=fields.text("H2PING"),
        h2ping_use_tls=fields.flag("H2PingUseTLS", default=True),
        args=fields.texts("ScriptArgs"),
        docker_container_id=fields.text("DockerContainerID"),
        shell=fields.text("Shell"),
        os_service=fields.text("OSService"),
        alias_node=NodeName(fields.text("AliasNode")),
        alias_service=ServiceId(fields.text("AliasService")),
        tls_server_name=fields.text("TLSServerName"),
        tls_skip_verify=fields.flag("TLSSkipVerify"),
        success_before_passing=fields.number("SuccessBeforePassing"),
        failures_before_warning=fields.number("FailuresBeforeWarning"),
        failures_before_critical=fields.number("FailuresBeforeCritical"),
        deregister_critical_service_after_s=fields.seconds("DeregisterCriticalServiceAfter"),
        output_max_size=fields.number("OutputMaxSize"),
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


class _Fields:
    """A JSON object whose fields are read with a type; absent and null are the default."""

    __slots__ = ("_data",)

    def __init__(self, data: Json) -> None:
        if not isinstance(data, dict):
            raise StoredError(f"an object is wanted, not {type(data).__name__}")
        self._data = data

    def _get(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self._data.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise StoredError(f"{key} is of the wrong type {type(value).__name__}")
        return value

    def text(self, key: str) -> str:
        text: str = self._get(key, str, "")
        return text

    def needed(self, key: str) -> str:
        text = self.text(key)
        if not text:
            raise StoredError(f"{key} is missing")
        return text

    def number(self, key: str, default: int = 0) -> int:
        number: int = self._get(key, int, default)
        return number

    def seconds(self, key: str) -> float:
        value: float = self._get(key, (int, float), 0)
        if not math.isfinite(value) or value < 0:
            raise StoredError(f"{key} is no duration")
        return value / 1e9

    def flag(self, key: str, *, default: bool = False) -> bool:
        flag: bool = self._get(key, bool, default)
        return flag

    def items(self, key: str) -> list[Json]:
        items: list[Json] = self._get(key, list, [])
        return items

    def texts(self, key: str) -> tuple[str, ...]:
        items = self.items(key)
        if not all(isinstance(item, str) for item in items):
            raise StoredError(f"{key} holds more than texts")
        return tuple(items)

    def mapping(self, key: str) -> Mapping[str, Json]:
        mapping: Mapping[str, Json] = self._get(key, dict, {})
        return mapping

    def optional_mapping(self, key: str) -> Mapping[str, Json] | None:
        mapping: Mapping[str, Json] | None = self._get(key, dict, None)
        return mapping

    def text_map(self, key: str) -> dict[str, str]:
        mapping = dict(self.mapping(key))
        if not all(isinstance(value, str) for value in mapping.values()):
            raise StoredError(f"{key} holds more than texts")
        return mapping

    def sub(self, key: str) -> _Fields:
        return _Fields(self.mapping(key))
