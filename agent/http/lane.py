"""Which bytes are a request that was seen before in all but its target, its token and its body.

A token is cut out where it is the value of `X-Consul-Token`, or of `Authorization: Bearer`; what
of a target is one, `target_token` says.

Most requests of a client differ from its last one in the target, the body, and the body's length,
those of two clients in their tokens as well. aiohttp parses the first of them; a later one whose
header lines are the same bytes means the same, so it needs no parser: two searches and a look-up
(2 us beside 30 us). No header is ever read here that aiohttp has not read before, so there are no
two opinions about where a request ends.

A lane belongs to one connection. It is open only when it is known that aiohttp stands between two
requests: at the start, and when as many bytes have gone to it as the one request it has answered
was long. Whatever is unusual (a head in pieces, pipelining, chunks, bare line feeds, an upgrade)
closes the lane, for that request or for good; aiohttp then has the connection for itself.

Pure: no sockets here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

#: Longer heads are none of the usual ones.
HEAD_MAX_BYTES = 4096
#: Known header blocks; the oldest makes room.
HEADS_MAX = 1024

_LINE = re.compile(rb"[A-Z]{3,7} [!-~]+ HTTP/1\.1")
_BARE = re.compile(rb"[^\r]\n|\r[^\n]")
_END = b"\r\n\r\n"
_VERSION = b" HTTP/1.1"
_LENGTH = b"\r\nContent-Length: "
_LENGTH_DIGITS_MAX = 9
#: Where a token stands: the first of these that a head has. What is before the token in the value
#: of its header, and the header.
_SHOWN = (
    (b"\r\nX-Consul-Token: ", "", "x-consul-token"),
    (b"\r\nAuthorization: Bearer ", "Bearer ", "authorization"),
)
#: A token that means itself, however it is read.
_PLAIN_TOKEN = re.compile(rb"[0-9A-Za-z_-]{1,64}")
#: A request with one of these says how it wants to be answered, or who asks.
_SPEAKING = ("X-Consul-Token", "Authorization", "X-Consul-Namespace", "X-Consul-Partition",
             "Cache-Control")  # fmt: skip
#: With one of these a request is more than a head and so many bytes.
_UNUSUAL = ("Transfer-Encoding", "Upgrade", "Expect", "Trailer")


class Head:
    """The header lines of a request, as aiohttp read them. ``length`` is None where it varies.

    A token that varies is not among them. ``quiet``: they say nothing about how to answer, nor who
    asks.
    """

    __slots__ = ("gzip", "headers", "length", "quiet")

    def __init__(self, headers: Mapping[str, str], length: int | None) -> None:
        self.headers = headers
        self.length = length
        self.gzip = "gzip" in headers.get("Accept-Encoding", "")
        self.quiet = not any(name in headers for name in _SPEAKING)


class Seen(NamedTuple):
    """A whole request. ``data`` is all of its bytes, for whom it has to go to in the end.

    ``token`` is what its header of that name says, where that is not among the head's: "" for none.
    """

    method: str
    target: bytes
    head: Head
    body: bytes
    data: bytes
    token: str = ""


class _Parts(NamedTuple):
    """Where the pieces of a request are. ``length`` is None if its field is not the usual one,
    ``token`` empty. What stands in either is not in the block. ``shown``: which of ``_SHOWN``."""

    method: bytes
    target: bytes
    block: bytes
    head_bytes: int
    length: int | None
    token: bytes
    shown: int


def _split(data: bytes) -> _Parts | None:
    """The pieces of a request that begins here, None if its head is not whole or not usual."""
    line_end = data.find(b"\r\n")
    head_end = data.find(_END, line_end)
    if head_end < 0 or line_end < 0 or head_end > HEAD_MAX_BYTES:
        return None
    if data[line_end - 9 : line_end] != _VERSION:
        return None
    space = data.find(b" ", 0, 8)
    block = data[line_end : head_end + 4]
    at = block.find(_LENGTH)
    length: int | None = None
    if at >= 0:
        start = at + len(_LENGTH)
        end = block.find(b"\r\n", start)
        digits = block[start:end]
        if not digits.isdigit() or len(digits) > _LENGTH_DIGITS_MAX:
            return None
        length = int(digits)
        block = block[:start] + block[end:]
    token = b""
    shown = 0
    at = block.find(_SHOWN[0][0])
    if at < 0:
        shown = 1
        at = block.find(_SHOWN[1][0])
    if at >= 0:
        start = at + len(_SHOWN[shown][0])
        end = block.find(b"\r\n", start)
        if _PLAIN_TOKEN.fullmatch(block, start, end):
            token = block[start:end]
            block = block[:start] + block[end:]
    target = data[space + 1 : line_end - 9]
    return _Parts(data[:space], target, block, head_end + 4, length, token, shown)


class _Without(Mapping[str, str]):
    """Headers but for the one with the token, which is another one each time."""

    __slots__ = ("_headers", "_name")

    def __init__(self, headers: Mapping[str, str], name: str) -> None:
        self._headers = headers
        self._name = name

    def __getitem__(self, name: str) -> str:
        if name.lower() == self._name:
            raise KeyError(name)
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._headers if name.lower() != self._name)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _fixed(headers: Mapping[str, str], parts: _Parts) -> Mapping[str, str] | None:
    """What of the headers stays; None if aiohttp has not read this one token in them."""
    if not parts.token:
        return headers
    _, before, name = _SHOWN[parts.shown]
    values = [(each.lower(), headers[each]) for each in headers]
    found = [value for each, value in values if each == name]
    if found != [before + parts.token.decode("ascii")]:
        return None
    # Of two kinds of token one counts: which one, lines with only that one cannot tell.
    other = any(each == _SHOWN[0][2] for each, _ in values) and parts.shown > 0
    return None if other else _Without(headers, name)


def target_token(target: bytes) -> tuple[bytes, str] | None:
    """A target without the token that it names, and that token; None for what is not plainly one.

    The first value counts (http-api contract 1.4), so there must be no other, in whatever words.
    """
    path, _, query = target.partition(b"?")
    found = b""
    rest: list[bytes] = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"token":
            if found or not _PLAIN_TOKEN.fullmatch(value):
                return None
            found = value
        elif b"%" in name:
            return None
        else:
            rest.append(part)
    if not found:
        return None
    return path + b"?" + b"&".join(rest) if rest else path, found.decode("ascii")


class Heads:
    """The header blocks that aiohttp has read, by method: shared by all lanes of a server."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bool], Head] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, method: bytes, block: bytes, *, with_token: bool = False) -> Head | None:
        """What these very lines meant before. ``with_token``: one was taken out of them."""
        return self._known.get((method, block, with_token))

    def learn(self, method: bytes, block: bytes, head: Head, *, with_token: bool = False) -> None:
        """Remember what aiohttp made of these lines."""
        if (method, block, with_token) in self._known:
            return
        if len(self._known) >= HEADS_MAX:
            del self._known[next(iter(self._known))]
        self._known[method, block, with_token] = head


class Lane:
    """What one connection's bytes are, as long as that is plain."""

    __slots__ = ("_block", "_expected", "_fed", "_head", "_heads", "_length", "_method", "_open",
                 "_parts", "_token")  # fmt: skip

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._open = True
        # The last request taken here, to the digits of its length: the next one is mostly its like.
        self._method = self._block = b""
        self._head: Head | None = None
        self._length = 0
        self._token = ""
        self._parts: _Parts | None = None
        self._fed = 0
        self._expected = 0

    def take(self, data: bytes) -> Seen | None:
        """The one whole request that ``data`` is, if it is a usual one between two others."""
        if not self._open:
            return None
        return self._like_last(data) or self._look_up(data)

    def _like_last(self, data: bytes) -> Seen | None:
        line_end = data.find(b"\r\n")
        head_end = data.find(_END, line_end) + 4
        head, method = self._head, self._method
        if (
            head is None
            or data[line_end:head_end] != self._block
            or len(data) != head_end + self._length
            or not data.startswith(method)
            or data[line_end - 9 : line_end] != _VERSION
            or head_end > HEAD_MAX_BYTES
        ):
            return None
        target = data[len(method) : line_end - 9]
        return Seen(method[:-1].decode("ascii"), target, head, data[head_end:], data, self._token)

    def _look_up(self, data: bytes) -> Seen | None:
        parts = _split(data)
        if parts is None:
            return None
        head = self._heads.find(parts.method, parts.block, with_token=bool(parts.token))
        if head is None:
            return None
        length = (parts.length if head.length is None else head.length) or 0
        if len(data) != parts.head_bytes + length:
            return None
        self._head, self._method, self._length = head, parts.method + b" ", length
        self._block = data[data.find(b"\r\n") : parts.head_bytes]
        self._token = token = parts.token.decode("ascii")
        body = data[parts.head_bytes :]
        return Seen(parts.method.decode("ascii"), parts.target, head, body, data, token)

    def passed_on(self, data: bytes) -> None:
        """These bytes go to aiohttp. It answers one request before the lane may open again."""
        if self._open:
            self._open = False
            self._fed = self._expected = 0
            parts = _split(data)
            usual = parts is not None and not _BARE.search(data, 0, parts.head_bytes)
            usual = usual and _LINE.match(data) is not None
            self._parts = parts if usual else None
        self._fed += len(data)

    def read(self, headers: Mapping[str, str], length: int | None, *, keep_alive: bool) -> None:
        """aiohttp has read a head: what went to it last, if that was one request."""
        parts, self._parts = self._parts, None
        self._expected = 0
        if parts is None or not keep_alive or any(name in headers for name in _UNUSUAL):
            return
        if (parts.length or 0) != (length or 0) and parts.length is not None:
            return
        self._expected = parts.head_bytes + (length or 0)
        known = _fixed(headers, parts)
        if known is not None:
            head = Head(known, None if parts.length is not None else length or 0)
            self._heads.learn(parts.method, parts.block, head, with_token=bool(parts.token))

    def answered(self) -> None:
        """aiohttp's answer has been written."""
        # Bytes that went to it beyond this one request are another: then it keeps the connection.
        self._open = self._expected > 0 and self._fed == self._expected
