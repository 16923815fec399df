"""The shell of one tunnel connection: between its TLS stream and the halves that it carries.

Decides nothing. What many streams write in one turn of the loop leaves as one write, encrypted at
once: that is where the tunnel's speed comes from.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

from proxy.certificate import PeerCertificate
from proxy.relay import Owner, Stream, TlsStream
from proxy.tunnel import moving
from proxy.tunnel.channel import Channel
from proxy.tunnel.core import Tunnel
from proxy.tunnel.events import (
    Answered,
    Broken,
    Closed,
    Crossed,
    Data,
    Event,
    MovedIn,
    MovedOut,
    Offered,
    Opened,
    Over,
    Writable,
)
from proxy.tunnel.far import Far
from proxy.tunnel.limits import TunnelLimits
from proxy.tunnel.parts import parts
from proxy.tunnel.stream import TunnelStream


class Keeper(Protocol):
    """Who keeps a link: the dialling side's pool, or the accepting proxy."""

    def link_opened(self, link: Link, channel: Channel, authority: str) -> None:
        """The peer wants a stream: answer it, or give it a `TunnelStream`."""
        ...

    def link_gone(self, link: Link) -> None:
        """The connection is over."""
        ...

    def stream_due(self, link: Link, channel: Channel) -> None:
        """A stream that we opened moves so much that it may have a connection of its own."""
        ...

    def stream_offered(self, link: Link, channel: Channel, token: bytes) -> None:
        """The peer offers a stream the connection that begins with this token."""
        ...


class Link:
    """One connection. It owns its TLS stream, and is what that relays to."""

    __slots__ = (
        "_bulk",
        "_full",
        "_keeper",
        "_loop",
        "_scheduled",
        "_tls",
        "certificate",
        "core",
        "far",
        "gone",
        "idle_since",
        "refusals",
        "source",
    )

    def __init__(
        self,
        keeper: Keeper,
        tls: TlsStream,
        certificate: PeerCertificate,
        limits: TunnelLimits,
        *,
        client: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._keeper = keeper
        self._tls = tls
        self.certificate = certificate
        self.core = Tunnel(limits, client=client, now=self._loop.time())
        self.gone = False
        #: Streams that the peer did not take, by its answer.
        self.refusals: Counter[int] = Counter()
        self.idle_since = self._loop.time()
        #: Where a link that we dialled goes to.
        self.far: Far | None = None
        #: Who we are, as streams tell it.
        self.source = ""
        self._full = False
        self._scheduled = False
        self._bulk: Channel | None = None

    def begin(self) -> None:
        """Take over the stream, whose handshake is complete."""
        self._tls.owner = self
        self._flush()
        self._tls.relay_to(self)  # type: ignore[arg-type]  # a half needs less than all of it

    @property
    def version(self) -> str:
        """The version of TLS that is spoken."""
        return self._tls.version

    @property
    def peer_address(self) -> str:
        """Where the other end is."""
        return self._tls.peer_address

    @property
    def streams(self) -> int:
        """How many streams it carries."""
        return len(self.core.channels)

    @property
    def bulk(self) -> bool:
        """Whether one of its streams has moved much."""
        return self._bulk is not None and not self._bulk.closed

    def open(self, authority: str, owner: Owner) -> TunnelStream:
        """A new stream to a service of the peer."""
        channel = self.core.open(authority, self._loop.time(), self.source)
        self.schedule()
        return TunnelStream(self, channel, owner)

    def leave(self) -> None:
        """Carry no new streams, and end with the last."""
        self.core.leave()
        self.schedule()
        self._end_if_left()

    def close(self) -> None:
        """End now; streams are reset."""
        self._fail("shutdown")
        self._tls.abort()

    def schedule(self) -> None:
        """There is something to write: it leaves with all else of this turn."""
        if not self._scheduled and not self.gone:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def happened(self, events: list[Event]) -> None:
        """Tell the halves, after whoever caused it is done."""
        if events:
            self._loop.call_soon(self._handle, events)

    def tell_later(self, half: TunnelStream, reason: str) -> None:
        """Tell a half's owner that it is gone, as a socket would: not from within its own call."""
        self._loop.call_soon(half.owner.stream_lost, half, reason)

    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def _flush(self) -> None:
        self._scheduled = False
        if self.gone:
            return
        core = self.core
        if core.waits and not self._full:
            self._handle(core.pump())
        if core.out:
            out, core.out = core.out, []
            for part in parts(out):
                self._tls.send(part)
            if core.waits and not self._full:
                self.schedule()

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            kind, handle = type(event), None
            if kind is Data:
                handle = event.channel.handle  # type: ignore[union-attr]
                if handle is not None:
                    handle.received(event.data)  # type: ignore[union-attr]
                continue
            match event:
                case Writable(channel):
                    self._note_bulk(channel)
                    channel.handle.writable()
                case Opened(channel, authority):
                    self._keeper.link_opened(self, channel, authority)
                case Answered(channel, status):
                    channel.handle.was_answered(status)
                case Over(channel):
                    if channel.handle is not None:
                        channel.handle.ended()
                case Offered(channel, token):
                    self._keeper.stream_offered(self, channel, token)
                case MovedOut(channel):
                    channel.handle.moved_out()
                case MovedIn(channel):
                    channel.handle.moved_in()
                case Crossed():
                    self.idle_since = self._loop.time()
                    self._end_if_left()
                case Closed(channel, code):
                    if channel.handle is not None:
                        channel.handle.was_closed(code)
                    self.idle_since = self._loop.time()
                    self._end_if_left()
                case Broken(reason):
                    self._break(reason)
                case _:
                    self._end_if_left()
        if self.core.out:
            self.schedule()

    def _note_bulk(self, channel: Channel) -> None:
        core = self.core
        if channel.moved >= core.limits.bulk_bytes:
            self._bulk = channel
            offers = core.takes_offers and core.is_client
            if offers and moving.is_due(channel, core.limits, self._loop.time()):
                self._keeper.stream_due(self, channel)

    def _end_if_left(self) -> None:
        if self.core.leaving and not self.core.channels and not self.gone:
            self._flush()
            self._fail("left")
            self._tls.finish()
            self._loop.call_later(self.core.limits.linger_s, self._tls.abort)

    def _break(self, reason: str) -> None:
        data = self.core.take()
        self._fail(f"tunnel: {reason}")
        if data:
            self._tls.send(data)
        self._tls.finish()
        self._loop.call_later(self.core.limits.linger_s, self._tls.abort)

    def _fail(self, reason: str) -> None:
        """No stream can go on."""
        if self.gone:
            return
        self.gone = True
        for channel in list(self.core.channels.values()):
            if channel.handle is not None:
                channel.handle.was_closed(1)
        self._keeper.link_gone(self)

    # What the TLS stream hands over, and asks for.

    def send(self, data: bytes) -> None:
        """What has come."""
        self._handle(self.core.receive(data, self._loop.time()))

    def send_all(self, chunks: list[bytes]) -> None:
        """What has come. A frame of several records goes on as a whole: less is done for each
        byte of a long answer, which costs more than joining them."""
        now, core = self._loop.time(), self.core
        for part in chunks if len(chunks) == 1 else parts(chunks):
            self._handle(core.receive(part, now))
        reading = core.reading
        if reading is not None:
            self._note_bulk(reading)

    def pause_reading(self) -> None:
        """The connection takes no more: what streams write waits."""
        self._full = True
        self.core.block()

    def resume_reading(self) -> None:
        """It takes more again."""
        self._full = False
        self._handle(self.core.pump())
        self.schedule()

    # What it reports as its owner.

    def stream_opened(self, stream: Stream) -> None: ...

    def stream_secured(self, stream: Stream, der: bytes | None) -> None: ...

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None:
        self._fail(reason)

    def stream_over(self, stream: Stream) -> None:
        """The peer ended all of it."""
        self._fail("closed")
        self._tls.finish()

    def stream_lost(self, stream: Stream, reason: str) -> None:
        self._fail(reason)
        if not self._tls.lost:
            self._tls.abort()
