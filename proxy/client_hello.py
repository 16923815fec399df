"""Which server a TLS client asks for, by its first bytes (RFC 8446 section 4.1.2, RFC 6066).

Pure. Only reads: who the client is, and whether it may, is decided by the handshake that follows.
"""

from __future__ import annotations

import struct

#: A hello may be cut into records; longer ones are nobody's that we know (most have 0.5 KiB).
HELLO_MAX_BYTES = 16_384
#: What has come is read again each time more comes: in many small records that would be long.
RECORDS_MAX = 32
#: The content type of a handshake's record: what the first byte of a TLS connection is.
HANDSHAKE = 0x16
_RECORD = struct.Struct("!BBBH")
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0


class NoHello(ValueError):
    """It is no TLS client that begins so."""


def server_name(data: bytes) -> str | None:
    """The name in lower case, "" where the client gives none; None until enough has come.

    Raises NoHello.
    """
    hello, at, records = bytearray(), 0, 0
    while len(data) - at >= _RECORD.size:
        records += 1
        if records > RECORDS_MAX:
            raise NoHello("the ClientHello is in too many pieces")
        kind, major, _, size = _RECORD.unpack_from(data, at)
        if kind != HANDSHAKE or major != 3 or not 0 < size <= HELLO_MAX_BYTES:
            raise NoHello("no TLS handshake")
        at += _RECORD.size
        hello += data[at : at + size]
        at += size
        if len(hello) >= 4:
            if hello[0] != _CLIENT_HELLO:
                raise NoHello("no ClientHello")
            whole = 4 + int.from_bytes(hello[1:4])
            if whole > HELLO_MAX_BYTES:
                raise NoHello("the ClientHello is too long")
            if len(hello) >= whole:
                return _name(_Reader(bytes(hello[4:whole])))
    if data and data[0] != HANDSHAKE:
        raise NoHello("no TLS handshake")
    return None


def _name(body: _Reader) -> str:
    body.take(2 + 32)  # version and random
    body.vector(1)  # session
    body.vector(2)  # cipher suites
    body.vector(1)  # compressions
    if not body.left:
        return ""
    extensions = body.vector(2)
    while extensions.left:
        kind = int.from_bytes(extensions.take(2))
        content = extensions.vector(2)
        if kind != _SERVER_NAME:
            continue
        names = content.vector(2)
        while names.left:
            form, name = names.take(1)[0], names.vector(2)
            if form == _HOST_NAME:
                return _text(name.rest())
    return ""


def _text(raw: bytes) -> str:
    try:
        return raw.decode("ascii").lower().rstrip(".")
    except UnicodeDecodeError:
        raise NoHello("the server's name is not ASCII") from None


class _Reader:
    """Takes pieces off a run of bytes. Raises NoHello where it is too short."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """How many bytes are there yet."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.left:
            raise NoHello("the ClientHello is cut short")
        found = self._data[self._at : self._at + count]
        self._at += count
        return found

    def vector(self, width: int) -> _Reader:
        """What follows after its length, which has so many bytes."""
        return _Reader(self.take(int.from_bytes(self.take(width))))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)
