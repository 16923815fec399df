"""What facts about an agent and its host mean, and what to do about them. Pure.

Each rule gives findings; each finding that is no praise names its remedy. Bounds say where they
come from: an operator wants to know how far away from trouble he is.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.config.sockaddr import Interface

#: Seconds. Half a second apart, events of two hosts stand in the wrong order in logs and history;
#: five, and fresh certificates and tokens are "not yet valid" elsewhere.
CLOCK_WARN_S, CLOCK_FAIL_S = 0.5, 5.0
#: Seconds of one fsync. A write waits for one on a majority; at a tenth of a second the leader's
#: lease and the heartbeats of a quick Raft timing begin to suffer.
FSYNC_WARN_S, FSYNC_FAIL_S = 0.02, 0.1
#: Share of probes that only TCP saved, beyond which UDP does not get through somewhere.
TCP_SHARE_MAX = 0.01
#: A server holds a connection for each agent, client and blocking query (as Consul's unit file).
FILES_WANTED = 65_536
FILES_USED_MAX = 0.8
DISK_FREE_MIN = 0.1
NAMED_MAX = 5


class Level(enum.Enum):
    """How bad it is; the value is what is printed."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``fix`` is empty where nothing is to be done."""

    check: str
    level: Level
    says: str
    fix: str = ""


def leader(found: str) -> Iterator[Finding]:
    """``found`` is the leader's address, "" for none."""
    if found:
        yield Finding("leader", Level.OK, f"the servers have a leader: {found}")
    else:
        yield Finding(
            "leader",
            Level.FAIL,
            "no leader is known here",
            "look at `members`: a majority of the servers has to be alive; if it never was, check "
            "bootstrap_expect and retry_join on the servers; if it is lost for good, see "
            "`raft recover`",
        )


def reachability(found: Mapping[str, Any]) -> Iterator[Finding]:
    """What `explain ring` says of packets."""
    asked, heard = found.get("Asked", 0), found.get("Heard", 0)
    if found.get("Error"):
        yield Finding("udp", Level.WARN, f"the ring cannot be asked: {found['Error']}", "try again")
    elif not asked:
        yield Finding("udp", Level.NOTE, "this agent knows no other member, so none was asked")
    elif heard == asked:
        yield Finding("udp", Level.OK, f"all {asked} other members answered by UDP")
    else:
        silent = [m["Name"] for m in found.get("Members", ()) if not m["Heard"]]
        yield Finding(
            "udp",
            Level.WARN if heard else Level.FAIL,
            f"{asked - heard} of {asked} members did not answer by UDP: {_named(silent)}",
            "let UDP and TCP pass on the gossip port (8301) in both directions between all agents, "
            "and look here again: a single packet may get lost",
        )
    probes, by_tcp = found.get("Probes", 0), found.get("ProbesOnlyByTCP", 0)
    if probes and by_tcp / probes > TCP_SHARE_MAX:
        yield Finding(
            "udp probes",
            Level.WARN,
            f"{by_tcp} of {probes} probes were answered by TCP alone",
            "UDP on the gossip port does not get through to or from some member: look at firewalls "
            "and at packets larger than the path takes (gossip_lan.udp_buffer_size)",
        )


def clocks(found: Mapping[str, Any]) -> Iterator[Finding]:
    """What `explain ring` says of clocks: by how much they are off at least."""
    known = {
        m["Name"]: float(m["ClockOff_s"])
        for m in found.get("Members", ())
        if m.get("ClockOff_s") is not None
    }
    off = {name: off_s for name, off_s in known.items() if abs(off_s) >= CLOCK_WARN_S}
    if not known:
        return
    if not off:
        yield Finding("clocks", Level.OK, f"{len(known)} other clocks agree with this one")
        return
    worst = max(off, key=lambda name: abs(off[name]))
    level = Level.FAIL if abs(off[worst]) >= CLOCK_FAIL_S else Level.WARN
    one_way = all(value > 0 for value in off.values()) or all(value < 0 for value in off.values())
    if len(off) > len(known) / 2 and one_way and len(known) > 1:
        way = "behind" if off[worst] > 0 else "ahead of"
        says = f"this host's clock is at least {abs(off[worst]):.1f} s {way} most others"
    else:
        way = "ahead" if off[worst] > 0 else "behind"
        names = _named(sorted(off, key=lambda name: -abs(off[name])))
        says = f"clocks differ: {names}; {worst} is {way} by at least {abs(off[worst]):.1f} s"
    yield Finding("clocks", level, says, "run chrony or systemd-timesyncd on every host")


def clock_source(synchronised: bool | None) -> Iterator[Finding]:
    """What the kernel says of this host's clock; None where it does not say."""
    if synchronised is False:
        yield Finding(
            "clock",
            Level.WARN,
            "nothing keeps this host's clock right, says the kernel",
            "run chrony or systemd-timesyncd; in a container, on its host",
        )
    elif synchronised:
        yield Finding("clock", Level.OK, "this host's clock is kept right")


def disk(latencies_s: Sequence[float], folder: str, *, server: bool) -> Iterator[Finding]:
    """How long fsync took there, several times."""
    ordered = sorted(latencies_s)
    middle, slow = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    says = f"fsync in {folder}: {middle * 1000:.1f} ms, the slow ones {slow * 1000:.1f} ms"
    bad = slow >= FSYNC_WARN_S
    level = Level.FAIL if slow >= FSYNC_FAIL_S and server else Level.WARN if bad else Level.OK
    yield Finding(
        "fsync",
        level,
        says,
        "every write waits for the disks of a majority: put data_dir on a local SSD that no other "
        "program keeps busy"
        if bad
        else "",
    )


def disk_space(free: int, total: int, folder: str) -> Iterator[Finding]:
    """Bytes that are free there."""
    share = free / total if total else 1.0
    says = f"{share:.0%} of the disk of {folder} is free"
    if share < DISK_FREE_MIN:
        fix = "make room: a server whose disk is full stops"
        yield Finding("disk space", Level.WARN, says, fix)
    else:
        yield Finding("disk space", Level.OK, says)


def address(
    advertised: str, interfaces: Sequence[Interface], others: Sequence[str]
) -> Iterator[Finding]:
    """What the agent tells others its address is; ``others`` are theirs."""
    own = ipaddress.ip_address(advertised)
    here = {each.address for each in interfaces}
    far = [text for text in others if not ipaddress.ip_address(text).is_loopback]
    if own.is_loopback and far:
        yield Finding(
            "address",
            Level.FAIL,
            f"it tells others to reach it at {advertised}, which is their own host",
            "set advertise_addr (or bind_addr) to an address of this host in their network",
        )
    elif own.is_loopback:
        yield Finding("address", Level.OK, f"all known members are on this host, at {advertised}")
    elif advertised not in here:
        yield Finding(
            "address",
            Level.NOTE,
            f"it tells others {advertised}, which is no address of this host",
            "right behind an address translation that passes the ports on; otherwise set "
            "advertise_addr",
        )
    elif own.is_global and any(ipaddress.ip_address(text).is_private for text in here):
        yield Finding(
            "address",
            Level.WARN,
            f"it tells others a public address, {advertised}, although the host has a private one",
            'advertise_addr = "{{ GetPrivateIP }}" keeps gossip and RPC off the internet; or make '
            "sure that encrypt and TLS are set",
        )
    else:
        yield Finding("address", Level.OK, f"others reach it at {advertised}")


def resolver(direct: str, system: str, name: str) -> Iterator[Finding]:
    """What is wrong with asking the agent, and the host's own resolver, for a name; "" nothing."""
    if direct:
        yield Finding(
            "dns",
            Level.FAIL,
            f"the agent's DNS does not answer for {name}: {direct}",
            "ports.dns has to be on and free; then see `explain dns`",
        )
    else:
        yield Finding("dns", Level.OK, f"the agent's DNS answers for {name}")
    if system:
        yield Finding(
            "resolver",
            Level.NOTE,
            f"programs of this host cannot resolve {name}: {system}",
            "make the host's resolver (systemd-resolved, dnsmasq, unbound, ...) send the agent's "
            "domain to the agent's DNS port",
        )
    else:
        yield Finding("resolver", Level.OK, f"programs of this host resolve {name}")


def files(limit: int, used: int, *, server: bool) -> Iterator[Finding]:
    """How many files and sockets the agent may have open, and has."""
    says = f"the agent has {used} files and sockets open and may have {limit}"
    fix = f"LimitNOFILE={FILES_WANTED} in its systemd unit, or ulimit -n where it is started"
    if used > limit * FILES_USED_MAX:
        yield Finding("files", Level.FAIL, says, fix)
    elif server and limit < FILES_WANTED:
        yield Finding("files", Level.WARN, says, fix)
    else:
        yield Finding("files", Level.OK, says)


def program(found: Mapping[str, Any], own: str) -> Iterator[Finding]:
    """What `explain process` says of the agent's files; ``own`` is this program's version."""
    version = found.get("Version", "an older one")
    if found.get("ProgramReplaced"):
        yield Finding(
            "program",
            Level.WARN,
            f"the agent's files were replaced since it was started; it is version {version}, and "
            "refuses to load what it has not loaded yet",
            f"restart it: `kill -USR2 {found.get('Pid', 'PID')}` keeps its listening sockets",
        )
    elif version != own:
        says = f"the agent is version {version}, this program {own}"
        fix = "restart the agent if its files were replaced, or call the program that it runs"
        yield Finding("program", Level.NOTE, says, fix)
    else:
        yield Finding("program", Level.OK, f"the agent runs version {own} as it is on disk")


def encryption(encrypted: bool) -> Iterator[Finding]:
    """Whether gossip is encrypted."""
    if encrypted:
        yield Finding("gossip key", Level.OK, "gossip is encrypted")
    else:
        yield Finding(
            "gossip key",
            Level.NOTE,
            "gossip is not encrypted: who reaches the port can join and lie",
            "set encrypt to the same key everywhere (`keygen` makes one)",
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more
