"""A whole answer, held in memory: for clients that want it at once and bounded (RFC 9112).

Pure: bytes in, an answer out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.errors import HttpViolation
from proxy.http1 import body
from proxy.http1.head import Response, end_of_head, read_response

#: Answers in between (100 to 199) that may come before the one that counts.
INTERIM_MAX = 8
_SWITCHING = 101


class TooLong(Exception):
    """The body is longer than it may be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``headers`` are by name in lower case, several lines joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WholeAnswer:
    """Reads one answer. Raises HttpViolation for bytes that are none, TooLong for one with more
    than ``body_max_bytes``: at its head already where that says how many will come."""

    def __init__(self, *, to_method: str, body_max_bytes: int) -> None:
        self._method = to_method
        self._most = body_max_bytes
        self._buffer = bytearray()
        self._head: Response | None = None
        self._decoder: body.Decoder | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._interim = 0
        self._until_close = False

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return self._head is not None or bool(self._buffer) or self._interim > 0

    @property
    def answer(self) -> Answer | None:
        """The answer, once all of it is there."""
        if self._head is None or self._decoder is None or not self._decoder.done:
            return None
        return Answer(self._head.status, self._head.by_name, b"".join(self._parts))

    @property
    def keeps(self) -> bool:
        """Whether the connection may carry another request after this answer."""
        if self._head is None or self._decoder is None or self._until_close:
            return False
        told = (self._head.get("connection") or "").lower()
        words = {word.strip(" \t") for word in told.split(",")}
        lasting = self._head.minor == 1 or "keep-alive" in words
        # Bytes after an answer belong to no request of ours.
        return lasting and "close" not in words and self._decoder.done and not self._decoder.left

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        if self._decoder is None:
            self._buffer += data
            data = self._heads()
        if self._decoder is None:
            return
        part = self._decoder.feed(data)
        self._size += len(part)
        if self._size > self._most:
            raise TooLong
        if part:
            self._parts.append(part)

    def end(self) -> None:
        """The connection has ended. Raises HttpViolation when the answer had not."""
        if self._decoder is None:
            raise HttpViolation(502, "the connection ended before an answer")
        self._decoder.end()

    def _heads(self) -> bytes:
        """Read heads until one counts; what came after it."""
        while (end := end_of_head(self._buffer)) >= 0:
            head = read_response(bytes(self._buffer[:end]))
            del self._buffer[:end]
            if head.status == _SWITCHING:
                raise HttpViolation(502, "another protocol, which was not asked for")
            if head.status < 200:
                self._interim += 1
                if self._interim > INTERIM_MAX:
                    raise HttpViolation(502, "too many answers in between")
                continue
            framing = body.of_response(head, to_method=self._method)
            if framing.length > self._most:
                raise TooLong
            self._head, self._decoder = head, body.Decoder(framing)
            self._until_close = framing.until_close
            rest, self._buffer = bytes(self._buffer), bytearray()
            return rest
        return b""
