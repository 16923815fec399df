"""proxy-defaults and service-defaults (mesh contract C.2, C.3)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from raftstore.entries.errors import Invalid
from raftstore.entries.rules import (
    EXPOSE,
    EXTENSIONS,
    LOCALITY,
    MESH_GATEWAY,
    PASSIVE_HEALTH_CHECK,
    TRANSPARENT_PROXY,
    WILDCARD,
    check_meta,
    meta_problems,
    need_name,
    refuse_all,
)
from raftstore.entries.shape import (
    Field,
    Shape,
    boolean,
    free,
    integer,
    number,
    record,
    records,
    several,
    text,
    texts,
)

GLOBAL = "global"
_EXACT_BALANCE = "exact_balance"
_PORT_MAX = 65535
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")

PROXY = Shape(
    (
        free("Config", always=True),
        text("Mode"),
        TRANSPARENT_PROXY,
        text("MutualTLSMode"),
        MESH_GATEWAY,
        EXPOSE,
        record(
            "AccessLogs",
            boolean("Enabled"),
            boolean("DisableListenerLogs"),
            text("Type"),
            text("Path"),
            text("JSONFormat"),
            text("TextFormat"),
        ),
        EXTENSIONS,
        record("FailoverPolicy", text("Mode"), texts("Regions")),
        LOCALITY,
    )
)


def _upstream() -> tuple[Field, ...]:
    return (
        text("Name"),
        text("EnvoyListenerJSON"),
        text("EnvoyClusterJSON"),
        text("Protocol"),
        integer("ConnectTimeoutMs"),
        record(
            "Limits",
            integer("MaxConnections", kept=True),
            integer("MaxPendingRequests", kept=True),
            integer("MaxConcurrentRequests", kept=True),
        ),
        PASSIVE_HEALTH_CHECK,
        MESH_GATEWAY,
        text("BalanceOutboundConnections"),
        text("Peer"),
    )


SERVICE = Shape(
    (
        text("Protocol", always=True),
        text("Mode"),
        TRANSPARENT_PROXY,
        text("MutualTLSMode"),
        MESH_GATEWAY,
        EXPOSE,
        text("ExternalSNI"),
        record(
            "UpstreamConfig",
            records("Overrides", *_upstream()),
            record("Defaults", *_upstream()),
        ),
        record("Destination", texts("Addresses"), integer("Port")),
        integer("MaxInboundConnections"),
        integer("LocalConnectTimeoutMs"),
        integer("LocalRequestTimeoutMs"),
        text("BalanceInboundConnections"),
        record(
            "RateLimits",
            record(
                "InstanceLevel",
                number("RequestsPerSecond"),
                integer("RequestsMaxBurst"),
                records(
                    "Routes",
                    text("PathExact"),
                    text("PathPrefix"),
                    text("PathRegex"),
                    number("RequestsPerSecond"),
                    integer("RequestsMaxBurst"),
                ),
            ),
        ),
        EXTENSIONS,
    )
)


def normalise_service(_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Protocols in lower case; a negative timeout is none."""
    found = dict(content)
    if "Protocol" in found:
        found["Protocol"] = found["Protocol"].lower()
    upstreams = found.get("UpstreamConfig")
    if upstreams is not None:
        upstreams = dict(upstreams)
        if "Overrides" in upstreams:
            upstreams["Overrides"] = [_normal_upstream(one) for one in upstreams["Overrides"]]
        if "Defaults" in upstreams:
            upstreams["Defaults"] = _normal_upstream(upstreams["Defaults"])
        found["UpstreamConfig"] = upstreams
    return found


def _normal_upstream(given: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(given)
    if "Protocol" in found:
        found["Protocol"] = found["Protocol"].lower()
    if found.get("ConnectTimeoutMs", 0) < 0:
        del found["ConnectTimeoutMs"]
    return found


def check_proxy(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse proxy-defaults that cannot be."""
    if name != GLOBAL:
        raise Invalid(f'invalid name ("{name}"), only "{GLOBAL}" is supported')
    check_meta(meta)
    _check_mutual_tls(content)
    logs = content.get("AccessLogs", {})
    if logs.get("Type", "") not in {"", "stdout", "stderr", "file"}:
        raise Invalid(f"invalid access log type: {logs['Type']}")
    if logs.get("JSONFormat") and logs.get("TextFormat"):
        raise Invalid("cannot specify both access log JSONFormat and TextFormat")
    if logs.get("Type") == "file" and not logs.get("Path"):
        raise Invalid("path must be specified when using file type access logs")
    if logs.get("Path") and logs.get("Type") != "file":
        raise Invalid("path is only valid for file type access logs")
    if content.get("FailoverPolicy", {}).get("Mode", "") not in {
        "",
        "default",
        "order-by-locality",
    }:
        raise Invalid("Failover policy must be one of '', 'default', or 'order-by-locality'")
    _check_expose(content)


def _check_mutual_tls(content: Mapping[str, Any]) -> None:
    mode = content.get("MutualTLSMode", "")
    if mode not in {"", "strict", "permissive"}:
        raise Invalid(
            f'invalid mutual TLS mode "{mode}", must be one of "", "strict", or "permissive"'
        )


def _check_expose(content: Mapping[str, Any]) -> None:
    for path in content.get("Expose", {}).get("Paths", ()):
        if path.get("Path") and not path["Path"].startswith("/"):
            raise Invalid(f"expose path must start with '/': \"{path['Path']}\"")


def check_service(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse service-defaults that cannot be."""
    need_name(name)
    if name == WILDCARD:
        raise Invalid("service-defaults name must be the name of a service, and not a wildcard")
    problems = meta_problems(meta)
    balance = content.get("BalanceInboundConnections", "")
    if balance not in {"", _EXACT_BALANCE}:
        problems.append(f"invalid value for balance_inbound_connections: {balance}")
    upstreams, destination = content.get("UpstreamConfig"), content.get("Destination")
    if upstreams is not None and destination is not None:
        problems.append(
            "UpstreamConfig and Destination are mutually exclusive for service defaults"
        )
        refuse_all(problems)
    if upstreams is not None:
        for one in upstreams.get("Overrides", ()):
            found = _upstream_problem(one, named=True)
            if found:
                problems.append(f"error in upstream override for {one.get('Name', '')}: {found}")
        if "Defaults" in upstreams:
            found = _upstream_problem(upstreams["Defaults"], named=False)
            if found:
                problems.append(f"error in upstream defaults: {found}")
    if destination is not None:
        problems += _destination_problems(destination)
    refuse_all(problems)
    _check_mutual_tls(content)
    _check_expose(content)
    _check_rate_limits(content)


def _check_rate_limits(content: Mapping[str, Any]) -> None:
    level = content.get("RateLimits", {}).get("InstanceLevel", {})
    for one in (level, *level.get("Routes", ())):
        if one.get("RequestsPerSecond", 0) < 0 or one.get("RequestsMaxBurst", 0) < 0:
            raise Invalid("rate limits cannot be negative")
    for one in level.get("Routes", ()):
        if sum(1 for form in ("PathExact", "PathPrefix", "PathRegex") if one.get(form)) != 1:
            raise Invalid("Route must define exactly one of PathExact, PathPrefix, or PathRegex")


def _upstream_problem(given: Mapping[str, Any], *, named: bool) -> str:
    """What is wrong with the settings of an upstream, "" for nothing."""
    name = given.get("Name", "")
    if named and not name:
        return "Name is required"
    if named and name == WILDCARD:
        return "Wildcard name is not supported"
    if not named and name:
        return "Name must be empty"
    problems = []
    check = given.get("PassiveHealthCheck", {})
    if check.get("Interval", 0) < 0:
        problems.append("passive health check interval cannot be negative")
    limits = given.get("Limits", {})
    for key, words in (
        ("MaxConnections", "max connections"),
        ("MaxPendingRequests", "max pending requests"),
        ("MaxConcurrentRequests", "max concurrent requests"),
    ):
        if limits.get(key, 0) < 0:
            problems.append(f"{words} cannot be negative")
            break  # the reference stops at the first of these
    balance = given.get("BalanceOutboundConnections", "")
    if balance not in {"", _EXACT_BALANCE}:
        problems.append(f"invalid value for balance_outbound_connections: {balance}")
    return several(problems) if problems else ""


def _destination_problems(given: Mapping[str, Any]) -> list[str]:
    addresses, port = given.get("Addresses", ()), given.get("Port", 0)
    problems = []
    if not addresses:
        problems.append("Destination must contain at least one valid address")
    seen: set[str] = set()
    for address in addresses:
        if address in seen:
            problems.append(f"Duplicate address '{address}' is not allowed")
            continue
        seen.add(address)
        if not _is_address(address):
            problems.append(
                f"Destination address '{address}' is invalid Could not validate address "
                f"{address} as an IP or Hostname"
            )
    if not 1 <= port <= _PORT_MAX:
        problems.append(f"Invalid Port number {port}")
    return problems


def _is_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return len(address) <= 255 and _HOST.fullmatch(address) is not None
    return True


def protocol_of(content: Mapping[str, Any] | None, proxy: Mapping[str, Any] | None) -> str:
    """The protocol of a service, from its own defaults or those of all proxies.

    Defaults without a protocol hide those of all proxies and mean tcp (mesh contract C.9).
    """
    if content is not None:
        return str(content.get("Protocol") or "tcp").lower()
    for key, value in ((proxy or {}).get("Config") or {}).items():
        if key.lower() == "protocol" and isinstance(value, str | int | float) and value:
            return str(value).lower()
    return "tcp"
