"""The frames between agents: shapes, numbers and bounds. No sockets here.

A frame is a big-endian u32 length and a msgpack array whose first item is the frame's number. The
numbers are part of the protocol: ONLY APPEND. One connection carries many requests at once; replies
come in any order. The first byte on a connection to the server port tells what it is
(``RPC_FIRST_BYTE`` here, the Raft transport has its own), as Consul's server port does it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from raftstore.codec import bytes_header
from raftstore.thawed import maker_of

RPC_FIRST_BYTE = b"L"
RAFT_FIRST_BYTE = b"R"
PROTOCOL_VERSION = 1

_LENGTH = struct.Struct(">I")
_TEXT_MAX = 4096
_METHOD_MAX = 64
#: In a smaller frame nothing can grow to anything.
_SMALL_BYTES = 16 * 1024
#: The most that the greeting of a stranger may take.
HELLO_MAX = 4096


class FrameError(Exception):
    """The peer sent something that is no frame; the connection must be closed."""


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of each side: protocol version, datacenter and name of the sender."""

    version: int
    datacenter: str
    node: str


@dataclass(frozen=True, slots=True)
class Request:
    """Ask the other side to do ``method`` within ``timeout_s`` seconds."""

    id: int
    method: str
    timeout_s: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """The method's result."""

    id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """The method failed. ``definite``: it was certainly not carried out. ``code`` is a short word
    that the caller maps back to an exception, ``text`` is for people and clients."""

    id: int
    code: str
    definite: bool
    text: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for the reply any more."""

    id: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered with ``Pong``."""

    nonce: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Yes."""

    nonce: int


Frame = Hello | Request | Reply | Failure | Cancel | Ping | Pong

_NUMBERS: dict[type[Any], int] = {
    Hello: 0,
    Request: 1,
    Reply: 2,
    Failure: 3,
    Cancel: 4,
    Ping: 5,
    Pong: 6,
}


def _u64(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise FrameError("expected an unsigned number")
    return value


def _text(value: Any, most: int = _TEXT_MAX) -> str:
    if type(value) is not str or len(value) > most:
        raise FrameError("expected a short text")
    return value


def _raw(value: Any) -> bytes:
    if type(value) is not bytes:
        raise FrameError("expected bytes")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 86_400:
        raise FrameError("expected a number of seconds")
    return float(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise FrameError("expected a truth value")
    return value


# Made for every forwarded change, on both sides: without ``__init__``, which sets the
# fields of a frozen value one by one.
_make_request = maker_of(Request)
_make_reply = maker_of(Reply)

_DECODERS: dict[int, tuple[int, Callable[[list[Any]], Frame]]] = {
    0: (3, lambda a: Hello(_u64(a[1]), _text(a[2], 256), _text(a[3], 512))),
    1: (
        4,
        lambda a: _make_request(_u64(a[1]), _text(a[2], _METHOD_MAX), _seconds(a[3]), _raw(a[4])),
    ),
    2: (2, lambda a: _make_reply(_u64(a[1]), _raw(a[2]))),
    3: (4, lambda a: Failure(_u64(a[1]), _text(a[2], _METHOD_MAX), _flag(a[3]), _text(a[4]))),
    4: (1, lambda a: Cancel(_u64(a[1]))),
    5: (1, lambda a: Ping(_u64(a[1]))),
    6: (1, lambda a: Pong(_u64(a[1]))),
}


def encode(frame: Frame) -> bytes:
    """The frame's bytes with its length in front."""
    body: bytes
    if type(frame) is Request:
        body = msgpack.packb([1, frame.id, frame.method, frame.timeout_s, frame.payload])
    elif type(frame) is Reply:
        body = msgpack.packb([2, frame.id, frame.payload])
    else:
        fields = [getattr(frame, name) for name in frame.__dataclass_fields__]
        if isinstance(frame, Failure):
            fields[3] = frame.text[:_TEXT_MAX]
        body = msgpack.packb([_NUMBERS[type(frame)], *fields])
    return _LENGTH.pack(len(body)) + body


def encode_parts(frame: Frame) -> tuple[bytes, ...]:
    """``encode`` in parts: a large payload is not copied."""
    if not isinstance(frame, Reply) or len(frame.payload) <= _SMALL_BYTES:
        return (encode(frame),)
    payload = frame.payload
    head: bytes = msgpack.packb([_NUMBERS[Reply], frame.id], use_bin_type=True)
    head = b"\x93" + head[1:] + bytes_header(len(payload))
    return (_LENGTH.pack(len(head) + len(payload)) + head, payload)


def _flat() -> Callable[[list[Any]], list[Any]]:
    """Called for every array of a large frame, inner ones first; stops at the second. A frame is
    flat, and a byte can stand for an empty list of 56."""
    seen = False

    def check(items: list[Any]) -> list[Any]:
        nonlocal seen
        if seen:
            raise ValueError("an array in an array")
        seen = True
        return items

    return check


def decode(body: bytes | memoryview) -> Frame:
    """One frame from its bytes without the length. Raises FrameError."""
    try:
        items = msgpack.unpackb(
            body,
            raw=False,
            use_list=True,
            max_map_len=0,
            max_array_len=8,
            max_ext_len=0,
            list_hook=_flat() if len(body) > _SMALL_BYTES else None,
        )
    except Exception as error:  # msgpack raises many kinds; all mean the same to us
        raise FrameError(f"no msgpack: {type(error).__name__}") from error
    if type(items) is not list or not items or type(items[0]) is not int:
        raise FrameError("a frame is an array that begins with a number")
    known = _DECODERS.get(items[0])
    if known is None:
        raise FrameError(f"unknown frame {items[0]}")
    wanted, build = known
    # A newer peer may append fields; what we know of the frame is still there.
    if len(items) < wanted + 1:
        raise FrameError("the frame is too short")
    return build(items)


class FrameReader:
    """Cuts a stream into frames. ``frame_max`` bounds what one frame may make us hold, the first
    one excepted: that is a greeting, and has its own."""

    __slots__ = ("_buffer", "_frame_max", "_next_max")

    def __init__(self, frame_max: int) -> None:
        self._buffer = bytearray()
        self._frame_max = frame_max
        self._next_max = min(frame_max, HELLO_MAX)

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes, most: int = 1 << 62) -> list[Frame]:
        """The frames completed by ``data``, in order. Raises FrameError.

        With ``most`` the rest waits for the next call; a full list says that there may be one.
        """
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= 4 and len(frames) < most:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._next_max:
                raise FrameError(f"a frame of {length} bytes is over the limit {self._next_max}")
            end = start + 4 + length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view, view[start + 4 : end] as body:
                frames.append(decode(body))
            start = end
            self._next_max = self._frame_max
        if start:
            del buffer[:start]
        return frames
