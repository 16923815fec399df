"""Service and check definitions of files -> values (agent contract, sections 1 and 2).

The data has been decoded by shape already; here durations are read and nested objects become
records. Rules about definitions (ports, checks, proxies) are those of agent/local: they hold for
every way in. Only weights are checked at once, as Consul's loader does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent import durations
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.errors import ConfigError
from agent.named_ports import completed
from raftstore.places import ServicePort
from raftstore.records import (
    WEIGHT_MAX,
    CheckId,
    ExposePath,
    NodeName,
    Proxy,
    ServiceId,
    ServiceName,
    TaggedAddress,
    Upstream,
    Weights,
)

_CHECK_DURATIONS = ("interval", "timeout", "ttl", "deregister_critical_service_after")
_CHECK_PLAIN = (
    "name", "notes", "status", "token", "http", "method", "body", "disable_redirects", "tcp",
    "tcp_use_tls", "udp", "grpc", "grpc_use_tls", "h2ping", "h2ping_use_tls", "args",
    "docker_container_id", "shell", "os_service", "tls_server_name", "tls_skip_verify",
    "success_before_passing", "failures_before_warning", "failures_before_critical",
    "output_max_size",
)  # fmt: skip
_SERVICE_PLAIN = (
    "kind", "tags", "address", "socket_path", "meta", "enable_tag_override", "token",
)  # fmt: skip
_UPSTREAM_PLAIN = (
    "destination_type", "destination_name", "datacenter", "local_bind_address", "local_bind_port",
    "local_bind_socket_path", "local_bind_socket_mode", "config",
)  # fmt: skip
_PROXY_PLAIN = (
    "destination_service_name", "destination_service_id", "local_service_address",
    "local_service_port", "local_service_socket_path", "mode", "config",
)  # fmt: skip


def service(data: Mapping[str, Any], name: str, errors: list[str]) -> ServiceDefinition:
    """A service definition; what is wrong is appended to ``errors`` with the path ``name``."""
    _refuse_enterprise(data, name)
    connect = data.get("connect", {})
    sidecar = connect.get("sidecar_service")
    checks = [
        *([(f"{name}.check", data["check"])] if "check" in data else []),
        *((f"{name}.checks[{at}]", each) for at, each in enumerate(data.get("checks", ()))),
    ]
    tagged = data.get("tagged_addresses")
    port, ports = completed(
        data.get("port", 0),
        tuple(
            ServicePort(each.get("name", ""), each.get("port", 0), each.get("default", False))
            for each in data.get("ports", ())
        ),
    )
    return ServiceDefinition(
        port=port,
        ports=ports,
        name=ServiceName(data.get("name", "")),
        id=ServiceId(data.get("id", "")),
        tagged_addresses=None
        if tagged is None
        else {
            key: TaggedAddress(each.get("address", ""), each.get("port", 0))
            for key, each in tagged.items()
        },
        weights=_weights(data, errors),
        proxy=_proxy(data["proxy"], f"{name}.proxy") if "proxy" in data else None,
        connect_native=connect.get("native", False),
        checks=tuple(check(each, path, errors) for path, each in checks),
        sidecar=None
        if sidecar is None
        else service(sidecar, f"{name}.connect.sidecar_service", errors),
        **_some(data, _SERVICE_PLAIN),
    )


def check(data: Mapping[str, Any], name: str, errors: list[str]) -> CheckDefinition:
    """A check definition; what is wrong is appended to ``errors`` with the path ``name``."""
    _refuse_enterprise(data, name)
    times: dict[str, Any] = {}
    for key in _CHECK_DURATIONS:
        if data.get(key):
            times[f"{key}_s"] = seconds(data[key], f"{name}.{key}", errors)
    return CheckDefinition(
        id=CheckId(data.get("id", "")),
        service_id=ServiceId(data.get("service_id", "")),
        alias_node=NodeName(data.get("alias_node", "")),
        alias_service=ServiceId(data.get("alias_service", "")),
        header=data.get("header"),
        **times,
        **_some(data, _CHECK_PLAIN),
    )


def seconds(text: str, path: str, errors: list[str]) -> float:
    """Seconds of a duration text; 0 and an entry in ``errors`` when it is none."""
    try:
        return durations.parse_s(text)
    except durations.DurationError as error:
        errors.append(f'{path}: invalid duration: "{text}": {error}')
        return 0.0


def _some(data: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}


def _refuse_enterprise(data: Mapping[str, Any], name: str) -> None:
    if data.get("namespace", "") not in {"", "default"}:
        raise ConfigError(f"{name}.namespace: namespaces are not supported")


def _weights(data: Mapping[str, Any], errors: list[str]) -> Weights | None:
    given = data.get("weights")
    if given is None:
        return None
    weights = Weights(given.get("passing", 1), given.get("warning", 1))
    problem = ""
    if weights.passing < 1:
        problem = "Passing must be greater than 0"
    elif weights.warning < 0:
        problem = "Warning must be greater or equal than 0"
    elif weights.passing > WEIGHT_MAX or weights.warning > WEIGHT_MAX:
        problem = f"DNS Weight must be between 0 and {WEIGHT_MAX}"
    if problem:
        errors.append(f"Invalid weight definition for service {data.get('name', '')}: {problem}")
    return weights


def _proxy(data: Mapping[str, Any], name: str) -> Proxy:
    expose = data.get("expose", {})
    transparent = data.get("transparent_proxy", {})
    return Proxy(
        upstreams=tuple(
            _upstream(each, f"{name}.upstreams[{at}]")
            for at, each in enumerate(data.get("upstreams", ()))
        ),
        mesh_gateway_mode=data.get("mesh_gateway", {}).get("mode", ""),
        expose_checks=expose.get("checks", False),
        expose_paths=_each(expose.get("paths", ()), ExposePath),
        outbound_listener_port=transparent.get("outbound_listener_port", 0),
        dialed_directly=transparent.get("dialed_directly", False),
        **_some(data, _PROXY_PLAIN),
    )


def _upstream(data: Mapping[str, Any], name: str) -> Upstream:
    if data.get("destination_namespace", "") not in {"", "default"}:
        raise ConfigError(f"{name}.destination_namespace: namespaces are not supported")
    return Upstream(
        mesh_gateway_mode=data.get("mesh_gateway", {}).get("mode", ""),
        **_some(data, _UPSTREAM_PLAIN),
    )


def _each(items: tuple[Mapping[str, Any], ...], record: Callable[..., Any]) -> tuple[Any, ...]:
    return tuple(record(**item) for item in items)
