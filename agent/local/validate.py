"""What a definition must look like before this agent takes it, and the words of a refusal.

Decides only by the definition itself and the agent's policy on scripts; whether the service of a
check exists is known to the caller. Texts and statuses are those Consul's clients match on
(agent contract 1.1, 2 and 2.2; HTTP API contract 8 and 9). Recordings of the reference accept
unknown kinds and a port beside a socket path, so both are accepted here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.config.bounds import Limits
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.errors import RequestError
from agent.meta import meta_problem
from agent.named_ports import problem as ports_problem
from raftstore.records import (
    CRITICAL,
    PASSING,
    WARNING,
    WEIGHT_MAX,
    Proxy,
    TaggedAddress,
    Weights,
)

#: Agent contract, section 2.
PORT_MAX = 65535

CONNECT_PROXY = "connect-proxy"
GATEWAYS = frozenset({"mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"})

_ANY_ADDRESS = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104  (refused, not bound)
_STATES = frozenset({PASSING, WARNING, CRITICAL})

SCRIPTS_OFF_REMOTE = (
    "Scripts are disabled on this agent from remote calls; to enable, configure "
    "'enable_script_checks' to true"
)
SCRIPTS_OFF = (
    "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
    "'enable_local_script_checks' to true"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What one registration may put into the replicated log: characters of a name or an id, tags
    and checks of a service."""

    name_max: int
    tags_max: int
    checks_max: int


def sizes_of(limits: Limits) -> Sizes:
    """As they are configured."""
    return Sizes(
        name_max=limits.service_name_length_max,
        tags_max=limits.service_tags_max,
        checks_max=limits.service_checks_max,
    )


#: Where nobody says otherwise.
SIZES = sizes_of(Limits())


def validate_service(definition: ServiceDefinition, sizes: Sizes = SIZES) -> None:
    """Refuse a service, its checks and its sidecar request. Raises RequestError."""
    if not definition.name:
        raise RequestError(400, "Missing service name")
    if definition.sidecar is not None:
        _refuse_sidecar(definition.sidecar)
    _refuse_fields(definition, sizes)
    for check in definition.checks:
        if check.status and check.status not in _STATES:
            raise RequestError(400, "Status for checks must 'passing', 'warning', 'critical'")
        validate_check_type(check)
    _refuse_proxy(definition)


def validate_check(definition: CheckDefinition, sizes: Sizes = SIZES) -> None:
    """Refuse a stand-alone check. Raises RequestError."""
    if not definition.name:
        raise RequestError(400, "Missing check name")
    if definition.status and definition.status not in _STATES:
        raise RequestError(400, "Bad check status")
    _refuse_length("check ID", definition.id, sizes)
    _refuse_length("check name", definition.name, sizes)
    validate_check_type(definition)


def validate_check_type(check: CheckDefinition) -> None:
    """Refuse a check whose type and times do not fit together (agent contract 1.1)."""
    problem = _check_problem(check)
    if problem:
        raise RequestError(400, f"Invalid check: {problem}")


def refuse_scripts(check: CheckDefinition, *, enabled: bool, remote: bool) -> None:
    """Refuse a check that would run a program here, unless the agent was told to allow it."""
    if not enabled and check.kind in {"script", "docker"}:
        raise RequestError(500, SCRIPTS_OFF_REMOTE if remote else SCRIPTS_OFF)


def refuse_unsupported(check: CheckDefinition, *, os_services: bool) -> None:
    """Refuse, clearly, what this agent cannot run: better no check than one that never runs."""
    if check.kind == "os_service" and not os_services:
        raise RequestError(
            400, "Invalid check: os_service checks are not supported on this platform"
        )


def is_dns_label(text: str) -> bool:
    """Whether DNS can carry this name: letters, digits and dashes, at most 63 of them."""
    return len(text) <= 63 and re.fullmatch(r"[A-Za-z0-9-]+", text) is not None


def multi_error(errors: list[str]) -> str:
    """Several problems in the one text that Consul gives for them."""
    head = "1 error occurred:" if len(errors) == 1 else f"{len(errors)} errors occurred:"
    return head + "\n" + "".join(f"\t* {error}\n" for error in errors) + "\n"


def _refuse_fields(definition: ServiceDefinition, sizes: Sizes) -> None:
    _refuse_length("service name", definition.name, sizes)
    _refuse_length("service ID", definition.id, sizes)
    if definition.address in _ANY_ADDRESS:
        raise RequestError(400, "Invalid service address")
    if not 0 <= definition.port <= PORT_MAX:
        raise RequestError(400, "Invalid service port")
    if definition.ports:
        words = ports_problem(definition.port, definition.ports)
        if words:
            raise RequestError(400, f"Invalid service ports: {words}")
    if len(definition.tags) > sizes.tags_max:
        raise RequestError(400, f"Invalid service: more than {sizes.tags_max} tags")
    if len(definition.checks) > sizes.checks_max:
        raise RequestError(400, f"Invalid service: more than {sizes.checks_max} checks")
    if definition.weights is not None:
        _refuse_weights(definition.weights)
    if definition.meta:
        problem = meta_problem(definition.meta)
        if problem:
            raise RequestError(400, f"Invalid Service Meta: {problem}")
    _refuse_tagged(definition.tagged_addresses or {})


def _refuse_length(what: str, text: str, sizes: Sizes) -> None:
    if len(text) > sizes.name_max:
        raise RequestError(400, f"Invalid {what}: longer than {sizes.name_max} characters")


def _refuse_weights(weights: Weights) -> None:
    if weights.passing < 1:
        raise RequestError(400, "Invalid Weights: Passing must be greater than 0")
    if weights.warning < 0:
        raise RequestError(400, "Invalid Weights: Warning must be greater or equal than 0")
    if max(weights.passing, weights.warning) > WEIGHT_MAX:
        raise RequestError(400, "Invalid Weights: DNS Weight must be between 0 and 65535")


def _refuse_tagged(tagged: Mapping[str, TaggedAddress]) -> None:
    for tag, entry in tagged.items():
        version = {"lan_ipv4": 4, "wan_ipv4": 4, "lan_ipv6": 6, "wan_ipv6": 6}.get(tag)
        if entry.address in _ANY_ADDRESS:
            raise RequestError(400, "Invalid service address")
        if not 0 <= entry.port <= PORT_MAX:
            raise RequestError(400, f"Invalid port of tagged address {tag!r}")
        if version is not None and address_version(entry.address) != version:
            raise RequestError(
                400, f"Invalid tagged address '{tag}': '{entry.address}' is no IPv{version} address"
            )


def address_version(text: str) -> int | None:
    """4 or 6 for an address literal, None for anything else (a host name)."""
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None


def _refuse_sidecar(sidecar: ServiceDefinition) -> None:
    errors = []
    if sidecar.id:
        errors.append("A SidecarService cannot specify an ID as this is managed by the agent")
    if sidecar.sidecar is not None or sidecar.connect_native:
        errors.append("A SidecarService cannot have a nested SidecarService")
    if errors:
        raise RequestError(400, multi_error(errors))


def _refuse_proxy(definition: ServiceDefinition) -> None:
    errors: list[str] = []
    proxy = definition.proxy or Proxy()
    if definition.kind == CONNECT_PROXY:
        errors += _connect_proxy_errors(definition, proxy)
    elif definition.kind in GATEWAYS:
        errors += _gateway_errors(definition, proxy)
    errors += _expose_errors(proxy)
    if errors:
        raise RequestError(400, multi_error(errors))


def _connect_proxy_errors(definition: ServiceDefinition, proxy: Proxy) -> list[str]:
    errors = []
    if not proxy.destination_service_name:
        errors.append("Proxy.DestinationServiceName must be non-empty for Connect proxy services")
    if proxy.destination_service_name == "*":
        errors.append(
            "Proxy.DestinationServiceName must not be a wildcard for Connect proxy services"
        )
    if not definition.port and not definition.socket_path:
        errors.append("Port or SocketPath must be set for a Connect proxy")
    if definition.connect_native:
        errors.append("A Proxy cannot also be Connect Native, only typical services")
    if definition.sidecar is not None:
        errors.append("A Proxy cannot also have a sidecar service")
    return errors + _upstream_errors(proxy)


def _upstream_errors(proxy: Proxy) -> list[str]:
    errors = []
    destinations: set[tuple[str, str, str]] = set()
    binds: set[tuple[str, int] | str] = set()
    for upstream in proxy.upstreams:
        if not upstream.destination_name:
            errors.append("upstream destination name cannot be empty")
        if upstream.destination_name == "*":
            errors.append("upstream destination name cannot be a wildcard")
        if upstream.local_bind_port == 0 and not upstream.local_bind_socket_path:
            errors.append(
                "upstream local bind port or local socket path must be defined and nonzero"
            )
            continue
        if not 0 <= upstream.local_bind_port <= PORT_MAX:
            errors.append("upstream local bind port must be between 1 and 65535")
        key = (
            upstream.destination_type or "service",
            upstream.destination_name,
            upstream.datacenter,
        )
        if key in destinations:
            errors.append(f'upstreams cannot contain duplicates of "{upstream.destination_name}"')
        destinations.add(key)
        bind: tuple[str, int] | str = upstream.local_bind_socket_path or (
            upstream.local_bind_address or "127.0.0.1",
            upstream.local_bind_port,
        )
        if bind in binds:
            shown = bind if isinstance(bind, str) else f"{bind[0]}:{bind[1]}"
            errors.append(
                "upstreams cannot contain duplicates by local bind address and port or unix path; "
                f'"{shown}" is specified twice'
            )
        binds.add(bind)
    return errors


def _gateway_errors(definition: ServiceDefinition, proxy: Proxy) -> list[str]:
    errors = []
    if not definition.port and definition.kind not in {"ingress-gateway", "api-gateway"}:
        errors.append(f"Port must be non-zero for a {definition.kind}")
    if definition.sidecar is not None:
        errors.append(f"A {definition.kind} cannot have a sidecar service defined")
    if proxy.destination_service_name or proxy.destination_service_id:
        errors.append(
            f"The Proxy.DestinationServiceName configuration is invalid for a {definition.kind}"
        )
    if proxy.upstreams:
        errors.append(f"The Proxy.Upstreams configuration is invalid for a {definition.kind}")
    return errors


def _expose_errors(proxy: Proxy) -> list[str]:
    errors = []
    seen: set[int] = set()
    for path in proxy.expose_paths:
        if not path.path.startswith("/"):
            errors.append("expose.paths: path must begin with '/'")
        if path.listener_port in seen:
            errors.append("expose.paths: duplicate listener ports exposed")
        seen.add(path.listener_port)
        if not 1 <= path.listener_port <= PORT_MAX:
            errors.append("expose.paths: invalid listener port")
        if path.protocol not in {"", "http", "http2"}:
            errors.append(f"expose.paths: protocol '{path.protocol}' not supported for path")
    return errors


def _check_problem(check: CheckDefinition) -> str | None:
    polled = bool(
        check.http
        or check.tcp
        or check.udp
        or check.grpc
        or check.args
        or check.docker_container_id
        or check.h2ping
        or check.os_service
    )
    alias = bool(check.alias_node or check.alias_service)
    if check.interval_s > 0 and check.ttl_s > 0:
        return "Interval and TTL cannot both be specified"
    if polled and check.interval_s <= 0:
        return "Interval must be > 0 for Script, HTTP, H2PING, or TCP checks"
    if alias and check.interval_s > 0:
        return "Interval cannot be set for Alias checks"
    if alias and check.ttl_s > 0:
        return "TTL must be not be set for Alias checks"
    if not polled and not alias and check.ttl_s <= 0:
        return "TTL must be > 0 for TTL checks"
    if check.output_max_size < 0:
        return "MaxOutputMaxSize must be positive"
    if check.failures_before_warning > max(1, check.failures_before_critical):
        return "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
    return None
