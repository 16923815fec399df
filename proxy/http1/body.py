"""Where a body ends: framing decided once, chunks read strictly (RFC 9112, sections 6 and 7).

Pure. A decoder takes bytes and gives back what is body; what follows the body is left over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.errors import HttpViolation
from proxy.http1.head import Request, Response

LENGTH_MAX = (1 << 63) - 1
CHUNK_LINE_MAX = 16 + 1 + 256
TRAILERS_MAX = 8192
_DIGITS = re.compile(r"[0-9]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\r\n]{0,256})?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Framing:
    """How a body is delimited: ``length`` bytes, in chunks, or (``until_close``) by the end of the
    connection. A length of 0 is no body."""

    length: int = 0
    chunked: bool = False
    until_close: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is no body at all."""
        return not self.length and not self.chunked and not self.until_close


def of_request(head: Request) -> Framing:
    """Raises HttpViolation for a body that two readers would delimit differently (rules 1 to 4)."""
    return _framing(head, head.minor) or Framing()


def of_response(head: Response, *, to_method: str) -> Framing:
    """As for requests; a response without both is delimited by the end of the connection."""
    if to_method == "HEAD" or head.status < 200 or head.status in (204, 304):
        return Framing()
    try:
        found = _framing(head, head.minor)
    except HttpViolation as error:
        raise HttpViolation(502, str(error)) from error
    return Framing(until_close=True) if found is None else found


def _framing(head: Request | Response, minor: int) -> Framing | None:
    lengths, codings = (
        head.get("content-length"),
        head.get("transfer-encoding"),
    )
    if codings is not None:
        if lengths is not None:
            raise HttpViolation(400, "Content-Length and Transfer-Encoding")
        if minor < 1:
            raise HttpViolation(400, "Transfer-Encoding in HTTP/1.0")
        names = [each.strip(" \t").lower() for each in codings.split(",")]
        if names[-1] != "chunked" or names.count("chunked") > 1:
            raise HttpViolation(400, "chunked must be the last coding, once")
        if len(names) > 1:
            raise HttpViolation(501, "unknown transfer coding")
        return Framing(chunked=True)
    if lengths is None:
        return None
    values = {each.strip(" \t") for each in lengths.split(",")}
    if len(values) > 1:
        raise HttpViolation(400, "different Content-Lengths")
    (value,) = values
    if not _DIGITS.fullmatch(value) or len(value) > 19 or int(value) > LENGTH_MAX:
        raise HttpViolation(400, "bad Content-Length")
    return Framing(length=int(value))


class Decoder:
    """Reads one body. ``done`` once it has ended; ``left`` is then what came after it."""

    def __init__(self, framing: Framing) -> None:
        self._chunked = framing.chunked
        self._until_close = framing.until_close
        self._left = framing.length
        self._buffer = b""
        self._in_trailers = False
        self._after_chunk = False
        self.done = framing.empty
        self.left = b""

    def feed(self, data: bytes) -> bytes:
        """What of this is body. Raises HttpViolation for chunks that are none."""
        if self.done:
            self.left += data
            return b""
        if self._until_close:
            return data
        if self._chunked:
            return self._chunks(data)
        body = data[: self._left]
        self._left -= len(body)
        if not self._left:
            self.done, self.left = True, data[len(body) :]
        return body

    def end(self) -> None:
        """The connection has ended. Raises HttpViolation when the body had not."""
        if self._until_close:
            self.done = True
        if not self.done:
            raise HttpViolation(400, "the body was cut short")

    def _chunks(self, data: bytes) -> bytes:
        buffer = self._buffer + data if self._buffer else data
        body: list[bytes] = []
        while not self.done:
            if self._left:
                part = buffer[: self._left]
                if not part:
                    break
                body.append(part)
                buffer = buffer[len(part) :]
                self._left -= len(part)
                self._after_chunk = not self._left
                continue
            if self._after_chunk:
                if not b"\r\n".startswith(buffer[:2]):
                    raise HttpViolation(400, "no end of line after a chunk")
                if len(buffer) < 2:
                    break
                buffer, self._after_chunk = buffer[2:], False
                continue
            line, found, rest = buffer.partition(b"\r\n")
            if not found:
                # A line that ends otherwise is one to some readers: it is not waited on.
                if b"\n" in buffer or b"\r" in buffer[:-1]:
                    raise HttpViolation(400, "bad chunk size")
                if len(buffer) > (TRAILERS_MAX if self._in_trailers else CHUNK_LINE_MAX):
                    raise HttpViolation(400, "chunk line too long")
                break
            buffer = rest
            self._line(line)
        self._buffer = buffer
        if self.done:
            self.left, self._buffer = buffer, b""
        return b"".join(body)

    def _line(self, line: bytes) -> None:
        if self._in_trailers:
            if not line:
                self.done = True
            elif not _TRAILER.fullmatch(line):
                raise HttpViolation(400, "bad trailer")
            return
        size = _CHUNK.fullmatch(line)
        if size is None:
            raise HttpViolation(400, "bad chunk size")
        self._left = int(size[1], 16)
        self._in_trailers = not self._left


def chunk(data: bytes) -> bytes:
    """Data as one chunk; b"" gives b"" (an empty chunk would be the last)."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"
