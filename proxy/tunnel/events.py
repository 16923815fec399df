"""What a tunnel connection reports, as values."""

from __future__ import annotations

from typing import NamedTuple

from proxy.tunnel.channel import Channel


class Data(NamedTuple):
    """Bytes of a stream."""

    channel: Channel
    data: bytes


class Opened(NamedTuple):
    """The peer wants a stream to this service. It must be answered."""

    channel: Channel
    authority: str


class Answered(NamedTuple):
    """The peer's answer to a stream of ours: 200 when it stands."""

    channel: Channel
    status: int


class Over(NamedTuple):
    """The peer sends no more on a stream."""

    channel: Channel


class Closed(NamedTuple):
    """A stream is gone: both sides ended it, or one of them reset it (``code``)."""

    channel: Channel
    code: int = 0


class Writable(NamedTuple):
    """All that waited on a stream is sent."""

    channel: Channel


class Offered(NamedTuple):
    """A stream may go on over the connection that begins with this token."""

    channel: Channel
    token: bytes


class MovedOut(NamedTuple):
    """All that was written is sent; what follows goes over the stream's own connection."""

    channel: Channel


class MovedIn(NamedTuple):
    """What the peer sends from now on comes over the stream's own connection."""

    channel: Channel


class Crossed(NamedTuple):
    """Nothing of a stream is here any more, and it goes on elsewhere."""

    channel: Channel


class Leaving(NamedTuple):
    """The peer takes no new streams."""


class Broken(NamedTuple):
    """The connection can no longer be used; ``out`` holds the reason for the peer."""

    reason: str


Event = (
    Data | Opened | Answered | Over | Closed | Writable
    | Offered | MovedOut | MovedIn | Crossed | Leaving | Broken
)  # fmt: skip
