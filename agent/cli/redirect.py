"""`connect redirect-traffic`: leads a host's connections to its transparent sidecar."""

from __future__ import annotations

import shlex
from typing import Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind


def _redirect(call: Call) -> int:
    from agent.cli.client import ClientError
    from agent.redirect import apply, rules

    flags = call.flags
    if call.args:
        return call.fail("Should have no non-flag arguments.")
    backend, netns = flags.text("backend"), _netns(flags.text("netns"))
    if backend not in ("nftables", "iptables"):
        return call.fail('-backend must be "nftables" or "iptables"')
    try:
        if flags["undo"]:
            return _undo(call, backend, netns)
        wanted = rules.check(_wanted(call))
        if flags["dry-run"]:
            call.say(_plan(wanted, backend).rstrip("\n"))
        elif backend == "nftables":
            apply.nftables(rules.nftables(wanted), netns=netns)
        else:
            apply.iptables(wanted, netns=netns)
    except ClientError as error:
        return call.fail(f"failed to fetch proxy service from Consul Agent: {error}")
    except ValueError as error:
        return call.fail(str(error))
    except apply.NotApplied as error:
        return call.fail(f"failed to apply traffic redirection rules: {error}")
    if not flags["dry-run"]:
        call.say("Successfully applied traffic redirection rules")
    return 0


def _undo(call: Call, backend: str, netns: str) -> int:
    from agent.redirect import apply, rules

    if call.flags["dry-run"]:
        if backend == "nftables":
            call.say(rules.nftables_undo().rstrip("\n"))
        else:
            call.say("\n".join(shlex.join(["iptables", *each]) for each in rules.iptables_undo()))
        return 0
    if backend == "nftables":
        apply.nftables(rules.nftables_undo(), netns=netns)
    else:
        apply.iptables_undo(netns=netns)
    call.say("Successfully removed traffic redirection rules")
    return 0


def _plan(wanted: Any, backend: str) -> str:
    from agent.redirect import rules

    if backend == "nftables":
        return rules.nftables(wanted)
    calls = [shlex.join(["iptables", *each]) for each in rules.iptables(wanted)]
    calls += [shlex.join(["ip6tables", *each]) for each in rules.iptables(wanted, version=6)]
    return "\n".join(calls)


def _wanted(call: Call) -> Any:
    """What flags and the proxy's registration say. Raises ValueError and ClientError."""
    from agent.redirect.rules import OUTBOUND_PORT, Wanted

    flags = call.flags
    proxy_id, inbound = flags.text("proxy-id"), flags["proxy-inbound-port"]
    outbound, excluded = flags["proxy-outbound-port"], _ports(flags["exclude-inbound-port"])
    if proxy_id and flags.was_given("proxy-inbound-port"):
        raise ValueError("-proxy-inbound-port cannot be provided together with -proxy-id")
    if not proxy_id and not inbound:
        raise ValueError("either -proxy-id or -proxy-inbound-port are required")
    if proxy_id:
        found = call.client().read(f"/v1/agent/service/{proxy_id}")
        if found.get("Kind") != "connect-proxy":
            raise ValueError(f'"{proxy_id}" is not a connect-proxy')
        proxy = found.get("Proxy") or {}
        config = proxy.get("Config") or {}
        inbound = config.get("bind_port") or found.get("Port") or 0
        transparent = proxy.get("TransparentProxy") or {}
        if not flags.was_given("proxy-outbound-port"):
            outbound = transparent.get("OutboundListenerPort") or OUTBOUND_PORT
        paths = (proxy.get("Expose") or {}).get("Paths") or ()
        excluded += [int(each["ListenerPort"]) for each in paths if each.get("ListenerPort")]
    return Wanted(
        proxy_uid=flags.text("proxy-uid"),
        inbound_port=int(inbound),
        outbound_port=int(outbound),
        dns_port=int(flags["consul-dns-port"]),
        exclude_inbound_ports=tuple(excluded),
        exclude_outbound_ports=tuple(_ports(flags["exclude-outbound-port"])),
        exclude_outbound_cidrs=tuple(flags["exclude-outbound-cidr"]),
        exclude_uids=tuple(flags["exclude-uid"]),
    )


def _ports(given: list[str]) -> list[int]:
    found = []
    for text in given:
        if not text.isascii() or not text.isdigit():
            raise ValueError(f'"{text}" is no port')
        found.append(int(text))
    return found


def _netns(given: str) -> str:
    """A network namespace as a path; a bare name is one of `ip netns`."""
    return given if not given or given.startswith("/") else f"/run/netns/{given}"


COMMANDS: dict[tuple[str, ...], Command] = {
    ("connect", "redirect-traffic"): Command(
        usage="connect redirect-traffic [options] -proxy-uid=UID -proxy-id=ID",
        help="Leads all TCP connections of this host to its transparent sidecar, except those of"
        "\nthe sidecar's own user. Needs CAP_NET_ADMIN. With nftables all rules come into force"
        "\nat once; -undo takes them away.",
        run=_redirect,
        server=True,
        namespace=True,
        flags=(
            Flag("backend", 'What carries them out: "nftables" or "iptables".', default="nftables"),
            Flag("consul-dns-port", "Lead questions to name servers to this port.", Kind.INT),
            Flag("dry-run", "Only print what would be done.", Kind.BOOL),
            Flag("exclude-inbound-port", "Port that is left alone; may be repeated.", Kind.LIST),
            Flag("exclude-outbound-cidr", "Network that is left alone; may be repeated.",
                 Kind.LIST),
            Flag("exclude-outbound-port", "Port that is left alone; may be repeated.", Kind.LIST),
            Flag("exclude-uid", "User who is left alone; may be repeated.", Kind.LIST),
            Flag("netns", "Network namespace, as a path or a name of `ip netns`."),
            Flag("proxy-id", "Id of the sidecar's registration with the local agent."),
            Flag("proxy-inbound-port", "Port of its public listener, without -proxy-id.",
                 Kind.INT),
            Flag("proxy-outbound-port", "Port of its outbound listener.", Kind.INT,
                 default=15001),
            Flag("proxy-uid", "User that the sidecar runs as."),
            Flag("undo", "Take the rules away.", Kind.BOOL),
        ),
    ),
}  # fmt: skip
