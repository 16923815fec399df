"""What an agent and its DNS workers say to each other over a socket between them.

A frame is four bytes of length, a letter and what belongs to it. Both ends are the same program, so
a frame that cannot be read is our own bug or a broken stream: it ends the worker.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

#: The longest frame: 255 packets of a plain UDP reply's most.
FRAME_BYTES_MAX = 16 * 1024 * 1024
_LENGTH = struct.Struct("!I")
_ASK = struct.Struct("!IB")
_TOLD = struct.Struct("!IBB")


class BrokenFrame(Exception):
    """This is no frame."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A worker has no reply ready: a packet from a client (its address as text)."""

    number: int
    client: str
    packet: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """The replies to that question (each without its id), none if there is to be no reply. With
    ``keep`` the worker may give them out in turns until they are dropped."""

    number: int
    keep: bool
    replies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Replies to this question (a packet without its id) are none any more; b"" means to all."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Served:
    """A worker gave out so many ready replies since it last said so."""

    count: int


Frame = Asked | Told | Drop | Served


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    match frame:
        case Asked(number, client, packet):
            host = client.encode()
            body = b"A" + _ASK.pack(number, len(host)) + host + packet
        case Told(number, keep, replies):
            parts = [len(reply).to_bytes(2, "big") + reply for reply in replies]
            body = b"T" + _TOLD.pack(number, keep, len(replies)) + b"".join(parts)
        case Drop(key):
            body = b"D" + key
        case Served(count):
            body = b"S" + _LENGTH.pack(count)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream into frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. Raises BrokenFrame."""
        buffer, at = self._buffer, 0
        buffer += data
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if not 1 <= length <= FRAME_BYTES_MAX:
                raise BrokenFrame
            if len(buffer) - at - _LENGTH.size < length:
                break
            at += _LENGTH.size
            yield _decode(bytes(buffer[at : at + length]))
            at += length
        del buffer[:at]


def _decode(body: bytes) -> Frame:
    kind, rest = body[:1], body[1:]
    try:
        if kind == b"A":
            number, length = _ASK.unpack_from(rest)
            host = rest[_ASK.size : _ASK.size + length].decode()
            return Asked(number, host, rest[_ASK.size + length :])
        if kind == b"T":
            return _told(rest)
        if kind == b"D":
            return Drop(rest)
        if kind == b"S":
            return Served(*_LENGTH.unpack(rest))
    except (struct.error, UnicodeDecodeError) as error:
        raise BrokenFrame from error
    raise BrokenFrame


def _told(rest: bytes) -> Told:
    number, keep, count = _TOLD.unpack_from(rest)
    at, replies = _TOLD.size, []
    for _ in range(count):
        length = int.from_bytes(rest[at : at + 2], "big")
        replies.append(rest[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(rest):
        raise BrokenFrame
    return Told(number, bool(keep), tuple(replies))
