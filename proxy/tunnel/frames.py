"""Frames of HTTP/2 as a tunnel uses them (RFC 9113, sections 4 and 6), and CONNECT's headers.

Pure. Header tables are not used (their size is set to 0), so a block of headers always means the
same and both directions remember what they have seen. HPACK itself is the kept library's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from hpack import Decoder, Encoder, HPACKError

#: What both sides name in the handshake.
ALPN: Final = "lictor-tunnel/1"
#: The same, for the connection of one stream that moves much.
OWN_ALPN: Final = "lictor-stream/1"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: A frame's head: length and type in one word, flags, stream.
HEAD: Final = struct.Struct(">IBI")
HEAD_BYTES: Final = 9

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
#: Ours; others let kinds pass that they do not know (section 5.5). OFFER: the stream may go on over
#: a connection of its own, which begins with this token. MOVED: what follows comes there.
OFFER, MOVED = 0xB0, 0xB1
TOKEN_BYTES: Final = 16

END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6
#: Ours: whether offers to move a stream are understood (unknown settings are let pass, 6.5.2).
TAKES_OFFERS: Final = 0xB0B0

#: Values that hold before a peer has said otherwise (section 6.5.2), and the largest window.
WINDOW_FIRST: Final = 65_535
FRAME_FIRST: Final = 16_384
WINDOW_MAX: Final = (1 << 31) - 1

_SETTING = struct.Struct(">HI")
_WORD = struct.Struct(">I")


class TunnelViolation(Exception):
    """The peer broke the rules of the whole connection. ``code`` is HTTP/2's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """What a SETTINGS frame says. Raises TunnelViolation."""
    if len(payload) % 6:
        raise TunnelViolation(FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    return list(_SETTING.iter_unpack(payload))


def window_update(stream: int, more: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return HEAD.pack(4 << 8 | WINDOW_UPDATE, 0, stream) + _WORD.pack(more)


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return HEAD.pack(4 << 8 | RST_STREAM, 0, stream) + _WORD.pack(code)


def goaway(last: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame: streams above ``last`` were not looked at."""
    return frame(GOAWAY, 0, 0, _WORD.pack(last) + _WORD.pack(code) + text.encode()[:128])


def read_word(payload: bytes) -> int:
    """The 32-bit number of a WINDOW_UPDATE or RST_STREAM. Raises TunnelViolation."""
    if len(payload) != 4:
        raise TunnelViolation(FRAME_SIZE_ERROR, "a frame of a wrong length")
    return int(_WORD.unpack(payload)[0])


def _stateless(headers: tuple[tuple[str, str], ...]) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(headers))


@lru_cache(maxsize=1024)
def connect_block(authority: str, source: str = "") -> bytes:
    """The headers of a CONNECT to a service. ``source`` is who asks, for whoever looks on: nobody
    decides by it."""
    named = (("x-lictor-source", source),) if source else ()
    return _stateless(
        ((":method", "CONNECT"), (":authority", authority), ("x-lictor-stream", "tcp"), *named)
    )


@lru_cache(maxsize=64)
def status_block(status: int) -> bytes:
    """The headers of an answer."""
    return _stateless(((":status", str(status)),))


def read_block(block: bytes) -> Mapping[str, str]:
    """Headers by name. Raises TunnelViolation: for a block that is none nothing after it can be
    trusted (section 4.3)."""
    return _read_block(block)


@lru_cache(maxsize=1024)
def _read_block(block: bytes) -> Mapping[str, str]:
    decoder = Decoder(max_header_list_size=16_384)
    decoder.header_table_size = 0
    decoder.max_allowed_table_size = 0
    try:
        # Its types say bytes, whatever it was asked for.
        fields: Iterable[Any] = decoder.decode(block)
        return {str(name): str(value) for name, value in fields}
    except (HPACKError, UnicodeError) as error:
        raise TunnelViolation(COMPRESSION_ERROR, f"headers cannot be read: {error}") from error
