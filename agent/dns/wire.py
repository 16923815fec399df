"""DNS packets: a question read from bytes, a reply written to bytes (RFC 1035, RFC 6891).

Decides what counts as a malformed question and how it is answered (DNS contract, section 6), how
names are compressed, and what an OPT record looks like. Leaves the meaning of names to ``names``
and the choice of records to ``answers`` and ``sizes``. The writer is our own because replies are
put together from pieces that are encoded once; tests read all its output back with dnspython.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import dns.exception
import dns.name
from dns.opcode import Opcode
from dns.rcode import Rcode
from dns.rdatatype import RdataType

#: RFC 1035 4.1.1: id, flags, four counts.
HEADER_BYTES = 12
NAME_BYTES_MAX = 255
LABEL_BYTES_MAX = 63
#: RFC 7871: EDNS Client Subnet.
ECS_OPTION = 8

_QR, _AA, _TC, _RD, _RA, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
_HEADER = struct.Struct("!HHHHHH")
_RR_FIXED = struct.Struct("!HHIH")
#: The largest offset a compression pointer can hold is 14 bits (RFC 1035 4.1.4).
_POINTER_MAX = 0x4000


class Silence(enum.Enum):
    """A packet that gets no reply: too short to have an id, or itself a reply."""

    NO_REPLY = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A packet that is answered without being understood; ``body`` is the reply after the id."""

    rcode: Rcode
    body: bytes


@dataclass(frozen=True, slots=True)
class Edns:
    """The OPT record of a question. ``subnet`` is the data of its client subnet option."""

    payload_bytes: int
    subnet: bytes = b""

    @property
    def subnet_address(self) -> str:
        """The address of the client's subnet as text, "" for none (RFC 7871 section 6)."""
        family, rest = self.subnet[:2], self.subnet[4:]
        size = {b"\0\1": 4, b"\0\2": 16}.get(family, 0)
        if not size or len(rest) > size:
            return ""
        return str(ipaddress.ip_address(rest.ljust(size, b"\0")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question as it came. ``name`` is the wire form with the client's capitals; ``labels`` the
    same in lower case without the root, leftmost first. ``wire`` is the section to echo."""

    flags: int
    wire: bytes
    name: bytes
    labels: tuple[bytes, ...]
    qtype: int
    edns: Edns | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record. ``tail`` runs from the type to the end of the data; ``name_at`` is where
    a name stands in it that later records may point at (0: none). Names in the data are never
    compressed themselves, so that a record's bytes do not depend on its place."""

    owner: bytes
    tail: bytes
    name_at: int = 0

    @property
    def rtype(self) -> int:
        return self.tail[0] << 8 | self.tail[1]

    @property
    def full_bytes(self) -> int:
        """Length without compression."""
        return len(self.owner) + len(self.tail)


def read_question(data: bytes) -> Question | Refusal | Silence:
    """Read a packet. Never raises; anything odd ends in ``Refusal`` or ``Silence``."""
    if len(data) < HEADER_BYTES:
        return Silence.NO_REPLY
    _, flags, qdcount, ancount, nscount, arcount = _HEADER.unpack_from(data)
    if flags & _QR:
        return Silence.NO_REPLY
    opcode = flags >> 11 & 0xF
    if opcode not in {Opcode.QUERY, Opcode.NOTIFY}:
        return _refuse(flags, Rcode.NOTIMP)
    if qdcount != 1 or ancount > 1 or nscount > 1 or arcount > 2:
        return _refuse(flags, Rcode.FORMERR)
    if len(data) == HEADER_BYTES:
        return _refuse(flags, Rcode.REFUSED)
    labels, at = _plain_name(data, HEADER_BYTES)
    if labels is None:
        return _refuse(flags, Rcode.FORMERR)
    name = data[HEADER_BYTES:at]
    if at == len(data):  # a name without type and class: type 0 (measured)
        wire, qtype = name + b"\0\0\0\0", 0
    elif at + 4 > len(data):
        return _refuse(flags, Rcode.FORMERR)
    else:
        wire, qtype = data[HEADER_BYTES : at + 4], data[at] << 8 | data[at + 1]
    edns: Edns | None = None
    try:
        edns = _find_edns(data, at + 4, ancount + nscount, arcount)
    except (dns.exception.FormError, dns.name.BadPointer, struct.error):
        return _refuse(flags, Rcode.FORMERR, wire)
    lower = tuple(label.lower() for label in labels)
    return Question(flags=flags, wire=wire, name=name, labels=lower, qtype=qtype, edns=edns)


def _plain_name(data: bytes, at: int) -> tuple[tuple[bytes, ...] | None, int]:
    """Labels of an uncompressed name and where it ends. Nothing stands before a question that its
    name could point at, so a pointer there is an error."""
    labels: list[bytes] = []
    start = at
    while at < len(data):
        length = data[at]
        at += 1
        if length == 0:
            return tuple(labels), at
        if length > LABEL_BYTES_MAX or at + length - start >= NAME_BYTES_MAX:
            break
        if at + length > len(data):
            break
        labels.append(data[at : at + length])
        at += length
    return None, at


def _find_edns(data: bytes, at: int, skipped: int, additional: int) -> Edns | None:
    """The first OPT among the additional records. Missing records are ignored, cut ones raise."""
    for number in range(skipped + additional):
        if at >= len(data):
            return None
        _, used = dns.name.from_wire(data, at)
        rtype, rclass, _, length = _RR_FIXED.unpack_from(data, at + used)
        start = at + used + _RR_FIXED.size
        at = start + length
        if at > len(data):
            raise dns.exception.FormError
        if number >= skipped and rtype == RdataType.OPT:
            return Edns(rclass, _find_subnet(data[start:at]))
    return None


def _find_subnet(options: bytes) -> bytes:
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from("!HH", options, at)
        value = options[at + 4 : at + 4 + length]
        if code == ECS_OPTION and len(value) == length >= 4:
            return value
        at += 4 + length
    return b""


def _refuse(flags: int, rcode: Rcode, question: bytes = b"") -> Refusal:
    bits = _QR | flags & 0x7800 | flags & _RD | rcode
    counts = b"\0\1" if question else b"\0\0"
    return Refusal(rcode, bits.to_bytes(2, "big") + counts + b"\0\0\0\0\0\0" + question)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole reply, before it is bytes. ``opt`` says whether an OPT record is owed, ``scoped``
    whether the answer was made for the client's subnet (RFC 7871 section 7.2.1)."""

    question: Question
    rcode: Rcode
    authoritative: bool = True
    recursion_available: bool = False
    truncated: bool = False
    answers: Sequence[Record] = ()
    authority: Sequence[Record] = ()
    additional: Sequence[Record] = ()
    opt: bool = True
    scoped: bool = False


def reply_flags(reply: Reply) -> int:
    """RD and CD are echoed, RD not for NOTIFY; AD, Z and the rest are ours (contract 6)."""
    asked = reply.question.flags
    bits = _QR | asked & 0x7800 | asked & _CD | reply.rcode
    if asked >> 11 & 0xF == Opcode.QUERY:
        bits |= asked & _RD
    if reply.authoritative:
        bits |= _AA
    if reply.truncated:
        bits |= _TC
    if reply.recursion_available:
        bits |= _RA
    return bits


def opt_record(edns: Edns, *, scoped: bool) -> bytes:
    """The OPT record of a reply: version 0, the client's size, its subnet. The scope is 0 unless
    the answer is for that subnet alone."""
    options = b""
    if edns.subnet:
        scope = edns.subnet[2:3] if scoped else b"\0"
        data = edns.subnet[:3] + scope + edns.subnet[4:]
        options = struct.pack("!HH", ECS_OPTION, len(data)) + data
    fixed = _RR_FIXED.pack(RdataType.OPT, edns.payload_bytes, 0, len(options))
    return b"\0" + fixed + options


def write_reply(reply: Reply, *, compress: bool) -> bytes:
    """The packet with id 0: whoever sends it puts the question's id in front of ``[2:]``."""
    question = reply.question
    opt = b""
    if reply.opt and question.edns is not None:
        opt = opt_record(question.edns, scoped=reply.scoped)
    sections = (reply.answers, reply.authority, reply.additional)
    counts = [len(section) for section in sections]
    counts[2] += bool(opt)
    out = bytearray(_HEADER.pack(0, reply_flags(reply), 1, *counts))
    out += question.wire
    table: dict[bytes, bytes] = {}
    if compress:
        _offer(question.name, HEADER_BYTES, table)
    for section in sections:
        for record in section:
            if not compress:
                out += record.owner
            else:
                pointer = table.get(record.owner)
                if pointer is None:
                    _put_name(out, record.owner, table)
                else:
                    out += pointer
                if record.name_at:
                    _offer(record.tail[record.name_at :], len(out) + record.name_at, table)
            out += record.tail
    return bytes(out + opt)


def _put_name(out: bytearray, name: bytes, table: dict[bytes, bytes]) -> None:
    start, at = len(out), 0
    while name[at]:
        suffix = name[at:]
        pointer = table.get(suffix)
        if pointer is not None:
            out += name[:at]
            out += pointer
            return
        if start + at < _POINTER_MAX:
            table[suffix] = (0xC000 | start + at).to_bytes(2, "big")
        at += name[at] + 1
    out += name


def _offer(name: bytes, start: int, table: dict[bytes, bytes]) -> None:
    """Let later owners point at a name that stands uncompressed at ``start``."""
    at = 0
    while name[at] and start + at < _POINTER_MAX:
        suffix = name[at:]
        if suffix in table:
            return  # its shorter suffixes are there as well
        table[suffix] = (0xC000 | start + at).to_bytes(2, "big")
        at += name[at] + 1


def full_bytes(reply: Reply) -> int:
    """Length of the packet without compression (the contract counts so after a cut)."""
    total = HEADER_BYTES + len(reply.question.wire)
    for section in (reply.answers, reply.authority, reply.additional):
        total += sum(record.full_bytes for record in section)
    if reply.opt and reply.question.edns is not None:
        total += len(opt_record(reply.question.edns, scoped=reply.scoped))
    return total
