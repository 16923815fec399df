"""Resource records in wire form, and names from text (RFC 1035, RFC 2782, RFC 1464).

Decides how a value becomes bytes; which records a reply holds is ``answers``' business. A function
that is given text which cannot be a DNS name answers None: such a thing cannot be spoken of.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from dataclasses import dataclass

import dns.exception
import dns.inet
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from agent.dns.wire import LABEL_BYTES_MAX, NAME_BYTES_MAX, Record

#: Service records carry this priority, always (DNS contract 3.1).
SRV_PRIORITY = 1
_V4_MAPPED = b"\0" * 10 + b"\xff\xff"
_TXT_PART_MAX = 255


@functools.lru_cache(maxsize=8192)
def name_wire(text: str) -> bytes | None:
    """Wire form of an absolute name, with or without the last dot; None if it cannot be one."""
    body = text[:-1] if text.endswith(".") else text
    if not body:
        return b"\0" if text == "." else None
    out = bytearray()
    for label in body.split("."):
        raw = label.encode("utf-8", "surrogateescape")
        if not 0 < len(raw) <= LABEL_BYTES_MAX:
            return None
        out.append(len(raw))
        out += raw
    out.append(0)
    return bytes(out) if len(out) <= NAME_BYTES_MAX else None


@functools.lru_cache(maxsize=8192)
def address_bytes(text: str) -> bytes | None:
    """4 or 16 bytes of an IP address, None for a host name. Mapped IPv6 counts as IPv4."""
    try:
        if ":" not in text:
            return dns.inet.inet_pton(dns.inet.AF_INET, text)
        packed = dns.inet.inet_pton(dns.inet.AF_INET6, text)
    except (dns.exception.DNSException, ValueError):
        return None
    return mapped_to_v4(packed)


def address_text(packed: bytes) -> str:
    """The canonical text of 4 or 16 bytes; mapped IPv6 as IPv4."""
    return str(ipaddress.ip_address(mapped_to_v4(packed)))


def is_virtual(packed: bytes) -> bool:
    """Whether an address is from the range that virtual ones are given from, 240.0.0.0/4."""
    return len(packed) == 4 and packed[0] >= 0xF0


def mapped_to_v4(packed: bytes) -> bytes:
    """The 4 bytes inside ``::ffff:0:0/96``; other addresses as they are."""
    return packed[12:] if len(packed) == 16 and packed.startswith(_V4_MAPPED) else packed


def _tail(rtype: int, ttl_s: int, data: bytes) -> bytes:
    return struct.pack("!HHIH", rtype, RdataClass.IN, ttl_s, len(data)) + data


def address(owner: bytes, ttl_s: int, packed: bytes) -> Record:
    """A for 4 bytes, AAAA for 16."""
    rtype = RdataType.A if len(packed) == 4 else RdataType.AAAA
    return Record(owner, _tail(rtype, ttl_s, packed))


def with_ttl(record: Record, ttl_s: int) -> Record:
    """The same record with another TTL, which stands behind type and class."""
    tail = record.tail[:4] + ttl_s.to_bytes(4, "big") + record.tail[8:]
    return Record(record.owner, tail, record.name_at)


def cname(owner: bytes, ttl_s: int, target: bytes) -> Record:
    return Record(owner, _tail(RdataType.CNAME, ttl_s, target), 10)


def ns(owner: bytes, ttl_s: int, target: bytes) -> Record:
    return Record(owner, _tail(RdataType.NS, ttl_s, target), 10)


def ptr(owner: bytes, target: bytes) -> Record:
    return Record(owner, _tail(RdataType.PTR, 0, target), 10)


def srv(owner: bytes, ttl_s: int, weight: int, port: int, target: bytes) -> Record:
    """RFC 2782; the target is not compressed, as that RFC demands."""
    data = struct.pack("!HHH", SRV_PRIORITY, weight, port & 0xFFFF) + target
    return Record(owner, _tail(RdataType.SRV, ttl_s, data), 16)


def txt(owner: bytes, ttl_s: int, text: str) -> Record:
    """One string; longer ones are cut into parts of 255 bytes."""
    raw = text.encode("utf-8", "surrogateescape")
    parts = [raw[i : i + _TXT_PART_MAX] for i in range(0, len(raw), _TXT_PART_MAX)] or [b""]
    data = b"".join(bytes((len(part),)) + part for part in parts)
    return Record(owner, _tail(RdataType.TXT, ttl_s, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class SoaTimes:
    """Seconds of the SOA record; ``min_ttl_s`` is also its TTL (DNS contract 3.1)."""

    refresh_s: int
    retry_s: int
    expire_s: int
    min_ttl_s: int


def soa(zone: bytes, serial: int, times: SoaTimes, *, home: bytes) -> Record:
    """The SOA of a zone; its names are in ``home``, which differs for reverse zones."""
    names = b"\2ns" + home + b"\x0ahostmaster" + home
    numbers = struct.pack(
        "!IIIII",
        serial & 0xFFFFFFFF,
        times.refresh_s,
        times.retry_s,
        times.expire_s,
        times.min_ttl_s,
    )
    return Record(zone, _tail(RdataType.SOA, times.min_ttl_s, names + numbers))


def meta_text(key: str, value: str) -> str:
    """The TXT string of a metadata pair, quoted as RFC 1464 says; ``rfc1035-`` keys send the value
    alone (DNS contract 3.4)."""
    if key.lower().startswith("rfc1035-"):
        return value
    quoted = key.replace("`", "``").replace("=", "`=")
    body = quoted.strip(" ")
    if body != quoted:
        left = len(quoted) - len(quoted.lstrip(" "))
        right = len(quoted) - left - len(body)
        quoted = "` " * left + body + "` " * right
    return f"{quoted}={value.replace('`', '``')}"
