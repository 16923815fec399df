"""`agent`: flags and files to a configuration, then the runtime takes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind, Parsed

if TYPE_CHECKING:
    from agent.config.load import AgentFlags
    from agent.config.schema import AgentConfig


@dataclass(frozen=True, slots=True)
class _KeyFlag:
    """A flag that is another way to write a configuration key."""

    name: str
    path: str
    kind: Kind = Kind.STRING


_KEY_FLAGS = (
    _KeyFlag("advertise", "advertise_addr"),
    _KeyFlag("advertise-wan", "advertise_addr_wan"),
    _KeyFlag("allow-write-http-from", "http_config.allow_write_http_from", Kind.LIST),
    _KeyFlag("alt-domain", "alt_domain"),
    _KeyFlag("auto-reload-config", "auto_reload_config", Kind.BOOL),
    _KeyFlag("bind", "bind_addr"),
    _KeyFlag("bootstrap", "bootstrap", Kind.BOOL),
    _KeyFlag("bootstrap-expect", "bootstrap_expect", Kind.INT),
    _KeyFlag("check_output_max_size", "check_output_max_size", Kind.INT),
    _KeyFlag("client", "client_addr"),
    _KeyFlag("data-dir", "data_dir"),
    _KeyFlag("datacenter", "datacenter"),
    _KeyFlag("default-intention-policy", "default_intention_policy"),
    _KeyFlag("default-query-time", "default_query_time"),
    _KeyFlag("disable-host-node-id", "disable_host_node_id", Kind.BOOL),
    _KeyFlag("disable-keyring-file", "disable_keyring_file", Kind.BOOL),
    _KeyFlag("dns-port", "ports.dns", Kind.INT),
    _KeyFlag("domain", "domain"),
    _KeyFlag("enable-local-script-checks", "enable_local_script_checks", Kind.BOOL),
    _KeyFlag("enable-script-checks", "enable_script_checks", Kind.BOOL),
    _KeyFlag("encrypt", "encrypt"),
    _KeyFlag("grpc-port", "ports.grpc", Kind.INT),
    _KeyFlag("grpc-tls-port", "ports.grpc_tls", Kind.INT),
    _KeyFlag("http-port", "ports.http", Kind.INT),
    _KeyFlag("https-port", "ports.https", Kind.INT),
    _KeyFlag("join", "start_join", Kind.LIST),
    _KeyFlag("join-wan", "start_join_wan", Kind.LIST),
    _KeyFlag("log-file", "log_file"),
    _KeyFlag("log-json", "log_json", Kind.BOOL),
    _KeyFlag("log-level", "log_level"),
    _KeyFlag("log-rotate-bytes", "log_rotate_bytes", Kind.INT),
    _KeyFlag("log-rotate-duration", "log_rotate_duration"),
    _KeyFlag("log-rotate-max-files", "log_rotate_max_files", Kind.INT),
    _KeyFlag("max-query-time", "max_query_time"),
    _KeyFlag("node", "node_name"),
    _KeyFlag("node-id", "node_id"),
    _KeyFlag("node-meta", "node_meta", Kind.LIST),
    _KeyFlag("non-voting-server", "non_voting_server", Kind.BOOL),
    _KeyFlag("pid-file", "pid_file"),
    _KeyFlag("primary-gateway", "primary_gateways", Kind.LIST),
    _KeyFlag("protocol", "protocol", Kind.INT),
    _KeyFlag("raft-protocol", "raft_protocol", Kind.INT),
    _KeyFlag("read-replica", "read_replica", Kind.BOOL),
    _KeyFlag("recursor", "recursors", Kind.LIST),
    _KeyFlag("rejoin", "rejoin_after_leave", Kind.BOOL),
    _KeyFlag("retry-interval", "retry_interval"),
    _KeyFlag("retry-interval-wan", "retry_interval_wan"),
    _KeyFlag("retry-join", "retry_join", Kind.LIST),
    _KeyFlag("retry-join-wan", "retry_join_wan", Kind.LIST),
    _KeyFlag("retry-max", "retry_max", Kind.INT),
    _KeyFlag("retry-max-wan", "retry_max_wan", Kind.INT),
    _KeyFlag("segment", "segment"),
    _KeyFlag("serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", Kind.LIST),
    _KeyFlag("serf-lan-bind", "serf_lan"),
    _KeyFlag("serf-lan-port", "ports.serf_lan", Kind.INT),
    _KeyFlag("serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs", Kind.LIST),
    _KeyFlag("serf-wan-bind", "serf_wan"),
    _KeyFlag("serf-wan-port", "ports.serf_wan", Kind.INT),
    _KeyFlag("server", "server", Kind.BOOL),
    _KeyFlag("server-port", "ports.server", Kind.INT),
    _KeyFlag("syslog", "enable_syslog", Kind.BOOL),
    _KeyFlag("ui", "ui_config.enabled", Kind.BOOL),
    _KeyFlag("ui-content-path", "ui_config.content_path"),
    _KeyFlag("ui-dir", "ui_config.dir"),
)
_PATHS = {flag.name: flag.path for flag in _KEY_FLAGS}

FLAGS = (
    *(Flag(flag.name, f"Configuration key {flag.path}.", flag.kind) for flag in _KEY_FLAGS),
    Flag("config-dir", "Folder of configuration files; may be repeated.", Kind.LIST),
    Flag("config-file", "Configuration file; may be repeated.", Kind.LIST),
    Flag("config-format", "Format of all files: hcl or json."),
    Flag("dev", "A server in memory, for development.", Kind.BOOL),
    Flag("hcl", "Configuration as HCL text, after all files; may be repeated.", Kind.LIST),
    Flag("version", "Prints the version and starts nothing.", Kind.BOOL),
)


def read_flags(parsed: Parsed) -> AgentFlags:
    """What the command line says, by configuration key."""
    from agent.config.load import AgentFlags

    values: dict[str, Any] = {}
    for name, value in parsed.given:
        path = _PATHS.get(name)
        if path == "node_meta":
            key, _, text = value.partition(":")
            values.setdefault(path, {})[key] = text
        elif path is not None:
            repeated = isinstance(parsed.values[name], list)
            values[path] = (*values.get(path, ()), value) if repeated else value
    return AgentFlags(
        dev=parsed["dev"],
        paths=tuple(value for name, value in parsed.given if name in {"config-file", "config-dir"}),
        format=parsed.text("config-format"),
        values=values,
        fragments=tuple(parsed["hcl"]),
    )


def _agent(call: Call) -> int:
    from agent.config import rules
    from agent.config.acl import check_acl
    from agent.config.load import load, stamp
    from agent.errors import ConfigError

    if call.flags["version"]:
        from agent.cli.version import print_version

        print_version(call)
        return 0
    if call.args:
        return call.fail(f"==> Unexpected extra arguments: [{' '.join(call.args)}]")
    flags = read_flags(call.flags)
    stamped = stamp(flags.paths)
    try:
        loaded = load(flags)
        rules.check_log_level(loaded.config.log_level)
        check_acl(loaded.config.acl)
    except ConfigError as error:
        return call.fail(f"==> {error}")
    from agent.cli.banner import banner
    from agent.cli.reread import Reread
    from agent.process import run_agent

    _warn(loaded.config, loaded.warnings)
    return run_agent(loaded.config, Reread(flags, loaded, stamped), banner=banner)


def _warn(config: AgentConfig, warnings: tuple[str, ...]) -> None:
    import logging

    from agent import logs

    logs.configure(config.log_level, as_json=config.log_json)
    for warning in warnings:
        logging.getLogger("lictor.agent").warning("%s", warning)


COMMANDS = {
    ("agent",): Command(
        usage="agent [options]",
        help="Starts an agent and runs until it is told to stop. An agent is a server or a client;"
        "\neither answers HTTP and DNS on its host.",
        run=_agent,
        http=False,
        flags=FLAGS,
    ),
}
