"""A certificate's fields that decide in the mesh, read strictly (RFC 5280, section 4; X.690, DER).

Pure. OpenSSL has verified the chain, and the signature covers every byte, before this is asked. It
takes nothing that `cryptography` would refuse in these fields, which tests/proxy/test_x509_der.py
shows; why that library is not used: docs/adr/0097-a-small-sidecar.md. One encoding only is taken:
definite and shortest lengths, no default that is written out, nothing left over.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

#: A leaf has 1 to 2 KB. This many can be gone through within the loop's 10 ms.
CERTIFICATE_MAX_BYTES = 16_384
_DEPTH_MAX = 32
_OID_MAX_BYTES = 63

_BOOLEAN, _INTEGER, _BITS, _OCTETS, _OID = 0x01, 0x02, 0x03, 0x04, 0x06
_UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _SET = 0x17, 0x18, 0x30, 0x31
_VERSION, _ISSUER_ID, _SUBJECT_ID, _EXTENSIONS = 0xA0, 0x81, 0x82, 0xA3
_CONSTRUCTED = 0x20
_UTF8, _PRINTABLE, _IA5 = 0x0C, 0x13, 0x16
_CHARACTER_BYTES = {0x1C: 4, 0x1E: 2}  # UniversalString, BMPString
_ALL_TEXTS = (_UTF8, _PRINTABLE, 0x14, _IA5, *_CHARACTER_BYTES)
#: GeneralName (section 4.2.1.6).
_URI, _ADDRESS, _REGISTERED = 0x86, 0x87, 0x88
_TEXTS = (0x81, 0x82, _URI)  # of mail, of DNS, URI
_OTHER, _DIRECTORY, _EXPLICIT = 0xA0, 0xA4, 0xA0

#: Content of the object identifiers that are looked for.
SERVER_AUTH = bytes.fromhex("2b06010505070301")
CLIENT_AUTH = bytes.fromhex("2b06010505070302")
_OF_CERTIFICATES = b"\x55\x1d"  # 2.5.29, whose extensions are DER inside
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"
_EXTENDED_USAGE = b"\x55\x1d\x25"

_PEM_BEGINS, _PEM_ENDS = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_UTC = re.compile(rb"[0-9]{12}Z")
_PRINTED = re.compile(rb"[A-Za-z0-9 '()+,./:=?-]*")
_GENERALIZED = re.compile(rb"[0-9]{14}Z")


class NotReadable(ValueError):
    """The bytes are no certificate of the one form that is taken."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What was read. Times are Unix times. ``usages`` (object identifiers' content) and ``uris``
    are None where the certificate has no such extension."""

    serial_number: int
    not_before_at: float
    not_after_at: float
    usages: frozenset[bytes] | None
    uris: tuple[str, ...] | None


def of_pem(text: str) -> bytes:
    """The first certificate of a text. Raises NotReadable."""
    _, begun, rest = text.partition(_PEM_BEGINS)
    inside, ended, _ = rest.partition(_PEM_ENDS)
    if not begun or not ended:
        raise NotReadable("no certificate in PEM")
    try:
        return binascii.a2b_base64("".join(inside.split()), strict_mode=True)
    except ValueError as error:
        raise NotReadable(f"bad PEM: {error}") from error


def read(der: bytes) -> Fields:
    """Raises NotReadable."""
    if len(der) > CERTIFICATE_MAX_BYTES:
        raise NotReadable(f"longer than {CERTIFICATE_MAX_BYTES} bytes")
    whole = _Reader(der)
    certificate = whole.inside(_SEQUENCE)
    whole.end()
    signed = certificate.inside(_SEQUENCE)
    _algorithm(certificate.inside(_SEQUENCE))
    _bytes(certificate.take(_BITS))
    certificate.end()

    version = signed.inside(_VERSION)
    if _integer(version.take(_INTEGER)) != 2:
        raise NotReadable("not of version 3")
    version.end()
    serial = _integer(signed.take(_INTEGER))
    _algorithm(signed.inside(_SEQUENCE))
    _name(signed.inside(_SEQUENCE))  # issuer
    validity = signed.inside(_SEQUENCE)
    not_before, not_after = _time(*validity.any()), _time(*validity.any())
    validity.end()
    _name(signed.inside(_SEQUENCE))  # subject
    key = signed.inside(_SEQUENCE)
    _algorithm(key.inside(_SEQUENCE))
    _bytes(key.take(_BITS))
    key.end()
    for tag in (_ISSUER_ID, _SUBJECT_ID):
        if signed.next == tag:
            _bytes(signed.take(tag))
    extensions = _extensions(signed.inside(_EXTENSIONS)) if signed.next == _EXTENSIONS else {}
    signed.end()
    usages, names = extensions.get(_EXTENDED_USAGE), extensions.get(_ALTERNATIVE_NAMES)
    return Fields(
        serial_number=serial,
        not_before_at=not_before,
        not_after_at=not_after,
        usages=None if usages is None else _usages(usages),
        uris=None if names is None else _uris(names),
    )


class _Reader:
    """Elements one after the other."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._end = data, 0, len(data)

    @property
    def next(self) -> int:
        """The tag that comes; -1 at the end."""
        return self._data[self._at] if self._at < self._end else -1

    def any(self) -> tuple[int, bytes]:
        """The next element's tag and content."""
        data, at, end = self._data, self._at, self._end
        if end - at < 2:
            raise NotReadable("cut short")
        tag, length = data[at], data[at + 1]
        if tag & 0x1F == 0x1F or not tag:
            raise NotReadable("a tag of several bytes, or none")
        at += 2
        if length >= 0x80:
            size = length & 0x7F
            if not 1 <= size <= 3 or end - at < size:
                raise NotReadable("a length that is none")
            length = int.from_bytes(data[at : at + size], "big")
            if length < 0x80 or length >> (8 * (size - 1)) == 0:
                raise NotReadable("a length that is longer than it needs")
            at += size
        if end - at < length:
            raise NotReadable("cut short")
        self._at = at + length
        return tag, data[at : self._at]

    def take(self, tag: int) -> bytes:
        """The content of the next element, which must have this tag."""
        found, content = self.any()
        if found != tag:
            raise NotReadable(f"tag {found:#x} where {tag:#x} belongs")
        return content

    def inside(self, tag: int) -> _Reader:
        """The elements of the next element."""
        return _Reader(self.take(tag))

    def rest(self) -> Iterator[tuple[int, bytes]]:
        """All that is left."""
        while self._at < self._end:
            yield self.any()

    def end(self) -> None:
        """There must be no more."""
        if self._at != self._end:
            raise NotReadable("something is left over")


def _well_formed(content: bytes) -> None:
    """Content is elements, and so is that of those which have parts."""
    waiting = [(content, 0)]
    while waiting:
        data, depth = waiting.pop()
        if depth > _DEPTH_MAX:
            raise NotReadable("nested too deep")
        for tag, inner in _Reader(data).rest():
            if tag & _CONSTRUCTED:
                waiting.append((inner, depth + 1))
            elif tag == _OID:
                _oid(inner)


def _algorithm(inner: _Reader) -> None:
    """An identifier, and one element at most that belongs to it."""
    _oid(inner.take(_OID))
    if inner.next >= 0:
        tag, content = inner.any()
        _checked(tag, content)
    inner.end()


def _bytes(content: bytes) -> None:
    """A string of bits that is one of bytes."""
    if content[:1] != b"\0":
        raise NotReadable("no whole number of bytes")


def _name(inner: _Reader, *, texts_only: bool = False) -> None:
    """A distinguished name (section 4.1.2.4)."""
    while inner.next >= 0:
        attributes = inner.inside(_SET)
        if attributes.next < 0:
            raise NotReadable("a name with an empty part")
        while attributes.next >= 0:
            one = attributes.inside(_SEQUENCE)
            _oid(one.take(_OID))
            tag, content = one.any()
            if texts_only and tag not in _ALL_TEXTS:
                raise NotReadable("a name with a part that is no text")
            _text(tag, content)
            one.end()


def _text(tag: int, content: bytes) -> None:
    """An attribute of a name: text of some kind, or anything else that has the form of DER."""
    _checked(tag, content)
    if tag == _UTF8:
        try:
            content.decode("utf-8")
        except UnicodeError as error:
            raise NotReadable("a text that is not UTF-8") from error
    elif (
        (tag == _PRINTABLE and not _PRINTED.fullmatch(content))
        or (tag == _IA5 and not content.isascii())
        or len(content) % _CHARACTER_BYTES.get(tag, 1)
    ):
        raise NotReadable("a text that is none")


def _checked(tag: int, content: bytes) -> None:
    if tag & _CONSTRUCTED:
        _well_formed(content)
    elif tag == _OID:
        _oid(content)


def _integer(content: bytes) -> int:
    if not content or (len(content) > 1 and content[0] in (0, 0xFF) and not (
        (content[0] ^ content[1]) & 0x80
    )):  # fmt: skip
        raise NotReadable("a number that is longer than it needs")
    return int.from_bytes(content, "big", signed=True)


def _oid(content: bytes) -> bytes:
    if not content or len(content) > _OID_MAX_BYTES or content[-1] & 0x80:
        raise NotReadable("bad object identifier")
    begins = True
    for byte in content:
        if begins and byte == 0x80:
            raise NotReadable("bad object identifier")
        begins = byte < 0x80
    return content


def _time(tag: int, content: bytes) -> float:
    if tag == _UTC_TIME and _UTC.fullmatch(content):
        # Two digits are of 1950 to 2049 (section 4.1.2.5.1).
        text = ("19" if content[:2] >= b"50" else "20") + content.decode()
    elif tag == _GENERALIZED_TIME and _GENERALIZED.fullmatch(content):
        text = content.decode()
    else:
        raise NotReadable("bad time")
    numbers = (int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2)))
    try:
        return datetime(*numbers, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    except ValueError as error:
        raise NotReadable(f"bad time: {error}") from error


def _extensions(outer: _Reader) -> dict[bytes, bytes]:
    """By object identifier; none twice, or nobody could say which counts."""
    found: dict[bytes, bytes] = {}
    inner = outer.inside(_SEQUENCE)
    outer.end()
    for tag, content in inner.rest():
        if tag != _SEQUENCE:
            raise NotReadable("an extension that is none")
        one = _Reader(content)
        name = _oid(one.take(_OID))
        if one.next == _BOOLEAN and one.take(_BOOLEAN) != b"\xff":
            raise NotReadable("a default that is written out")
        value = one.take(_OCTETS)
        one.end()
        if name in found:
            raise NotReadable("an extension twice")
        if name.startswith(_OF_CERTIFICATES):
            _well_formed(value)
        found[name] = value
    return found


def _usages(value: bytes) -> frozenset[bytes]:
    outer = _Reader(value)
    inner = outer.inside(_SEQUENCE)
    outer.end()
    found = []
    while inner.next >= 0:
        found.append(_oid(inner.take(_OID)))
    return frozenset(found)


def _uris(value: bytes) -> tuple[str, ...]:
    outer = _Reader(value)
    inner = outer.inside(_SEQUENCE)
    outer.end()
    found: list[str] = []
    for tag, content in inner.rest():
        if tag in _TEXTS:
            if not content.isascii():
                raise NotReadable("a name that is not ASCII")
            if tag == _URI:
                found.append(content.decode("ascii"))
        elif tag == _ADDRESS:
            if len(content) not in (4, 16):
                raise NotReadable("an address that is none")
        elif tag == _REGISTERED:
            _oid(content)
        elif tag == _DIRECTORY:
            directory = _Reader(content)
            _name(directory.inside(_SEQUENCE), texts_only=True)
            directory.end()
        elif tag == _OTHER:
            other = _Reader(content)
            _oid(other.take(_OID))
            _well_formed(other.take(_EXPLICIT))
            other.end()
        else:
            raise NotReadable("a name of a kind that is not known")
    return tuple(found)
