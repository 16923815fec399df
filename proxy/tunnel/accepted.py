"""The accepting side's tunnel connections: each stream is decided about by itself.

Who asks is the certificate of the connection; whether it may is asked for every stream, by the
rules of that moment. A stream for another service than ours, or under a certificate that has ended
meanwhile, is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from proxy import certificate
from proxy.certificate import PeerCertificate
from proxy.errors import IdentityError
from proxy.relay import Owner, TlsStream
from proxy.tunnel.channel import Channel
from proxy.tunnel.crossings import Crossings
from proxy.tunnel.frames import ALPN, OWN_ALPN
from proxy.tunnel.limits import TunnelLimits
from proxy.tunnel.link import Link
from proxy.tunnel.offers import Offers
from proxy.tunnel.stream import UNREACHABLE, TunnelStream

NOT_HERE = 404

#: Takes a new stream of this peer; False: there is no room for it.
Take = Callable[[PeerCertificate, Callable[[Owner], TunnelStream]], bool]


class AcceptedLinks:
    """All connections that peers have dialled for streams."""

    def __init__(
        self,
        limits: TunnelLimits,
        *,
        authority: Callable[[], str],
        take: Take,
        revoked: Callable[[PeerCertificate], str],
    ) -> None:
        self._limits = limits
        self._authority = authority
        self._take = take
        self._revoked = revoked
        self._links: set[Link] = set()
        self._offers = Offers(limits, revoked=revoked)
        self.counted = {"connections": 0, "streams": 0, "refused": 0}

    def accept(self, tls: TlsStream, der: bytes | None) -> bool:
        """Take a connection over if it is a tunnel of somebody who can be named."""
        if tls.alpn not in (ALPN, OWN_ALPN):
            return False
        try:
            peer = certificate.read(der, client=True)
        except IdentityError:
            return False  # the ordinary way refuses it, and says why
        if self._revoked(peer):
            return False
        handed_over = getattr(tls.owner, "handed_over", None)
        if handed_over is not None:
            handed_over()
        if tls.alpn == OWN_ALPN:
            self._offers.arrived(tls, peer)
            return True
        link = Link(self, tls, peer, self._limits, client=False)
        self._links.add(link)
        self.counted["connections"] += 1
        link.begin()
        return True

    def link_opened(self, link: Link, channel: Channel, authority: str) -> None:
        """A stream is wanted."""
        if authority != self._authority():
            self._refuse(link, channel, NOT_HERE)
        elif link.certificate.not_after_at <= time.time():
            self._refuse(link, channel, UNREACHABLE)
            link.leave()
        elif self._take(link.certificate, lambda owner: TunnelStream(link, channel, owner)):
            self.counted["streams"] += 1
        else:
            self._refuse(link, channel, UNREACHABLE)

    def _refuse(self, link: Link, channel: Channel, status: int) -> None:
        self.counted["refused"] += 1
        link.core.answer(channel, status)
        link.happened(link.core.end(channel))
        link.core.reset(channel)
        link.schedule()

    def stream_due(self, link: Link, channel: Channel) -> None:
        """The side that dialled makes the offers."""

    def stream_offered(self, link: Link, channel: Channel, token: bytes) -> None:
        """A stream may have a connection of its own."""
        self._offers.offered(link, channel, token)

    def link_gone(self, link: Link) -> None:
        """Forget it."""
        self._links.discard(link)

    @property
    def own(self) -> Crossings:
        """Streams that have a connection of their own."""
        return self._offers.crossings

    @property
    def open(self) -> int:
        """How many connections stand."""
        return len(self._links)

    @property
    def streams(self) -> int:
        """How many streams they carry."""
        return sum(link.streams for link in self._links)

    def peers(self) -> Iterator[tuple[str, int]]:
        """Who dialled each connection, and how many streams it carries."""
        for link in self._links:
            identity = link.certificate.identity
            yield f"{identity.name}.{identity.datacenter}", link.streams

    def cut_revoked(self) -> None:
        """Other certificates count no more: no stream begins on one, sessions end the others."""
        for link in list(self._links):
            if self._revoked(link.certificate):
                link.leave()
        self.own.cut_revoked()

    def leave(self) -> None:
        """Take no new streams."""
        for link in list(self._links):
            link.leave()

    def close(self) -> None:
        """Reset everything."""
        for link in list(self._links):
            link.close()
        self._offers.close()

    def explain(self) -> dict[str, object]:
        """For people."""
        return {
            **self.counted,
            "own": self.own.explain(),
            "open": [
                {"client": link.certificate.identity.uri, "streams": link.streams}
                for link in self._links
            ],
        }
