"""A reply as bytes: status line, headers and body in one write.

aiohttp parses requests; its response objects are not used, since building their header maps costs
more than everything a hot read does. This class speaks the part of aiohttp's response interface
that its connection calls: ``prepare``, ``write_eof``, ``keep_alive``.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus
from itertools import islice
from typing import Any, cast

from aiohttp.web import BaseRequest

from raftstore.records import Json

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
#: Bodies from this size on are compressed for clients that accept it (http-api contract 1.1).
GZIP_MIN_BYTES = 1400
#: Bodies above this size are compressed in a thread: zlib at level 1 does about 60 MB/s.
COMPRESS_INLINE_MAX_BYTES = 256 * 1024
#: What every reply of the API says beside its own headers, by what is allowed by default.
API_HEADERS = {
    allow: ("Vary: Accept-Encoding", f"X-Consul-Default-Acl-Policy: {word}")
    for allow, word in ((True, "allow"), (False, "deny"))
}
#: What sidecars do with connections of which no intention speaks, where that is configured.
DEFAULT_INTENTIONS = {
    "": (),
    "allow": ("X-Lictor-Default-Intention-Policy: allow",),
    "deny": ("X-Lictor-Default-Intention-Policy: deny",),
}
#: With more than this unsent on a connection its next request waits.
UNSENT_MAX_BYTES = 64 * 1024

#: Items of a long listing that are turned into text in one go: about a millisecond.
PART_ITEMS = 64
#: A listing with more items than this is turned into text bit by bit.
LONG_ITEMS = 256
#: Putting a long reply together holds the loop for so long at a time, in seconds.
SLICE_S = 0.002
#: A long reply is written in pieces of about this size.
PIECE_BYTES = 1024 * 1024

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_encode_pretty = json.JSONEncoder(indent=4, check_circular=False).encode


def json_bytes(value: Json, *, pretty: bool = False) -> bytes:
    """A value as JSON text, with `<`, `>` and `&` escaped as Go does."""
    if value is True and not pretty:
        return b"true"  # what most writes answer
    text = _encode_pretty(value) + "\n" if pretty else _encode(value)
    # Outside of strings these three never occur in JSON, so replacing them anywhere is right.
    if "<" in text:
        text = text.replace("<", "\\u003c")
    if ">" in text:
        text = text.replace(">", "\\u003e")
    if "&" in text:
        text = text.replace("&", "\\u0026")
    return text.encode("ascii")


class _Clock:
    """The Date header, made once per second."""

    __slots__ = ("line", "second")

    def __init__(self) -> None:
        self.second = 0
        self.line = ""

    def date(self) -> str:
        now = int(time.time())
        if now != self.second:
            self.second = now
            self.line = f"Date: {formatdate(now, usegmt=True)}\r\n"
        return self.line


_clock = _Clock()


def second() -> int:
    """The second of the Date header, in Unix time."""
    _clock.date()
    return _clock.second


def date_line() -> bytes:
    """The Date header of this second, with its end."""
    return _clock.date().encode("ascii")


class Reply:
    """What goes back to the client. ``headers`` are lines without their end."""

    __slots__ = ("body", "content_type", "headers", "keep_alive", "more", "parts", "status")

    def __init__(
        self,
        body: bytes = b"",
        content_type: str = "",
        status: int = 200,
        headers: tuple[str, ...] = (),
        parts: Iterator[bytes] | None = None,
    ) -> None:
        """``parts`` make up the body of a long reply, bit by bit; ``assemble`` puts them in."""
        self.parts = parts
        self.body = body
        #: What follows ``body``, where that is too much for one piece.
        self.more: list[bytes] = []
        self.content_type = content_type
        self.status = status
        self.headers = headers
        self.keep_alive = True

    async def assemble(self) -> None:
        """Make the body of its parts, in slices."""
        parts, self.parts = self.parts, None
        if parts is None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + SLICE_S
        made: list[bytes] = []
        size = 0
        for part in parts:
            made.append(part)
            size += len(part)
            if size > PIECE_BYTES:
                self.more.append(b"".join(made))
                made, size = [], 0
            if loop.time() > until:
                await asyncio.sleep(0)
                until = loop.time() + SLICE_S
        self.more.append(b"".join(made))
        self.body = self.more.pop(0)

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return len(self.body) + sum(map(len, self.more))

    def opening(self) -> str:
        """The head up to the date."""
        lines = [_STATUS_LINES.get(self.status) or f"HTTP/1.1 {self.status} \r\n"]
        for line in self.headers:
            lines.append(line)
            lines.append("\r\n")
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}\r\n")
        return "".join(lines)

    def encoded(self) -> bytes:
        """All of it, for a connection of HTTP/1.1 that stays open."""
        length = f"Content-Length: {len(self.body)}\r\n\r\n"
        head = f"{self.opening()}{_clock.date()}{length}"
        return head.encode("utf-8", "replace") + self.body

    async def prepare(self, request: BaseRequest) -> None:
        """Write the whole reply (called by aiohttp's connection)."""
        body = self.body
        transport, head = self.begin(request, self.length)
        transport.write(head + body if request.method != "HEAD" else head)
        if self.more and request.method != "HEAD":
            await self._write_more(request, transport)
        if transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
            await drain(request, transport)

    def begin(self, request: BaseRequest, length: int) -> tuple[asyncio.WriteTransport, bytes]:
        """Where to write, and the head of a body of that length. Raises ConnectionResetError."""
        self.keep_alive = self.keep_alive and request.keep_alive
        head = [self.opening(), _clock.date(), f"Content-Length: {length}\r\n"]
        if not self.keep_alive:
            head.append("Connection: close\r\n")
        elif request.version < (1, 1):
            head.append("Connection: keep-alive\r\n")
        head.append("\r\n")
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away")
        return transport, "".join(head).encode("utf-8", "replace")

    async def _write_more(self, request: BaseRequest, transport: asyncio.WriteTransport) -> None:
        for piece in self.more:
            if transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
                await drain(request, transport)
            transport.write(piece)

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything was written in ``prepare``."""


async def drain(request: BaseRequest, transport: asyncio.WriteTransport) -> None:
    """Wait until the client has taken enough of what was written, or give it up."""
    connection = cast(Any, request.protocol)  # one of connections.py's, which stands above this
    try:
        async with asyncio.timeout(connection.send_max_s):
            await connection._drain_helper()
    except TimeoutError:
        transport.abort()
        raise ConnectionResetError("the client does not read") from None


def json_parts(items: Iterator[Json], *, pretty: bool = False) -> Iterator[bytes]:
    """The JSON text of an array, bit by bit: together what ``json_bytes`` gives for a list."""
    empty = True
    for batch in iter(lambda: list(islice(items, PART_ITEMS)), []):
        text = json_bytes(batch, pretty=pretty)
        # Without its brackets; an indented one ends with a line's end and a bracket.
        inner = text[1:-3] if pretty else text[1:-1]
        yield (b"[" if empty else b",") + inner
        empty = False
    if empty:
        yield b"["
    yield b"\n]\n" if pretty and not empty else b"]\n" if pretty else b"]"


def json_object_parts(
    items: Iterator[tuple[str, Json]], *, pretty: bool = False
) -> Iterator[bytes]:
    """The same of an object."""
    empty = True
    for batch in iter(lambda: list(islice(items, PART_ITEMS)), []):
        text = json_bytes(dict(batch), pretty=pretty)
        inner = text[1:-3] if pretty else text[1:-1]
        yield (b"{" if empty else b",") + inner
        empty = False
    if empty:
        yield b"{"
    yield b"\n}\n" if pretty and not empty else b"}\n" if pretty else b"}"


def header(name: str, value: Any) -> str:
    """A header line. What cannot stand in one is replaced, so that no value opens another line."""
    text = str(value)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return f"{name}: {text}"


def gzipped(*pieces: bytes) -> bytes:
    """A body as a gzip member, fastest level."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*map(packer.compress, pieces), packer.flush()])
