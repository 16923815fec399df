"""What a name under the zone asks for (DNS contract, section 2).

Decides the zone, the kind of lookup and its parts from the labels alone; nothing here knows what
is registered. Names outside every zone and names without meaning are results, not errors.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dns.rdatatype import RdataType

from agent.dns.records import name_wire

_HEX = re.compile(r"[0-9a-f]*\Z")
_REVERSE_V4 = ("arpa", "in-addr")
_REVERSE_V6 = ("arpa", "ip6")


class Kind(enum.Enum):
    """What a name leads to."""

    SERVICE = "service"
    CONNECT = "connect"
    INGRESS = "ingress"
    VIRTUAL = "virtual"
    NODE = "node"
    QUERY = "query"
    ADDR = "addr"
    REVERSE = "reverse"
    NOTHING = "nothing"
    OUTSIDE = "outside"


#: Labels that end the left part of a name.
_KIND_LABELS = {
    "service": Kind.SERVICE,
    "connect": Kind.CONNECT,
    "node": Kind.NODE,
    "addr": Kind.ADDR,
    "ingress": Kind.INGRESS,
    "query": Kind.QUERY,
    "virtual": Kind.VIRTUAL,
}


@dataclass(frozen=True, slots=True)
class Zone:
    """A domain that is answered here: its labels in lower case, and its wire form."""

    text: str
    labels: tuple[str, ...]
    wire: bytes


@dataclass(frozen=True, slots=True)
class Zones:
    """All zones. ``primary`` names the targets of reverse lookups."""

    primary: Zone
    alternative: Zone | None = None

    def longest(self, labels: tuple[str, ...]) -> Zone | None:
        """The zone with the longest suffix of whole labels, None outside both."""
        best: Zone | None = None
        for zone in (self.primary, self.alternative):
            if zone is None or labels[len(labels) - len(zone.labels) :] != zone.labels:
                continue
            if len(labels) >= len(zone.labels) and (
                best is None or len(zone.labels) > len(best.labels)
            ):
                best = zone
        return best


def make_zone(text: str) -> Zone:
    """A zone from a configured domain, with or without its last dot. Raises ValueError."""
    body = text.strip(".").lower()
    wire = name_wire(body)
    if wire is None:
        raise ValueError(f"{text!r} is not a domain name")
    return Zone(body + ".", tuple(body.split(".")), wire)


def reverse_zones(cidrs: Sequence[str]) -> tuple[Zone, ...]:
    """The zones below ``arpa`` that hold the reverse names of these ranges.

    A range that ends within a byte or a nibble has several (RFC 2317 without its delegation).
    Raises ValueError for what is no range.
    """
    found: list[Zone] = []
    for cidr in cidrs:
        network = ipaddress.ip_network(cidr, strict=False)
        bits = 8 if network.version == 4 else 4
        length = -(-network.prefixlen // bits) * bits
        for part in network.subnets(new_prefix=length):
            words = _reverse_words(part)[: length // bits]
            tail = ["in-addr"] if network.version == 4 else ["ip6"]
            found.append(make_zone(".".join([*words[::-1], *tail, "arpa"])))
    return tuple(found)


def _reverse_words(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[str]:
    packed = network.network_address.packed
    return [str(byte) for byte in packed] if network.version == 4 else list(packed.hex())


def reverse_zone(labels: tuple[bytes, ...], owned: Mapping[bytes, Zone]) -> Zone | None:
    """The owned zone that a reverse name is in; ``owned`` by the labels joined with dots."""
    if not owned:
        return None
    for at in range(len(labels) - 1):
        zone = owned.get(b".".join(labels[at:]))
        if zone is not None:
            return zone
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """How a name was read. ``datacenter`` is "" for the agent's own; ``tag`` is "" for any;
    ``address`` holds the bytes of an addr or reverse name (b"" for an addr of a wrong length);
    ``reason`` says why a name means nothing."""

    kind: Kind
    zone: Zone
    name: str = ""
    tag: str = ""
    datacenter: str = ""
    address: bytes = b""
    reason: str = ""


def read(labels: tuple[bytes, ...], qtype: int, zones: Zones) -> Lookup:
    """Read lower-case labels, leftmost first. ``qtype`` matters for ``_name._proto`` alone."""
    try:
        words = tuple(label.decode("ascii") for label in labels)
    except UnicodeDecodeError:
        words = tuple(label.decode("ascii", "backslashreplace") for label in labels)
    if words[-1:] == ("arpa",):
        return _reverse(words, zones.primary)
    zone = zones.longest(words)
    if zone is None:
        return Lookup(kind=Kind.OUTSIDE, zone=zones.primary, reason="outside the zones")
    inner = words[: len(words) - len(zone.labels)]
    if any("." in word for word in inner):
        return _nothing(zone, "a label holds a dot")
    for at in range(len(inner) - 1, -1, -1):
        if inner[at] in _KIND_LABELS:
            return _known(inner[at], inner[:at], inner[at + 1 :], zone)
    return _bare_rfc2782(inner, qtype, zone)


def _nothing(zone: Zone, reason: str) -> Lookup:
    return Lookup(kind=Kind.NOTHING, zone=zone, reason=reason)


def _known(word: str, parts: tuple[str, ...], suffix: tuple[str, ...], zone: Zone) -> Lookup:
    kind = _KIND_LABELS[word]
    if kind is Kind.ADDR:
        return _addr(parts, zone)
    if not parts:
        return _nothing(zone, f"nothing stands before {word}")
    if len(suffix) == 2 and suffix[1] == "dc":
        suffix = suffix[:1]  # the later grammar: NAME.service.DC.dc
    if len(suffix) > 1:
        return _nothing(zone, f"more than a datacenter after {word}")
    datacenter = suffix[0] if suffix else ""
    if kind in {Kind.NODE, Kind.QUERY}:
        name = ".".join(parts)
        return Lookup(kind=kind, zone=zone, name=name, datacenter=datacenter)
    if kind in {Kind.CONNECT, Kind.INGRESS, Kind.VIRTUAL}:
        return Lookup(kind=kind, zone=zone, name=parts[-1], datacenter=datacenter)
    if len(parts) == 2 and parts[0].startswith("_") and parts[1].startswith("_"):
        return _rfc2782(parts, datacenter, zone)
    tag = ".".join(parts[:-1])
    return Lookup(kind=kind, zone=zone, name=parts[-1], tag=tag, datacenter=datacenter)


def _rfc2782(parts: tuple[str, ...], datacenter: str, zone: Zone) -> Lookup:
    """``_name._proto``: the protocol is a tag, save that ``_tcp`` asks for any (RFC 2782)."""
    name, proto = parts[0][1:], parts[1][1:]
    if not name or not proto:
        return _nothing(zone, "an underscore without a name")
    tag = "" if proto == "tcp" else proto
    return Lookup(kind=Kind.SERVICE, zone=zone, name=name, tag=tag, datacenter=datacenter)


def _bare_rfc2782(inner: tuple[str, ...], qtype: int, zone: Zone) -> Lookup:
    """``_name._proto[.dc]`` without the service label, for SRV questions only."""
    if len(inner) not in {2, 3} or not (inner[0].startswith("_") and inner[1].startswith("_")):
        return _nothing(zone, "no kind label" if inner else "the zone itself")
    if qtype != RdataType.SRV:
        return _nothing(zone, "_name._proto without service answers SRV only")
    return _rfc2782(inner[:2], inner[2] if len(inner) == 3 else "", zone)


def _addr(parts: tuple[str, ...], zone: Zone) -> Lookup:
    """``HEX.addr``: what follows is not checked. Halves are rounded down before the length is
    looked at, so 7 digits are a wrong length but 9 are wrong digits (measured reference)."""
    if len(parts) != 1:
        return _nothing(zone, "addr takes exactly one label")
    digits = parts[0]
    if len(digits) // 2 not in {4, 16}:
        return Lookup(kind=Kind.ADDR, zone=zone, name=digits)
    if len(digits) % 2 or not _HEX.match(digits):
        return _nothing(zone, "not hexadecimal digits")
    return Lookup(kind=Kind.ADDR, zone=zone, name=digits, address=bytes.fromhex(digits))


def _reverse(words: tuple[str, ...], zone: Zone) -> Lookup:
    """``4.3.2.1.in-addr.arpa`` and the 32 nibbles of ``ip6.arpa`` (RFC 1035 3.5, RFC 3596 2.5)."""
    inner = words[:-2][::-1]
    address = b""
    if words[-2:][::-1] == _REVERSE_V4 and len(inner) == 4:
        if all(
            word.isascii() and word.isdigit() and len(word) <= 3 and int(word) < 256
            for word in inner
        ):
            address = bytes(int(word) for word in inner)
    elif words[-2:][::-1] == _REVERSE_V6 and len(inner) == 32:
        text = "".join(inner)
        if len(text) == 32 and _HEX.match(text):
            address = bytes.fromhex(text)
    return Lookup(kind=Kind.REVERSE, zone=zone, address=address)
