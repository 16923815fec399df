"""The PROXY protocol, versions 1 and 2: who a connection really comes from. Pure.

Format: "The PROXY protocol", versions 1 & 2 (HAProxy, 2020), sections 2.1 and 2.2. Bounds are those
of the mesh contract (D.10): 107 bytes for version 1, 4096 for what follows the head of version 2.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1_MAX, V2_MAX = 107, 4096
_HEAD = struct.Struct("!12sBBH")
_INET, _INET6 = struct.Struct("!4s4sHH"), struct.Struct("!16s16sHH")
#: Our own kinds of TLV, from the range for applications: a client's SPIFFE id, a request's id.
TLV_SPIFFE, TLV_REQUEST = 0xE0, 0xE1
#: 65535 is what a length has room for.
TLV_MAX = 2048


class BadPreface(ValueError):
    """Bytes that begin no such header."""


@dataclass(frozen=True, slots=True)
class Preface:
    """A header. ``source`` and ``target`` are None where it says nothing of them (a health check
    of whoever sends it, or an unknown kind): the socket's own address counts then."""

    size: int
    source: tuple[str, int] | None = None
    target: tuple[str, int] | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()


def begins(data: bytes) -> bool | None:
    """Whether bytes begin a header; None while that cannot be said."""
    for mark in (b"PROXY ", SIGNATURE):
        size = min(len(mark), len(data))
        if data[:size] == mark[:size]:
            return True if size == len(mark) else None
    return False


def read(data: bytes) -> Preface | None:
    """A header at the beginning of these bytes; None while it is not whole. Raises BadPreface."""
    found = begins(data)
    if found is None:
        return None
    if not found:
        raise BadPreface("no PROXY header")
    return _read_v1(data) if data.startswith(b"PROXY ") else _read_v2(data)


def _read_v1(data: bytes) -> Preface | None:
    end = data.find(b"\r\n", 0, V1_MAX)
    if end < 0:
        if len(data) >= V1_MAX:
            raise BadPreface("version 1 header too long")
        return None
    words = data[:end].split(b" ")
    size = end + 2
    if words[1:2] == [b"UNKNOWN"]:
        return Preface(size)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadPreface("bad version 1 header")
    version = 4 if words[1] == b"TCP4" else 6
    source, target = (_address(each, version) for each in words[2:4])
    return Preface(size, (source, _port(words[4])), (target, _port(words[5])))


def _address(text: bytes, version: int) -> str:
    try:
        found = ipaddress.ip_address(text.decode("ascii"))
    except ValueError as error:
        raise BadPreface("bad address") from error
    if found.version != version or "%" in str(found):
        raise BadPreface("address of another family")
    return str(found)


def _port(text: bytes) -> int:
    if not text.isdigit() or len(text) > 5 or (text[:1] == b"0" and len(text) > 1):
        raise BadPreface("bad port")
    port = int(text)
    if port > 65535:
        raise BadPreface("bad port")
    return port


def _read_v2(data: bytes) -> Preface | None:
    if len(data) < _HEAD.size:
        return None
    _, version_command, family, length = _HEAD.unpack_from(data)
    if version_command >> 4 != 2 or version_command & 15 > 1:
        raise BadPreface("unknown version or command")
    if length > V2_MAX:
        raise BadPreface("version 2 header too long")
    size = _HEAD.size + length
    if len(data) < size:
        return None
    if not version_command & 15:  # LOCAL: about nobody's connection
        return Preface(size)
    body = data[_HEAD.size : size]
    form = {0x11: _INET, 0x21: _INET6}.get(family)
    if form is None:
        return Preface(size)
    if len(body) < form.size:
        raise BadPreface("addresses cut short")
    source, target, source_port, target_port = form.unpack_from(body)
    return Preface(
        size,
        (str(ipaddress.ip_address(source)), source_port),
        (str(ipaddress.ip_address(target)), target_port),
        tuple(_tlvs(body[form.size :])),
    )


def _tlvs(data: bytes) -> Iterable[tuple[int, bytes]]:
    while data:
        if len(data) < 3:
            raise BadPreface("a TLV is cut short")
        kind, length = data[0], int.from_bytes(data[1:3], "big")
        if len(data) < 3 + length:
            raise BadPreface("a TLV is cut short")
        yield kind, data[3 : 3 + length]
        data = data[3 + length :]


def v2(
    source: tuple[str, int] | None,
    target: tuple[str, int] | None,
    tlvs: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """A version 2 header. Without addresses of one family it is one of kind UNSPEC."""
    more = b"".join(
        bytes([kind]) + len(value).to_bytes(2, "big") + value
        for kind, value in tlvs
        if len(value) <= TLV_MAX
    )
    family, addresses = 0, b""
    if source is not None and target is not None:
        here, there = ipaddress.ip_address(source[0]), ipaddress.ip_address(target[0])
        if here.version == there.version:
            family = 0x11 if here.version == 4 else 0x21
            addresses = here.packed + there.packed + struct.pack("!HH", source[1], target[1])
    body = addresses + more
    return _HEAD.pack(SIGNATURE, 0x21, family, len(body)) + body


def told(source: str, target: str, spiffe_uri: bytes) -> bytes:
    """The header for the local application: whence a connection comes, and by its certificate from
    whom (TLV 0xE0). Addresses are "host:port"; what is no address of IP is left out."""
    tlvs = ((TLV_SPIFFE, spiffe_uri),) if spiffe_uri else ()
    return v2(_place(source), _place(target), tlvs)


def _place(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        return None
