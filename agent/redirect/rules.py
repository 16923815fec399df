"""The kernel's rules that lead connections to a transparent sidecar (mesh contract D.4). Pure.

The proxy runs under a user of its own, whose connections are left alone: otherwise it would be led
to itself for ever. Connections to the loopback address are left alone too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

TABLE = "lictor"
OUTBOUND_PORT = 15001
DNS_PORT = 53
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?|[0-9]{1,10}")


class BadRules(ValueError):
    """What was asked for cannot be made into rules; the text is for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is led where. ``inbound_port`` 0: nothing that comes in is touched; ``dns_port`` 0:
    neither are questions to name servers."""

    proxy_uid: str
    inbound_port: int = 0
    outbound_port: int = OUTBOUND_PORT
    dns_port: int = 0
    exclude_inbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_cidrs: tuple[str, ...] = ()
    exclude_uids: tuple[str, ...] = ()


def check(wanted: Wanted) -> Wanted:
    """The same with everything in its one form. Raises BadRules."""
    if not wanted.proxy_uid:
        raise BadRules("-proxy-uid is required")
    for uid in (wanted.proxy_uid, *wanted.exclude_uids):
        if not _ACCOUNT.fullmatch(uid):
            raise BadRules(f'"{uid}" is no user')
    for port in (*wanted.exclude_inbound_ports, *wanted.exclude_outbound_ports):
        if not 0 < port < 65536:
            raise BadRules(f"{port} is no port")
    cidrs = []
    for text in wanted.exclude_outbound_cidrs:
        try:
            cidrs.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError as error:
            raise BadRules(f'"{text}" is no network: {error}') from error
    return Wanted(
        proxy_uid=wanted.proxy_uid,
        inbound_port=wanted.inbound_port,
        outbound_port=wanted.outbound_port,
        dns_port=wanted.dns_port,
        exclude_inbound_ports=tuple(sorted(set(wanted.exclude_inbound_ports))),
        exclude_outbound_ports=tuple(sorted(set(wanted.exclude_outbound_ports))),
        exclude_outbound_cidrs=tuple(dict.fromkeys(cidrs)),
        exclude_uids=tuple(dict.fromkeys(wanted.exclude_uids)),
    )


def nftables(wanted: Wanted) -> str:
    """One transaction for `nft -f`: all of it, or nothing; in the place of what was there."""
    return "".join(_table(wanted, family) for family in ("ip", "ip6"))


def nftables_undo() -> str:
    """Take all of it away; no error when nothing is there."""
    return "".join(
        f"table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in ("ip", "ip6")
    )


def _table(wanted: Wanted, family: str) -> str:
    version = 4 if family == "ip" else 6
    cidrs = [each for each in wanted.exclude_outbound_cidrs if _version(each) == version]
    loopback = "127.0.0.1/32" if version == 4 else "::1/128"
    kind = "ipv4_addr" if version == 4 else "ipv6_addr"
    lines = [
        f"table {family} {TABLE}",
        f"delete table {family} {TABLE}",
        f"table {family} {TABLE} {{",
        *_set("excluded_users", "uid", wanted.exclude_uids),
        *_set("excluded_inbound_ports", "inet_service", wanted.exclude_inbound_ports),
        *_set("excluded_outbound_ports", "inet_service", wanted.exclude_outbound_ports),
        *_set("excluded_outbound_networks", kind, cidrs, interval=True),
        "\tchain output {",
        "\t\ttype nat hook output priority -100; policy accept;",
        f'\t\tmeta skuid "{wanted.proxy_uid}" return',
    ]
    if wanted.dns_port:
        lines += [
            f"\t\tudp dport {DNS_PORT} redirect to :{wanted.dns_port}",
            f"\t\ttcp dport {DNS_PORT} redirect to :{wanted.dns_port}",
        ]
    lines += [
        "\t\tmeta l4proto != tcp return",
        "\t\tmeta skuid @excluded_users return",
        "\t\ttcp dport @excluded_outbound_ports return",
        f"\t\t{family} daddr @excluded_outbound_networks return",
        f"\t\t{family} daddr {loopback} return",
        f"\t\tmeta l4proto tcp redirect to :{wanted.outbound_port}",
        "\t}",
    ]
    if wanted.inbound_port:
        lines += [
            "\tchain prerouting {",
            "\t\ttype nat hook prerouting priority -100; policy accept;",
            "\t\tmeta l4proto != tcp return",
            "\t\ttcp dport @excluded_inbound_ports return",
            f"\t\tmeta l4proto tcp redirect to :{wanted.inbound_port}",
            "\t}",
        ]
    return "\n".join([*lines, "}"]) + "\n"


def _set(
    name: str, kind: str, members: tuple[str | int, ...] | list[str], *, interval: bool = False
) -> Iterator[str]:
    yield f"\tset {name} {{"
    yield f"\t\ttype {kind}"
    if interval:
        yield "\t\tflags interval"
    if members:
        quoted = [f'"{each}"' if kind == "uid" else str(each) for each in members]
        yield f"\t\telements = {{ {', '.join(quoted)} }}"
    yield "\t}"


def _version(cidr: str) -> int:
    return ipaddress.ip_network(cidr).version


INBOUND, IN_REDIRECT = "LICTOR_PROXY_INBOUND", "LICTOR_PROXY_IN_REDIRECT"
OUTPUT, REDIRECT = "LICTOR_PROXY_OUTPUT", "LICTOR_PROXY_REDIRECT"


def iptables(wanted: Wanted, *, version: int = 4) -> list[list[str]]:
    """The arguments of one call of iptables (or ip6tables) after another."""
    rules: list[str] = [f"-N {INBOUND}", f"-N {IN_REDIRECT}", f"-N {OUTPUT}", f"-N {REDIRECT}"]
    rules.append(f"-A {REDIRECT} -p tcp -j REDIRECT --to-port {wanted.outbound_port}")
    if wanted.dns_port:
        rules += [
            f"-A {OUTPUT} -p {protocol} --dport {DNS_PORT} -m owner ! --uid-owner "
            f"{wanted.proxy_uid} -j REDIRECT --to-port {wanted.dns_port}"
            for protocol in ("udp", "tcp")
        ]
    cidrs = [each for each in wanted.exclude_outbound_cidrs if _version(each) == version]
    rules += [f"-A {OUTPUT} -m owner --uid-owner {uid} -j RETURN" for uid in wanted.exclude_uids]
    rules += [
        f"-A {OUTPUT} -p tcp --dport {port} -j RETURN" for port in wanted.exclude_outbound_ports
    ]
    rules += [f"-A {OUTPUT} -d {cidr} -j RETURN" for cidr in cidrs]
    loopback = "127.0.0.1/32" if version == 4 else "::1/128"
    rules += [
        f"-A {OUTPUT} -m owner --uid-owner {wanted.proxy_uid} -j RETURN",
        f"-A {OUTPUT} -d {loopback} -j RETURN",
        f"-A {OUTPUT} -p tcp -j {REDIRECT}",
        f"-A OUTPUT -j {OUTPUT}",
    ]
    if wanted.inbound_port:
        rules.append(f"-A {IN_REDIRECT} -p tcp -j REDIRECT --to-port {wanted.inbound_port}")
        rules += [
            f"-A {INBOUND} -p tcp --dport {port} -j RETURN" for port in wanted.exclude_inbound_ports
        ]
        rules += [f"-A {INBOUND} -p tcp -j {IN_REDIRECT}", f"-A PREROUTING -p tcp -j {INBOUND}"]
    return [["-t", "nat", *rule.split()] for rule in rules]


def iptables_undo() -> list[list[str]]:
    """Take them away again; calls for what is not there fail, and that does not matter."""
    rules = [f"-D OUTPUT -j {OUTPUT}", f"-D PREROUTING -p tcp -j {INBOUND}"]
    chains = (INBOUND, IN_REDIRECT, OUTPUT, REDIRECT)
    rules += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
    return [["-t", "nat", *rule.split()] for rule in rules]
