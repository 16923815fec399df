"""Merged values -> AgentConfig (cli-config contract, part B).

Most keys go straight to the field that the table names; here is what needs more than one key, and
the default that depends on another value. Errors of single values (durations, ports) are collected
and told together, faults between values one at a time (see `rules`).
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from typing import Any

from agent.audit.config import audit_sinks
from agent.config import dns_values, gossip_keys, rules, services
from agent.config.acl import acl_config
from agent.config.bounds import Limits
from agent.config.certificates import https_config, tls_config
from agent.config.decode import Values, several
from agent.config.definition_keys import Kind
from agent.config.entries import bootstrap_entries
from agent.config.http_rules import http_rules
from agent.config.keys import KEYS_BY_PATH, Key, Standing
from agent.config.limits import request_limits
from agent.config.network import Addresses, Interfaces, addresses, expanded, peers
from agent.config.schema import (
    AgentConfig,
    CoordinateConfig,
    DnsConfig,
    GossipTiming,
    LogFileConfig,
    UnixSockets,
)
from agent.config.telemetry import telemetry
from agent.config.watches import watches
from agent.config.web_ui import web_ui
from agent.errors import ConfigError
from raftstore.records import AutopilotConfig

PORT_MAX = 65535
#: The shortest TTL of a session where nothing is set, and the longest there can be (Consul's).
SESSION_TTL_MIN_S = 10.0
SESSION_TTL_MAX_S = 24 * 3600.0
#: What `-dev` changes; files and flags may change it again.
DEV_DEFAULTS: Values = {
    "server": True,
    "bind_addr": "127.0.0.1",
    "log_level": "DEBUG",
    "ui_config.enabled": True,
    "connect.enabled": True,
    "performance.raft_multiplier": 1,
    "gossip_lan.gossip_interval": "100ms",
    "gossip_lan.probe_interval": "100ms",
    "gossip_lan.probe_timeout": "100ms",
    "gossip_lan.suspicion_mult": 3,
    "gossip_wan.gossip_interval": "100ms",
    "gossip_wan.probe_interval": "100ms",
    "gossip_wan.probe_timeout": "100ms",
    "gossip_wan.suspicion_mult": 3,
    "consul.coordinate.update_period": "100ms",
}
#: As in the reference, these are off with 0 too.
_OFF_AT_ZERO = ("port_http", "port_https")
#: Where Consul's agents differ from the profile of the library that they gossip with.
_WAN_TIMING = {"gossip_nodes": 3}
_PEERS = ("retry_join", "start_join", "retry_join_wan", "start_join_wan")
_TIMING_FIELDS = frozenset(field.name for field in dataclasses.fields(GossipTiming))


def build(
    values: Values, *, dev: bool, node_name: str, interfaces: Interfaces, data_dir_is_file: bool
) -> AgentConfig:
    """The agent's configuration. Raises ConfigError."""
    fields, errors = _fields(values)
    definitions = {
        "services": tuple(
            services.service(each, f"services[{at}]", errors)
            for at, each in enumerate(values.get("services", ()))
        ),
        "checks": tuple(
            services.check(each, f"checks[{at}]", errors)
            for at, each in enumerate(values.get("checks", ()))
        ),
    }
    if errors:
        raise ConfigError(several(errors))
    found = addresses(values, interfaces)
    rules.check_values(values, dev=dev, data_dir_is_file=data_dir_is_file)
    server = values.get("server", False)
    expect = values.get("bootstrap_expect", 0)
    plain = fields.pop("") | definitions
    limits = Limits(**fields.pop("limits", {}))
    config = AgentConfig(
        **plain
        | {
            "node_name": node_name,
            "datacenter": values.get("datacenter", "dc1").lower(),
            "node_id": values.get("node_id", "").lower(),
            "data_dir": "" if dev else values.get("data_dir", ""),
            "dev_mode": dev,
            # Expecting one server is the same as bootstrapping by itself.
            "bootstrap": (dev and server) or values.get("bootstrap", False) or expect == 1,
            "bootstrap_expect": 0 if expect == 1 else expect,
            **_listening(found, plain),
            "unix_sockets": UnixSockets(**fields.pop("unix_sockets", {})),
            **{key: peers(key, values.get(key, ()), interfaces) for key in _PEERS},
            "leave_on_terminate": values.get("leave_on_terminate", not server),
            "skip_leave_on_interrupt": values.get("skip_leave_on_interrupt", server),
            "log_level": values.get("log_level", "INFO").upper(),
            # As in the reference, nothing means the default.
            "session_ttl_min_s": plain.get("session_ttl_min_s") or SESSION_TTL_MIN_S,
            "ui": web_ui(values),
            "coordinates": CoordinateConfig(**fields.pop("coordinates", {})),
            **_pool(fields, "gossip_lan", "gossip", profile="lan"),
            **_pool(fields, "gossip_wan", "gossip_between", profile="wan"),
            "acl": acl_config(values),
            "tls": tls_config(values, server=server),
            "https": https_config(values),
            "audit": audit_sinks(values.get("audit", {})),
            "http_rules": http_rules(fields.pop("http_rules", {})),
            "log_file": LogFileConfig(**fields.pop("log_file", {})),
            "telemetry": telemetry(fields.pop("telemetry", {}), values),
            "dns": _dns(fields.pop("dns", {}), values, interfaces),
            "limits": limits,
            "watches": watches(values, limits),
            "config_entries": bootstrap_entries(values),
            "request_limits": request_limits(fields.pop("request_limits", {}), server=server),
            "autopilot": AutopilotConfig(**fields.pop("autopilot", {})),
        }
    )
    assert not fields, f"targets without a home: {sorted(fields)}"
    rules.check_ports(config)
    _check_ranges(config, values)
    return config


def _pool(
    fields: dict[str, dict[str, Any]], stanza: str, more: str, *, profile: str
) -> dict[str, Any]:
    """The figures of one gossip pool."""
    timing, numbers = fields.pop(stanza, {}), fields.pop(more, {})
    if profile == "wan" and "profile" not in numbers:
        timing = _WAN_TIMING | timing
    timing, numbers = gossip_keys.with_profile(stanza, profile, timing, numbers, _TIMING_FIELDS)
    return {stanza: GossipTiming(**timing), more: numbers}


def _check_ranges(config: AgentConfig, values: Values) -> None:
    if config.session_ttl_min_s > SESSION_TTL_MAX_S:
        raise ConfigError(
            f"session_ttl_min cannot be {values['session_ttl_min']}. Must be at most 24h0m0s"
        )
    if config.port_sidecar_min > config.port_sidecar_max:
        raise ConfigError(
            "port range ports.sidecar_min_port to ports.sidecar_max_port is empty: "
            f"{config.port_sidecar_min} > {config.port_sidecar_max}"
        )
    if config.port_expose_min > config.port_expose_max:
        raise ConfigError(
            "port range ports.expose_min_port to ports.expose_max_port is empty: "
            f"{config.port_expose_min} > {config.port_expose_max}"
        )


def _listening(found: Addresses, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Where what is bound and served."""
    ports = {name: plain[name] for name in _OFF_AT_ZERO if name in plain}
    return {
        **{name: port if port > 0 else -1 for name, port in ports.items()},
        "bind_addr": found.bind,
        "advertise_addr": found.advertise,
        "advertise_addr_wan": found.advertise_wan,
        "serf_lan_addr": found.serf_lan,
        "serf_wan_addr": found.serf_wan,
        "client_addrs": found.clients,
        "addresses_http": found.http,
        "addresses_https": found.https,
        "addresses_dns": found.dns,
    }


def _fields(values: Values) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Values by the group and field that the table names, and what is wrong with single ones."""
    groups: dict[str, dict[str, Any]] = {"": {}}
    errors: list[str] = []
    for path, value in values.items():
        key = KEYS_BY_PATH[path]
        if not isinstance(key.kind, Kind):
            continue
        checked = _checked(key, value, errors)
        if key.standing is Standing.NOW and key.target:
            group, _, field = key.target.rpartition(".")
            groups.setdefault(group, {})[field] = checked
    return groups, errors


def _checked(key: Key, value: Any, errors: list[str]) -> Any:
    path, kind = key.path, key.kind
    if kind is Kind.DURATION:
        seconds = services.seconds(value, path, errors)
        if seconds < 0 or (key.positive and seconds == 0):
            errors.append(f"{path} cannot be {value}. {_least(key)}")
        return seconds
    if kind is Kind.DURATION_MAP:
        return {
            name: services.seconds(text, f"{path}[{name}]", errors) for name, text in value.items()
        }
    if kind is Kind.INT and path.startswith("ports."):
        if not -1 <= value <= PORT_MAX:
            errors.append(f"{path}: invalid port: {value}")
    elif (kind is Kind.INT and value < 0 and not key.signed) or (key.positive and value <= 0):
        errors.append(f"{_short(path)} cannot be {value}. {_least(key)}")
    return value


def _least(key: Key) -> str:
    return f"Must be greater than {'' if key.positive else 'or equal to '}zero"


def _short(path: str) -> str:
    """Consul names this one key without its stanza."""
    return "udp_answer_limit" if path == "dns_config.udp_answer_limit" else path


def _dns(fields: Mapping[str, Any], values: Values, interfaces: Interfaces) -> DnsConfig:
    recursors = tuple(
        _recursor(each)
        for text in values.get("recursors", ())
        for each in expanded("recursors", text, interfaces)
    )
    dns_values.check(fields)
    return DnsConfig(
        domain=_zone(values.get("domain", "consul")),
        alt_domain=_zone(values.get("alt_domain", "")),
        recursors=recursors,
        **fields,
    )


def _zone(name: str) -> str:
    bare = name.strip(".")
    return f"{bare}." if bare else ""


def _recursor(text: str) -> str:
    """Check "ip", "ip:port" or "[ip]:port"; gives the text as it came."""
    host, _, port = text.rpartition(":")
    if text.startswith("[") or text.count(":") == 1:
        bare = host if port.isdecimal() else text
    else:
        bare = text
    try:
        ipaddress.ip_address(bare.strip("[]"))
    except ValueError:
        raise ConfigError(f"Invalid recursor address: {text}") from None
    return text
