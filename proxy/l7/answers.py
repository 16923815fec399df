"""Heads of answers, read and written anew: once for each that comes again and again.

Pure. What a head says, and how it is passed on where nobody changes it, depends on nothing but its
bytes; most answers of one application differ in few of them, and not at all within a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from proxy.http1 import body, forward
from proxy.http1.body import Framing
from proxy.http1.head import Response, read_response

#: Heads that are remembered, and how long they are at most.
_SEEN_MAX, _SEEN_BYTES = 512, 1024


@dataclass(frozen=True, slots=True)
class Answered:
    """``framing`` is for any method but HEAD; ``onward`` is the head as it is passed on to a client
    that asked with one of those; ``whole``: its connection can be used again."""

    head: Response
    framing: Framing
    onward: bytes
    whole: bool


def read(raw: bytes) -> Answered:
    """A whole head, its empty line included. Raises HttpViolation."""
    return _seen(raw) if len(raw) <= _SEEN_BYTES else _read(raw)


def closing(onward: bytes) -> bytes:
    """The same head for a client whose connection ends with the answer."""
    return onward[:-2] + b"Connection: close\r\n\r\n"


def _read(raw: bytes) -> Answered:
    head = read_response(raw)
    framing = body.of_response(head, to_method="GET")
    onward = forward.response_bytes(head, forward.onward(head), framing, close=False)
    words = (head.get("connection") or "").lower()
    whole = not framing.until_close and head.minor >= 1 and "close" not in words
    return Answered(head, framing, onward, whole)


_seen = lru_cache(maxsize=_SEEN_MAX)(_read)
