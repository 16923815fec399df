"""A reply of another server read from bytes: what is in it, and whether it can be read at all.

Decides what counts as unreadable. Nothing is believed: names are followed with a budget of steps,
so that no packet holds up the loop, and a pointer that leads nowhere makes the reply unreadable.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dns.rdatatype import RdataType

from agent.dns.wire import HEADER_BYTES, LABEL_BYTES_MAX, NAME_BYTES_MAX, Record

#: Labels that are looked at in one packet; about five milliseconds.
STEPS_MAX = 20_000
_HEADER = struct.Struct("!HHHHHH")
_RR_FIXED = struct.Struct("!HHIH")
_POINTER = 0xC0
#: Types whose data may hold compressed names (RFC 3597 section 4); of these only CNAME is needed.
_ADDRESS_BYTES: dict[int, int] = {RdataType.A: 4, RdataType.AAAA: 16}
_COMPRESSIBLE = frozenset({2, 3, 4, 6, 7, 8, 9, 12, 14, 15, 17, 18, 21, 24, 26, 30, 33, 35, 36})


class Unreadable(Exception):
    """The packet is no whole DNS message."""


@dataclass(frozen=True, slots=True)
class UpstreamReply:
    """A readable reply. ``name`` (in lower case), ``qtype`` and ``qclass`` are those of its
    question, b"" and 0 where it has none. ``answers`` leave out records of types whose data
    cannot be taken over byte for byte."""

    flags: int
    name: bytes
    qtype: int
    qclass: int
    answers: tuple[Record, ...]

    @property
    def rcode(self) -> int:
        return self.flags & 0xF


class _Names:
    """Names of one packet, and what is left to be spent on them."""

    __slots__ = ("_data", "_steps")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._steps = STEPS_MAX

    def at(self, start: int) -> tuple[bytes, int]:
        """The name without pointers, and where it ends in the packet."""
        data, at, end = self._data, start, -1
        name = bytearray()
        while True:
            self._steps -= 1
            if self._steps < 0 or at >= len(data) or len(name) >= NAME_BYTES_MAX:
                raise Unreadable
            length = data[at]
            if length >= _POINTER:
                if at + 2 > len(data):
                    raise Unreadable
                target = (length & 0x3F) << 8 | data[at + 1]
                if end < 0:
                    end = at + 2
                if target >= at or target < HEADER_BYTES:
                    raise Unreadable
                at = target
                continue
            if length > LABEL_BYTES_MAX or at + 1 + length > len(data):
                raise Unreadable
            name += data[at : at + 1 + length]
            at += 1 + length
            if not length:
                return bytes(name), end if end >= 0 else at


def read_reply(data: bytes) -> UpstreamReply:
    """Read a whole packet. Raises Unreadable."""
    if len(data) < HEADER_BYTES:
        raise Unreadable
    _, flags, *counts = _HEADER.unpack_from(data)
    names = _Names(data)
    at, name, qtype, qclass = HEADER_BYTES, b"", 0, 0
    if counts[0] > 1:
        raise Unreadable
    if counts[0]:
        name, at = names.at(at)
        if at + 4 > len(data):
            raise Unreadable
        qtype, qclass = struct.unpack_from("!HH", data, at)
        at += 4
    answers: list[Record] = []
    for number in range(sum(counts[1:])):
        owner, at = names.at(at)
        if at + _RR_FIXED.size > len(data):
            raise Unreadable
        rtype, _, _, length = _RR_FIXED.unpack_from(data, at)
        end = at + _RR_FIXED.size + length
        if end > len(data):
            raise Unreadable
        if number < counts[1]:
            record = _taken_over(data, names, owner, rtype, at, end)
            if record is not None:
                answers.append(record)
        at = end
    return UpstreamReply(flags, name.lower(), qtype, qclass, tuple(answers))


def _taken_over(
    data: bytes, names: _Names, owner: bytes, rtype: int, at: int, end: int
) -> Record | None:
    """The record as our writer wants it, with no pointer in its data; None if it cannot be."""
    if rtype == RdataType.CNAME:
        target, used = names.at(at + _RR_FIXED.size)
        if used != end:
            raise Unreadable
        tail = data[at : at + 8] + len(target).to_bytes(2, "big") + target
        return Record(owner, tail, _RR_FIXED.size)
    length = end - at - _RR_FIXED.size
    if _ADDRESS_BYTES.get(rtype, length) != length:
        raise Unreadable
    return None if rtype in _COMPRESSIBLE else Record(owner, data[at:end])
