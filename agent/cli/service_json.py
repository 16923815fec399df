"""Service and check definitions as the JSON that the agent's HTTP API takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent import durations
from agent.definitions import CheckDefinition, ServiceDefinition
from raftstore.records import ExposePath, Proxy, Upstream

_CHECK_TIMES = {
    "interval_s": "Interval",
    "timeout_s": "Timeout",
    "ttl_s": "TTL",
    "deregister_critical_service_after_s": "DeregisterCriticalServiceAfter",
}
_CHECK = {
    "id": "CheckID", "name": "Name", "notes": "Notes", "status": "Status", "http": "HTTP",
    "method": "Method", "body": "Body", "disable_redirects": "DisableRedirects", "tcp": "TCP",
    "tcp_use_tls": "TCPUseTLS",
    "udp": "UDP", "grpc": "GRPC", "grpc_use_tls": "GRPCUseTLS", "h2ping": "H2PING",
    "docker_container_id": "DockerContainerID", "shell": "Shell", "os_service": "OSService",
    "alias_node": "AliasNode", "alias_service": "AliasService",
    "tls_server_name": "TLSServerName", "tls_skip_verify": "TLSSkipVerify",
    "success_before_passing": "SuccessBeforePassing",
    "failures_before_warning": "FailuresBeforeWarning",
    "failures_before_critical": "FailuresBeforeCritical", "output_max_size": "OutputMaxSize",
}  # fmt: skip
_SERVICE = {
    "name": "Name", "id": "ID", "kind": "Kind", "address": "Address", "port": "Port",
    "socket_path": "SocketPath", "enable_tag_override": "EnableTagOverride", "token": "Token",
}  # fmt: skip
_PROXY = {
    "destination_service_name": "DestinationServiceName",
    "destination_service_id": "DestinationServiceID",
    "local_service_address": "LocalServiceAddress", "local_service_port": "LocalServicePort",
    "local_service_socket_path": "LocalServiceSocketPath", "mode": "Mode",
}  # fmt: skip
_UPSTREAM = {
    "destination_type": "DestinationType", "destination_name": "DestinationName",
    "datacenter": "Datacenter", "local_bind_address": "LocalBindAddress",
    "local_bind_port": "LocalBindPort", "local_bind_socket_path": "LocalBindSocketPath",
    "local_bind_socket_mode": "LocalBindSocketMode",
}  # fmt: skip
_PATH = {
    "path": "Path", "listener_port": "ListenerPort", "local_path_port": "LocalPathPort",
    "protocol": "Protocol",
}  # fmt: skip


def service_body(service: ServiceDefinition) -> dict[str, Any]:
    """The body of a registration; what was not given is left out."""
    body = _fields(service, _SERVICE)
    if service.tags:
        body["Tags"] = list(service.tags)
    if service.meta:
        body["Meta"] = dict(service.meta)
    if service.tagged_addresses:
        body["TaggedAddresses"] = {
            name: {"Address": each.address, "Port": each.port}
            for name, each in service.tagged_addresses.items()
        }
    if service.weights is not None:
        weights = service.weights
        body["Weights"] = {"Passing": weights.passing, "Warning": weights.warning}
    if service.checks:
        body["Checks"] = [check_body(each) for each in service.checks]
    if service.proxy is not None:
        body["Proxy"] = _proxy(service.proxy)
    if service.connect_native or service.sidecar is not None:
        connect: dict[str, Any] = {"Native": True} if service.connect_native else {}
        if service.sidecar is not None:
            connect["SidecarService"] = service_body(service.sidecar)
        body["Connect"] = connect
    return body


def check_body(check: CheckDefinition) -> dict[str, Any]:
    """One check inside a service's registration."""
    body = _fields(check, _CHECK)
    if check.args:
        body["Args"] = list(check.args)
    if not check.h2ping_use_tls:
        body["H2PingUseTLS"] = False
    if check.header:
        body["Header"] = {name: list(values) for name, values in check.header.items()}
    for field, name in _CHECK_TIMES.items():
        seconds = getattr(check, field)
        if seconds:
            body[name] = durations.format_s(seconds)
    return body


def _fields(record: object, names: Mapping[str, str]) -> dict[str, Any]:
    found = {name: getattr(record, field) for field, name in names.items()}
    return {name: value for name, value in found.items() if value}


def _proxy(proxy: Proxy) -> dict[str, Any]:
    body = _fields(proxy, _PROXY)
    if proxy.config:
        body["Config"] = dict(proxy.config)
    if proxy.upstreams:
        body["Upstreams"] = [_upstream(each) for each in proxy.upstreams]
    if proxy.mesh_gateway_mode:
        body["MeshGateway"] = {"Mode": proxy.mesh_gateway_mode}
    if proxy.expose_checks or proxy.expose_paths:
        body["Expose"] = {"Checks": proxy.expose_checks, "Paths": _paths(proxy.expose_paths)}
    if proxy.outbound_listener_port or proxy.dialed_directly:
        body["TransparentProxy"] = {
            "OutboundListenerPort": proxy.outbound_listener_port,
            "DialedDirectly": proxy.dialed_directly,
        }
    return body


def _paths(paths: tuple[ExposePath, ...]) -> list[dict[str, Any]]:
    return [_fields(each, _PATH) for each in paths]


def _upstream(upstream: Upstream) -> dict[str, Any]:
    body = _fields(upstream, _UPSTREAM)
    if upstream.config:
        body["Config"] = dict(upstream.config)
    if upstream.mesh_gateway_mode:
        body["MeshGateway"] = {"Mode": upstream.mesh_gateway_mode}
    return body
