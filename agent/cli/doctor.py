"""`doctor`: looks at an agent and its host for what usually is the trouble, and says what to do.

The facts are gathered here; what they mean stands in `doctor_rules`.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent import VERSION
from agent.cli import doctor_rules as rules
from agent.cli.client import Client, ClientError
from agent.cli.command import Call, Command
from agent.cli.doctor_rules import Finding, Level
from agent.cli.flags import Flag

_FORMATS = ("pretty", "json")
FSYNCS = 40
FSYNC_BYTES = 4096
DNS_TIMEOUT_S = 3.0
#: adjtimex(2): the clock is not synchronised.
_STA_UNSYNC = 0x40


@dataclass(frozen=True, slots=True)
class _Agent:
    """The agent that is looked at, and what it says of its configuration."""

    client: Client
    config: Mapping[str, Any]
    server: bool


def _doctor(call: Call) -> int:
    wanted = call.flags.text("format")
    if wanted not in _FORMATS:
        return call.fail(f"Unknown format: {wanted}")
    if call.args:
        return call.fail(f"Too many arguments (expected 0, got {len(call.args)})")
    findings = list(_findings(call))
    if wanted == "json":
        call.say(
            json.dumps(
                [
                    {"Check": f.check, "Level": f.level.value.lower(), "Says": f.says, "Fix": f.fix}
                    for f in findings
                ],
                indent=4,
            )
        )
    else:
        for finding in findings:
            call.say(f"{finding.level.value:<4}  {finding.check}: {finding.says}")
            if finding.fix:
                call.say(f"      fix: {finding.fix}")
    return 1 if any(finding.level is Level.FAIL for finding in findings) else 0


def _findings(call: Call) -> Iterator[Finding]:
    client = call.client()
    try:
        found = client.read("/v1/agent/self")
    except ClientError as error:
        yield Finding(
            "agent",
            Level.FAIL,
            f"no agent answers: {error}",
            "start it, or say where it is with -http-addr or CONSUL_HTTP_ADDR; `validate` says "
            "what is wrong with its configuration",
        )
        yield from rules.clock_source(_synchronised())
        return
    config = found.get("DebugConfig") or {}
    server = bool((found.get("Config") or {}).get("Server"))
    agent = _Agent(client, config, server)
    kind = "server" if server else "client agent"
    name = (found.get("Config") or {}).get("NodeName", "?")
    yield Finding("agent", Level.OK, f"{name}, a {kind}, answers")
    for check, look in _LOOKS.items():
        try:
            yield from look(call, agent)
        except (ClientError, OSError, ValueError, KeyError) as error:
            yield Finding(check, Level.NOTE, f"could not be looked at: {error}")


def _leader(_call: Call, agent: _Agent) -> Iterable[Finding]:
    return rules.leader(str(agent.client.read("/v1/status/leader")))


def _ring(_call: Call, agent: _Agent) -> Iterator[Finding]:
    found = agent.client.read("/v1/explain/ring")
    yield from rules.reachability(found)
    yield from rules.clocks(found)
    yield from rules.clock_source(_synchronised())


def _encryption(_call: Call, agent: _Agent) -> Iterable[Finding]:
    return rules.encryption(bool(agent.client.read("/v1/explain/keyring").get("Encrypted")))


def _synchronised() -> bool | None:
    """What the kernel says of the clock; None where it says nothing."""
    state = (ctypes.c_long * 64)()  # struct timex begins with what to change: nothing
    try:
        if ctypes.CDLL(None).adjtimex(ctypes.byref(state)) < 0:
            return None
    except (OSError, AttributeError):
        return None
    status = ctypes.c_int.from_buffer(state, 5 * ctypes.sizeof(ctypes.c_long)).value
    return not status & _STA_UNSYNC


def _disk(call: Call, agent: _Agent) -> Iterator[Finding]:
    folder = call.flags.text("data-dir") or str(agent.config.get("DataDir") or "")
    if not folder:
        yield Finding("fsync", Level.NOTE, "the agent keeps its state in memory")
        return
    usage = shutil.disk_usage(folder)
    yield from rules.disk_space(usage.free, usage.total, folder)
    try:
        latencies_s = _fsyncs(folder)
    except PermissionError:
        yield Finding(
            "fsync",
            Level.NOTE,
            f"{folder} belongs to another user",
            "run this as the agent's user, or name a folder of the same disk with -data-dir",
        )
        return
    yield from rules.disk(latencies_s, folder, server=agent.server)


def _fsyncs(folder: str) -> list[float]:
    """Seconds of each of some writes with fsync. Raises OSError."""
    data = os.urandom(FSYNC_BYTES)
    taken_s = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        for _ in range(FSYNCS):
            file.write(data)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken_s.append(time.perf_counter() - began)
    return taken_s


def _address(_call: Call, agent: _Agent) -> Iterable[Finding]:
    from agent.config.interfaces import host_interfaces

    members = agent.client.read("/v1/agent/members") or []
    own = str(agent.config["AdvertiseAddr"])
    others = [member["Addr"] for member in members if member["Addr"] != own]
    return rules.address(own, host_interfaces(), others)


def _resolver(_call: Call, agent: _Agent) -> Iterable[Finding]:
    domain = str((agent.config.get("Dns") or {}).get("Domain") or "consul.")
    name = f"consul.service.{domain}"
    port = int(agent.config.get("PortDns", -1))
    hosts = agent.config.get("ClientAddrs") or ["127.0.0.1"]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(hosts[0], hosts[0])  # noqa: S104  (compared)
    if port <= 0:
        return [Finding("dns", Level.NOTE, "ports.dns is off")]
    return rules.resolver(_asked(host, port, name), _resolved(name), name.rstrip("."))


def _asked(host: str, port: int, name: str) -> str:
    """What is wrong with the agent's DNS; "" when it answers with an address."""
    import dns.exception
    import dns.message
    import dns.query

    try:
        answer = dns.query.udp(
            dns.message.make_query(name, "A"), host, port=port, timeout=DNS_TIMEOUT_S
        )
    except (dns.exception.DNSException, OSError) as error:
        return str(error) or type(error).__name__
    return "" if answer.answer else "it gives no address"


def _resolved(name: str) -> str:
    """What is wrong with the host's resolver; "" when it knows the name."""
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        return str(error.strerror or error).lower()
    return ""


def _process(_call: Call, agent: _Agent) -> Iterator[Finding]:
    found = agent.client.read("/v1/explain/process")
    yield from rules.files(found["FilesMax"], found["FilesOpen"], server=agent.server)
    yield from rules.program(found, VERSION)


_LOOKS: dict[str, Callable[[Call, _Agent], Iterable[Finding]]] = {
    "leader": _leader,
    "udp": _ring,
    "address": _address,
    "fsync": _disk,
    "files": _process,
    "dns": _resolver,
    "gossip key": _encryption,
}

COMMANDS = {
    ("doctor",): Command(
        usage="doctor [options]",
        help="Looks at the agent and at this host for what usually is the trouble: a leader, UDP in"
        "\nboth directions, clocks, the address that others are told, fsync, open files, the"
        "\nresolver. Run it on the agent's host, as the agent's user. Each finding comes with what"
        "\nto do about it; the exit status is 1 when one of them is a failure.",
        run=_doctor,
        flags=(
            Flag("data-dir", "Folder whose disk is measured; the agent's own by default."),
            Flag("format", "Output format: pretty or json.", default="pretty"),
        ),
    ),
}
