"""What happens on an HTTP/2 connection, as values."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.http1.head import Headers, Request, Response


@dataclass(frozen=True, slots=True)
class Asked:
    """A request began; ``ended`` when it has no body."""

    stream_id: int
    request: Request
    ended: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A final response began."""

    stream_id: int
    response: Response
    ended: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a body; ``credit`` is to be given back once they are read."""

    stream_id: int
    data: bytes
    credit: int


@dataclass(frozen=True, slots=True)
class Over:
    """The peer's side of a stream ended, with these trailers."""

    stream_id: int
    trailers: Headers = ()


@dataclass(frozen=True, slots=True)
class Broken:
    """A stream was reset. ``refused``: certainly nothing was done with it."""

    stream_id: int
    code: int
    refused: bool = False
    by_us: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """Some stream may send more."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """The peer takes no new streams."""

    code: int


Event = Asked | Answered | Piece | Over | Broken | Room | Leaving
