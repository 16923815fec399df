"""What must hold between the values of a configuration (cli-config contract, B4 and B6).

Pure checks with the texts that operators know; errors are raised, advice comes back as warnings.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Iterator

from agent.audit.config import audit_sinks
from agent.config.acl import acl_warnings
from agent.config.decode import Values
from agent.config.keys import KEYS_BY_PATH, Standing
from agent.config.schema import AgentConfig
from agent.config.telemetry import rule_warnings
from agent.errors import ConfigError
from agent.meta import meta_problem

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERR", "ERROR")
_DATACENTER = re.compile(r"[a-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z0-9-]+")
NAME_BYTES_MAX = 63
#: Of a frame between agents.
FRAME_LEAST_BYTES, FRAME_MOST_BYTES = 4 * 1024 * 1024, 256 * 1024 * 1024
_KEY_BYTES = frozenset({16, 24, 32})
_FOREIGN_PROVIDERS = frozenset({"vault", "aws-pca"})
_PROXY_WORKERS_MAX = 64
_OWN_STREAMS_MAX = 1024


def check_values(values: Values, *, dev: bool, data_dir_is_file: bool) -> None:
    """What can be said before anything is built. Raises ConfigError with the first fault."""
    _check_refused(values)
    datacenter = values.get("datacenter", "dc1").lower()
    if not datacenter:
        raise ConfigError("datacenter cannot be empty")
    if not _DATACENTER.fullmatch(datacenter):
        raise ConfigError(
            "datacenter can only contain lowercase alphanumeric, - or _ characters. "
            f'received: "{datacenter}"'
        )
    data_dir = values.get("data_dir", "")
    if not data_dir and not dev:
        raise ConfigError("data_dir cannot be empty")
    if data_dir and data_dir_is_file:
        raise ConfigError(f'data_dir "{data_dir}" is not a directory')
    _check_server(values, dev=dev)
    _check_protocols(values)
    check_encrypt(values.get("encrypt", ""))
    _check_networks(values)
    check_unix_mode(values.get("unix_sockets.mode", ""))
    _check_frames(values)
    _check_identity(values)


def _check_frames(values: Values) -> None:
    given = values.get("limits.rpc_frame_max")
    if given is not None and not FRAME_LEAST_BYTES <= given <= FRAME_MOST_BYTES:
        raise ConfigError(
            f"limits.rpc_frame_max: {given} is not within {FRAME_LEAST_BYTES} (a transaction, and"
            f" entries of the log) and {FRAME_MOST_BYTES}; servers and agents need the same"
        )


def _check_networks(values: Values) -> None:
    for key in ("serf_lan_allowed_cidrs", "serf_wan_allowed_cidrs"):
        for cidr in values.get(key, ()):
            try:
                ipaddress.ip_network(cidr, strict=False)
            except ValueError:
                raise ConfigError(f"{key}: invalid CIDR: {cidr}") from None


def _check_refused(values: Values) -> None:
    for path in values:
        key = KEYS_BY_PATH[path]
        if key.standing is Standing.REFUSED and values[path] != key.default:
            raise ConfigError(key.note)


def _check_server(values: Values, *, dev: bool) -> None:
    expect, bootstrap = values.get("bootstrap_expect", 0), values.get("bootstrap", False)
    server = values.get("server", False)
    if expect < 0:
        raise ConfigError(
            f"bootstrap_expect cannot be {expect}. Must be greater than or equal to zero"
        )
    if expect > 0 and dev:
        raise ConfigError("'bootstrap_expect > 0' not allowed in dev mode")
    if expect > 0 and bootstrap:
        raise ConfigError("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive")
    if expect > 0 and not server:
        raise ConfigError("'bootstrap_expect > 0' requires 'server = true'")
    if bootstrap and not server:
        raise ConfigError("'bootstrap = true' requires 'server = true'")
    if values.get("auto_encrypt.allow_tls") and not server:
        raise ConfigError("auto_encrypt.allow_tls can only be used on a server.")
    if values.get("auto_encrypt.tls") and server:
        raise ConfigError("auto_encrypt.tls can only be used on a client.")
    if values.get("advertise_reconnect_timeout") and server:
        raise ConfigError("advertise_reconnect_timeout can only be used on a client")
    multiplier = values.get("performance.raft_multiplier", 5)
    if not 1 <= multiplier <= 10:
        raise ConfigError(
            f"performance.raft_multiplier cannot be {multiplier}. Must be between 1 and 10"
        )
    _check_mesh(values)


def _check_mesh(values: Values) -> None:
    provider = values.get("connect.ca_provider", "consul") or "consul"
    if provider in _FOREIGN_PROVIDERS:
        raise ConfigError(f"connect.ca_provider: the {provider} CA provider is not supported")
    if provider != "consul":
        raise ConfigError(f"{provider} is not a valid CA provider")
    builtin = values.get("connect.builtin_proxy", "auto")
    if builtin not in {"auto", "off"}:
        raise ConfigError(f'connect.builtin_proxy must be "auto" or "off", not "{builtin}"')
    tunnel = values.get("proxy.tunnel", "auto")
    if tunnel not in {"auto", "off", "require"}:
        raise ConfigError(f'proxy.tunnel must be "auto", "off" or "require", not "{tunnel}"')
    native = values.get("proxy.native", "auto")
    if native not in {"auto", "off", "require"}:
        raise ConfigError(f'proxy.native must be "auto", "off" or "require", not "{native}"')
    workers = values.get("proxy.workers", 1)
    if not 1 <= workers <= _PROXY_WORKERS_MAX:
        raise ConfigError(f"proxy.workers must be 1 to {_PROXY_WORKERS_MAX}, not {workers}")
    streams = values.get("proxy.own_streams_max", 0)
    if not 0 <= streams <= _OWN_STREAMS_MAX:
        raise ConfigError(f"proxy.own_streams_max must be 0 to {_OWN_STREAMS_MAX}, not {streams}")
    if values.get("proxy.own_stream_bytes", 1) <= 0:
        raise ConfigError("proxy.own_stream_bytes must be positive")
    if limits := values.get("proxy.limits"):
        from proxy import bounds  # seldom given
        from proxy.config import ProxyConfig

        try:
            bounds.bounded(ProxyConfig(), bounds.flat(limits))
        except bounds.UnknownBound as error:
            raise ConfigError(f"proxy.limits: {error}") from error


def _check_protocols(values: Values) -> None:
    protocol = values.get("protocol", 2)
    if not 2 <= protocol <= 3:
        raise ConfigError(
            f"Protocol version '{protocol}' is out of range. Must be in range: [2, 3]"
        )
    raft = values.get("raft_protocol", 3)
    if raft != 3:
        raise ConfigError(
            f"raft_protocol version {raft} is not supported by this version of Consul"
        )


def _check_identity(values: Values) -> None:
    problem = meta_problem(values.get("node_meta", {}))
    if problem:
        raise ConfigError(f"node_meta invalid: {problem}")
    node_id = values.get("node_id", "")
    if node_id:
        try:
            well_formed = str(uuid.UUID(node_id)) == node_id.lower()
        except ValueError:
            well_formed = False
        if not well_formed:
            raise ConfigError(f'node_id is not a UUID: "{node_id}"')


def check_encrypt(key: str) -> None:
    """A gossip key is the base64 text of 16, 24 or 32 bytes."""
    if not key:
        return
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"encrypt has invalid key: illegal base64 data: {error}") from None
    if len(raw) not in _KEY_BYTES:
        raise ConfigError("encrypt has invalid key: key size must be 16, 24 or 32 bytes")


def check_unix_mode(mode: str) -> None:
    """A mode of a unix socket is an octal number."""
    if mode and not re.fullmatch(r"0?[0-7]{3}", mode):
        raise ConfigError(f'unix_sockets.mode: "{mode}" is not an octal mode such as "0660"')


def check_log_level(level: str) -> None:
    """Checked when an agent starts, not by `validate`."""
    if level.upper() not in LOG_LEVELS:
        raise ConfigError(
            f"Invalid log level: {level}. Valid log levels are: [{' '.join(LOG_LEVELS)}]"
        )


def check_ports(config: AgentConfig) -> None:
    """No two faces on one address and port. Raises ConfigError naming both."""
    taken: dict[tuple[str, int], str] = {}
    wanted = [("DNS", host, config.port_dns) for host in config.dns_addrs]
    wanted += [("HTTP", host, config.port_http) for host in config.http_addrs]
    wanted += [("HTTPS", host, config.port_https) for host in config.https_addrs]
    if config.server:
        wanted.append(("RPC Advertise", config.advertise_addr, config.port_server))
    wanted.append(("Serf Advertise LAN", config.advertise_addr, config.port_serf_lan))
    if config.in_wan:
        wanted.append(("Serf Advertise WAN", config.advertise_addr_wan, config.port_serf_wan))
    for name, host, port in wanted:
        if port <= 0:
            continue
        if host.startswith("unix://"):
            port = 0
        other = taken.setdefault((host, port), name)
        if other != name:
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            shown = shown if port else host
            raise ConfigError(f"{name} address {shown} already configured for {other}")


def warnings(values: Values, config: AgentConfig) -> Iterator[str]:
    """Advice about a valid configuration, in the order in which it is printed."""
    if "ui" in values:
        yield "The 'ui' field is deprecated. Use the 'ui_config.enabled' field instead."
    if "ui_dir" in values:
        yield "The 'ui_dir' field is deprecated. Use the 'ui_config.dir' field instead."
    if "ui_content_path" in values:
        yield (
            "The 'ui_content_path' field is deprecated. "
            "Use the 'ui_config.content_path' field instead."
        )
    yield from acl_warnings(values, config.acl)
    name = config.node_name
    if not _NAME.fullmatch(name):
        yield (
            f'Node name "{name}" will not be discoverable via DNS due to invalid characters. '
            "Valid characters include all alpha-numerics and dashes."
        )
    elif len(name.encode()) > NAME_BYTES_MAX:
        yield (
            f'Node name "{name}" will not be discoverable via DNS due to it being too long. '
            f"Valid lengths are between 1 and {NAME_BYTES_MAX} bytes."
        )
    if not config.dev_mode:
        yield from _bootstrap_warnings(values)
    open_to_all = not config.acl.enabled and not config.http_rules.allow_write_http_from
    if config.enable_script_checks and open_to_all:
        yield (
            "using enable-script-checks without ACLs and without allow_write_http_from is "
            "DANGEROUS, use enable-local-script-checks instead"
        )
    primary = values.get("primary_datacenter", "").lower()
    if primary not in {"", config.datacenter}:
        yield (
            f'primary_datacenter = "{primary}" has no effect: nothing is taken over from another '
            "datacenter yet"
        )
    if config.server and config.https.cert_file and not config.tls.cert_file:
        for key in ("tls.defaults.cert_file", "cert_file"):
            if values.get(key):
                yield (
                    f"{key} serves HTTPS alone: agents talk to each other without TLS, since "
                    "nothing is set to verify them with (ca_file, ca_path)"
                )
                break
    if config.port_https >= 0 and not config.https.cert_file:
        yield (
            f"ports.https = {config.port_https}: nothing listens there without a certificate to "
            "serve with: set tls.https.cert_file and tls.https.key_file"
        )
    yield from rule_warnings(values)
    if any(watch.deprecated for watch in config.watches):
        yield (
            "The 'handler' field in watches has been deprecated and replaced with the 'args' field."
        )
    yield from _without_effect(values)


def _bootstrap_warnings(values: Values) -> Iterator[str]:
    expect = values.get("bootstrap_expect", 0)
    if expect == 1:
        yield "BootstrapExpect is set to 1; this is the same as Bootstrap mode."
    elif expect == 2:
        yield (
            "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. "
            "Three servers survive the loss of one."
        )
    elif expect and expect % 2 == 0:
        yield (
            "bootstrap_expect is even number: A cluster with an even number of servers does not "
            "achieve optimum fault tolerance. One server less survives as many losses."
        )
    if expect > 1:
        yield f"bootstrap_expect > 0: expecting {expect} servers"
    if expect == 1 or values.get("bootstrap"):
        yield "bootstrap = true: do not enable unless necessary"


def _without_effect(values: Values) -> Iterator[str]:
    told: set[str] = set()
    if values.get("audit") and not audit_sinks(values["audit"]):
        yield '"audit" is a Consul Enterprise configuration and will have no effect'
    for path in sorted(values):
        key = KEYS_BY_PATH[path]
        note = ""
        if key.standing is Standing.IGNORED:
            note = key.note
        elif key.standing is Standing.LATER and values[path] != key.default:
            why = key.note or "it is not supported yet"
            note = f'config key "{path}" has no effect: {why}'
        if note and note not in told:
            told.add(note)
            yield note
