"""`connect`: the built-in proxy, and the configuration of the certificate authority."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

from agent.cli.command import Call, Command, columns
from agent.cli.flags import Flag, Kind

if TYPE_CHECKING:
    from proxy.worker import ProxyOptions

log = logging.getLogger("lictor.proxy")

_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERR", "ERROR")


def _proxy(call: Call) -> int:
    flags = call.flags
    if call.args:
        return call.fail("Should have no non-flag arguments.")
    for name in ("register", "pprof-addr", "register-id"):
        if flags.was_given(name) and flags[name]:
            return call.fail(f"-{name} is not supported yet")
    level = flags.text("log-level").upper()
    if level not in _LEVELS:
        return call.fail(
            f"Invalid log level: {flags.text('log-level')}. "
            f"Valid log levels are: [{' '.join(_LEVELS)}]"
        )
    from agent import logs
    from agent.connect import native

    logs.configure(level, as_json=flags["log-json"])
    if flags.text("native") not in native.MODES:
        return call.fail(f'-native must be auto, off or require, not "{flags.text("native")}"')
    try:
        why = native.use(flags.text("native"))  # before anything of the proxy is loaded
        options = proxy_options(call)
    except native.NotNative as error:
        return call.fail(f"Error: {error}")
    except ValueError as error:
        return call.fail(f"Error preparing configuration: {error}")
    from proxy.worker import main_proxy

    log.info("compiled=%s%s", not why, f" reason={why!r}" if why else "")
    return main_proxy(options)


def proxy_options(call: Call) -> ProxyOptions:
    """What the proxy is told. Raises ValueError for upstreams that cannot be read."""
    from agent.cli.client import DEFAULT_ADDRESS, read_options
    from agent.connect.child import ORDER_VARIABLE, PARENT_PID_VARIABLE
    from agent.connect.late_parts import MARKS, Jose, full_match
    from agent.durations import parse_s
    from proxy.bounds import bounded, read
    from proxy.config import ProxyConfig
    from proxy.tunnel.limits import TunnelLimits
    from proxy.worker import ProxyOptions
    from proxy.workers import WORKERS_MAX

    flags = call.flags
    options = read_options(flags, call.environ)
    parent = call.environ.get(PARENT_PID_VARIABLE, "")
    order = call.environ.get(ORDER_VARIABLE, "")
    proxy_id, sidecar_for = flags.text("proxy-id"), flags.text("sidecar-for")
    if not any(flags.text(name) for name in ("proxy-id", "sidecar-for", "service")):
        proxy_id = call.environ.get("CONNECT_PROXY_ID", "")
        sidecar_for = "" if proxy_id else call.environ.get("CONNECT_SIDECAR_FOR", "")
    tunnel = flags.text("tunnel")
    if tunnel not in {"auto", "off", "require"}:
        raise ValueError(f'-tunnel must be auto, off or require, not "{tunnel}"')
    workers = int(flags["workers"])
    if not 1 <= workers <= WORKERS_MAX:
        raise ValueError(f"-workers must be 1 to {WORKERS_MAX}, not {workers}")
    return ProxyOptions(
        http_addr=flags.text("http-addr")
        or call.environ.get("CONSUL_HTTP_ADDR")
        or DEFAULT_ADDRESS,
        token=options.token,
        sidecar_for=sidecar_for,
        proxy_id=proxy_id,
        service=flags.text("service"),
        gateway=_gateway(flags.text("gateway"), flags.text("service")),
        service_addr=flags.text("service-addr"),
        listen=flags.text("listen"),
        upstreams=tuple(_upstream(text) for text in flags["upstream"]),
        bind_address=flags.text("bind-address"),
        handover=flags.text("handover"),
        outlives_s=parse_s(flags.text("outlives-agent") or "0s"),
        config=bounded(
            ProxyConfig(
                tunnel=tunnel,
                workers=workers,
                tunnel_limits=TunnelLimits(
                    own_streams_max=int(flags["own-streams-max"]),
                    own_bytes=int(flags["own-stream-bytes"]),
                    own_within_s=parse_s(flags.text("own-stream-within")),
                ),
            ),
            dict(read(text) for text in flags["limit"]),
        ),
        full_match=full_match,
        jose=Jose(),
        late=MARKS,
        admin_bind=flags.text("admin-bind"),
        # The variable is inherited: it is meant for us only when it names our parent.
        parent_pid=int(parent) if parent == str(os.getppid()) else 0,
        order=int(order) if parent == str(os.getppid()) and order.isdecimal() else 0,
    )


def _gateway(kind: str, name: str) -> str:
    """The kind of gateway that is asked for. Raises ValueError for one that we cannot be."""
    if kind and kind not in ("ingress", "terminating"):
        raise ValueError(f'-gateway must be ingress or terminating, not "{kind}"')
    if kind and not name:
        raise ValueError("-gateway needs -service, the name that the gateway is registered by")
    return kind


def _upstream(text: str) -> tuple[str, int]:
    name, colon, port = text.rpartition(":")
    if not colon or not name:
        raise ValueError(f'Upstream value should be name:addr in "{text}"')
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'invalid port "{port}" in upstream "{text}"')
    return name, int(port)


def _get_config(call: Call) -> int:
    from agent.cli.client import ClientError

    try:
        found = call.client().read("/v1/connect/ca/configuration")
    except ClientError as error:
        return call.fail(f"Error querying CA configuration: {error}")
    call.say(json.dumps(found, indent="\t", ensure_ascii=False))
    return 0


def _set_config(call: Call) -> int:
    from agent.cli.client import ClientError, expect, open_error

    path = call.flags.text("config-file")
    if not path:
        return call.fail("The -config-file flag is required")
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
    except OSError as error:
        return call.fail(f"Error reading config file: {open_error(path, error)}")
    except ValueError as error:
        return call.fail(f"Error parsing config file: {error}")
    if isinstance(given, dict) and call.flags["force-without-cross-signing"]:
        given["ForceWithoutCrossSigning"] = True
    try:
        expect(call.client().put("/v1/connect/ca/configuration", body=json.dumps(given).encode()))
    except ClientError as error:
        return call.fail(f"Error setting CA configuration: {error}")
    call.say("Configuration updated!")
    return 0


def _roots(call: Call) -> int:
    from agent.cli.client import ClientError

    try:
        found = call.client().read("/v1/connect/ca/roots")
    except ClientError as error:
        return call.fail(f"Error querying CA roots: {error}")
    if call.flags["pem"]:
        call.raw("".join(root["RootCert"] for root in found["Roots"]).encode())
        return 0
    rows = [("ID", "Active", "Key", "Not After", "Rotated Out")]
    for root in found["Roots"]:
        key = f"{root['PrivateKeyType']} {root['PrivateKeyBits']}"
        active = str(root["Active"]).lower()
        out = root.get("RotatedOutAt") or "-"
        rows.append((root["ID"], active, key, root["NotAfter"], out))
    call.say(f"Trust domain: {found['TrustDomain']}")
    call.say(columns(rows))
    return 0


def _rotate(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    query = [("force", "")] if call.flags["force-without-cross-signing"] else []
    try:
        found = expect(call.client().put("/v1/connect/ca/rotate", query)).json()
    except ClientError as error:
        return call.fail(f"Error rotating the CA root: {error}")
    call.say(f"New root: {found['ActiveRootID']}")
    return 0


COMMANDS = {
    ("connect", "proxy"): Command(
        usage="connect proxy [options]",
        help="Runs the built-in mTLS proxy for a service until it is told to stop.",
        run=_proxy,
        server=True,
        flags=(
            Flag(
                "admin-bind",
                'Address "host:port" of the listener for metrics, "off" for none. Without it, port'
                "\n19100 of loopback or, if that is taken, any other.",
            ),
            Flag(
                "gateway",
                "Kind of gateway to be: ingress or terminating. Needs -service, the name of its\n"
                "registration with the local agent and of its config entry.",
            ),
            Flag(
                "handover",
                "Unix socket at which a running proxy gives its listeners to the next one, which\n"
                "is started with the same flags; the old one then drains and ends.",
            ),
            Flag(
                "outlives-agent",
                "How long a child of an agent goes on when that is gone, so that the next agent's\n"
                "child can take over. Without it, it ends with its agent.",
            ),
            Flag("listen", 'Address "host:port" of the public listener.'),
            Flag("log-json", "Write log lines as JSON.", Kind.BOOL),
            Flag("log-level", "Level of the log.", default="INFO"),
            Flag("pprof-addr", "Not supported."),
            Flag("proxy-id", "Id of the proxy's registration with the local agent."),
            Flag("register", "Not supported yet: register with the local agent.", Kind.BOOL),
            Flag("register-id", "Not supported yet: id suffix for -register."),
            Flag("service", "Name of the service that this proxy represents."),
            Flag("service-addr", 'Address "host:port" of the local service.'),
            Flag(
                "bind-address",
                "Address of the public listener when the registration names none.",
            ),
            Flag(
                "tunnel",
                "Share warm connections with other built-in proxies: auto, off or require.",
                default="auto",
            ),
            Flag(
                "workers",
                "How many processes share the ports of this proxy.",
                Kind.INT,
                default=1,
            ),
            Flag(
                "limit",
                'A bound of this proxy as "name=number"; may be repeated. Names stand in\n'
                "docs/operate/limits.md.",
                Kind.LIST,
            ),
            Flag(
                "native",
                "Use the compiled form of the proxy where there is one: auto, off or require.",
                default="auto",
            ),
            Flag(
                "own-streams-max",
                "How many big streams, each way, may go on over a connection of their own;\n"
                "0 for none.",
                Kind.INT,
                default=8,
            ),
            Flag(
                "own-stream-bytes",
                "A stream that moves so many bytes within -own-stream-within is a big one.",
                Kind.INT,
                default=16_777_216,
            ),
            Flag(
                "own-stream-within",
                "In what time a big stream moves -own-stream-bytes.",
                default="2s",
            ),
            Flag("sidecar-for", "Id of the service whose sidecar registration to use."),
            Flag("upstream", 'Upstream as "name:port"; may be repeated.', Kind.LIST),
        ),
    ),
    ("connect", "ca", "get-config"): Command(
        usage="connect ca get-config [options]",
        help="Displays the configuration of the certificate authority.",
        run=_get_config,
        server=True,
    ),
    ("connect", "ca", "set-config"): Command(
        usage="connect ca set-config [options]",
        help="Changes the configuration of the certificate authority.",
        run=_set_config,
        server=True,
        flags=(
            Flag("config-file", "JSON file with Provider and Config."),
            Flag(
                "force-without-cross-signing",
                "Rotate also where the old root cannot sign the new one.",
                Kind.BOOL,
            ),
        ),
    ),
    ("connect", "ca", "roots"): Command(
        usage="connect ca roots [options]",
        help="Lists the root certificates, the active one and those that still count.",
        run=_roots,
        server=True,
        flags=(Flag("pem", "Print the certificates.", Kind.BOOL),),
    ),
    ("connect", "ca", "rotate"): Command(
        usage="connect ca rotate [options]",
        help="Puts a new root in the place of the active one, which signs it. Leaves follow\n"
        "within minutes, and no connection is lost.",
        run=_rotate,
        server=True,
        flags=(
            Flag(
                "force-without-cross-signing",
                "Rotate also where the old root cannot sign the new one.",
                Kind.BOOL,
            ),
        ),
    ),
}
