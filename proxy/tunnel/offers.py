"""The accepting side of streams that move: an offer and a connection find each other by a token.

The token comes in the tunnel and as the first bytes of the connection; both are over mutual TLS and
must be of the same identity. What waits for its other part is bounded in number and time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from proxy.certificate import PeerCertificate
from proxy.relay import Stream, TlsStream
from proxy.telemetry.own_streams import ENDED, FULL, REFUSED, UNANSWERED
from proxy.tunnel.channel import Channel
from proxy.tunnel.crossings import Crossings
from proxy.tunnel.frames import TOKEN_BYTES
from proxy.tunnel.limits import TunnelLimits
from proxy.tunnel.link import Link
from proxy.tunnel.stream import TunnelStream


@dataclass(frozen=True, slots=True)
class _Offer:
    link: Link
    channel: Channel


class Offers:
    """All that wait, and all streams that have their connection."""

    def __init__(self, limits: TunnelLimits, *, revoked: Callable[[PeerCertificate], str]) -> None:
        self._limits = limits
        self._revoked = revoked
        self._offers: dict[bytes, _Offer] = {}
        self._arrivals: dict[Arrival, asyncio.TimerHandle] = {}
        self.crossings = Crossings(revoked, block_bytes=limits.own_block_bytes)

    def offered(self, link: Link, channel: Channel, token: bytes) -> None:
        """A peer offers a connection for a stream."""
        if len(self._offers) >= self._limits.own_streams_max:
            self.crossings.results[FULL] += 1
            return
        self._offers[token] = _Offer(link, channel)
        asyncio.get_running_loop().call_later(self._limits.own_wait_s, self._withdraw, token)
        self._match(token)

    def _withdraw(self, token: bytes) -> None:
        if self._offers.pop(token, None) is not None:
            self.crossings.results[UNANSWERED] += 1

    def arrived(self, tls: TlsStream, peer: PeerCertificate) -> None:
        """A connection that says that it belongs to a stream."""
        if len(self._arrivals) + len(self.crossings) >= self._limits.own_streams_max:
            self.crossings.results[FULL] += 1
            tls.abort()
            return
        arrival = Arrival(self, tls, peer)
        self._arrivals[arrival] = asyncio.get_running_loop().call_later(
            self._limits.own_wait_s, arrival.give_up
        )
        arrival.begin()

    def told(self, arrival: Arrival) -> None:
        """It has said its token."""
        self._match(arrival.token)

    def gone(self, arrival: Arrival) -> None:
        """It waits no more."""
        timer = self._arrivals.pop(arrival, None)
        if timer is not None:
            timer.cancel()

    def _match(self, token: bytes) -> None:
        arrival = next((each for each in self._arrivals if each.token == token), None)
        offer = self._offers.get(token)
        if arrival is None or offer is None:
            return
        del self._offers[token]
        half = offer.channel.handle
        peer = arrival.peer
        if offer.link.certificate.identity != peer.identity or self._revoked(peer):
            self.crossings.results[REFUSED] += 1
            arrival.give_up()
            return
        if not isinstance(half, TunnelStream) or not half.relays or half.crossing:
            self.crossings.results[ENDED] += 1
            arrival.give_up()
            return
        self.gone(arrival)
        crossing = self.crossings.add(half, arrival.tls, peer)
        if not crossing.begin():
            self.crossings.results[ENDED] += 1
            crossing.stop()

    def close(self) -> None:
        """Reset everything."""
        for arrival in list(self._arrivals):
            arrival.give_up()
        self.crossings.close()


class Arrival:
    """A connection until it is known which stream it belongs to."""

    def __init__(self, offers: Offers, tls: TlsStream, peer: PeerCertificate) -> None:
        self._offers = offers
        self._read = b""
        self.tls = tls
        self.peer = peer

    @property
    def token(self) -> bytes:
        """The token, b"" until all of it has come."""
        return self._read if len(self._read) == TOKEN_BYTES else b""

    def begin(self) -> None:
        """Read the token."""
        self.tls.owner = self
        self.tls.relay_to(self)  # type: ignore[arg-type]  # a half needs less than all of it

    def give_up(self) -> None:
        """Nobody wants it."""
        self._offers.gone(self)
        self.tls.abort()

    # What the TLS stream hands over, and asks for.

    def send(self, data: bytes) -> None:
        """What has come."""
        self._read += data
        if len(self._read) > TOKEN_BYTES:
            self.give_up()
        elif self.token:
            self.tls.pause_reading()
            self._offers.told(self)

    def send_all(self, chunks: list[bytes]) -> None:
        """What has come."""
        self.send(b"".join(chunks))

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    # What it reports to its owner.

    def stream_opened(self, stream: Stream) -> None: ...

    def stream_secured(self, stream: Stream, der: bytes | None) -> None: ...

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None: ...

    def stream_over(self, stream: Stream) -> None:
        self.give_up()

    def stream_lost(self, stream: Stream, reason: str) -> None:
        self.give_up()
