"""An HTTP request that another datacenter answers, and its answer, as bytes between servers. Pure.

What travels is what the API was asked for, not what it asks of a state: so each endpoint works
elsewhere as it works here, in the words of whoever carries it out. The token goes with it and is
resolved there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.backend.rpc import calls
from raftstore.errors import DecodeError

#: Headers that say something about what is asked. All others are between the client and its agent.
HEADERS = frozenset({"cache-control", "content-type", "x-consul-namespace"})
#: Header lines of an answer, and bytes of a target: more means somebody plays with us.
LINES_MAX = 64
TARGET_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayedRequest:
    """``target`` is path and query as the client wrote them; ``secret`` "" shows no token."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str = field(default="", repr=False)
    body: bytes = b""

    def encode(self) -> bytes:
        """As bytes for the wire."""
        pairs = [[name, value] for name, value in sorted(self.headers.items())]
        return calls.pack(self.method, self.target, pairs, self.secret, self.body)

    @classmethod
    def decode(cls, payload: bytes) -> RelayedRequest:
        """From the wire. Raises DecodeError."""
        method, target, pairs, secret, body, *_ = calls.unpack(payload, str, str, list, str, bytes)
        if len(target) > TARGET_BYTES_MAX:
            raise DecodeError("the target of a request is too long")
        headers = {}
        for pair in pairs:
            match pair:
                case [str(name), str(value)] if name in HEADERS:
                    headers[name] = value
                case _:
                    raise DecodeError("a header is not one of those that are passed on")
        return cls(method=method, target=target, headers=headers, secret=secret, body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayedReply:
    """``lines`` are header lines without their end."""

    status: int
    content_type: str
    lines: tuple[str, ...] = ()
    body: bytes = b""

    def encode(self) -> bytes:
        """As bytes for the wire."""
        return calls.pack(self.status, self.content_type, list(self.lines), self.body)

    @classmethod
    def decode(cls, payload: bytes) -> RelayedReply:
        """From the wire. Raises DecodeError."""
        status, content_type, lines, body, *_ = calls.unpack(payload, int, str, list, bytes)
        if not 100 <= status <= 599 or isinstance(status, bool):
            raise DecodeError("an answer has a status")
        texts = [line for line in lines if isinstance(line, str)]
        if len(texts) != len(lines) or len(lines) > LINES_MAX:
            raise DecodeError("header lines are a few texts")
        if any("\r" in line or "\n" in line for line in (*texts, content_type)):
            raise DecodeError("a header line has no line within it")
        return cls(status=status, content_type=content_type, lines=tuple(texts), body=body)


def write_elsewhere(datacenter: str, method: str, payload: bytes) -> bytes:
    """The payload of ``calls.ELSEWHERE``: what a server shall ask of another datacenter."""
    return calls.pack(datacenter, method, payload)


def read_elsewhere(payload: bytes) -> tuple[str, str, bytes]:
    """Datacenter, method and its payload. Raises DecodeError.

    It is a request of the API, or a question to the state with a token. It cannot hold itself: a
    request goes over the border between datacenters once.
    """
    datacenter, method, inner, *_ = calls.unpack(payload, str, str, bytes)
    asks = method == calls.AS and calls.read_as(inner)[1] == calls.ASK
    if method != calls.HTTP and not asks:
        raise DecodeError("this is not asked of other datacenters")
    return datacenter, method, inner
