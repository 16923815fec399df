"""The dialling side's tunnel connections, by peer; `lanes` decides which one carries what.

Several that want the same peer at once wait for one handshake. A peer that takes no tunnel gets
plain mTLS connections, and is not asked again for a while.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy import certificate, spiffe
from proxy.certificate import PeerCertificate
from proxy.config import ProxyConfig
from proxy.errors import IdentityError, NoHandshake
from proxy.relay import Owner, Stream, TlsStream
from proxy.revocations import Revocations
from proxy.telemetry.connections import HandshakeMetrics
from proxy.tls import Contexts
from proxy.tunnel.channel import Channel
from proxy.tunnel.crossings import Crossings
from proxy.tunnel.far import Far
from proxy.tunnel.frames import ALPN
from proxy.tunnel.lanes import Lane, plan, suffices
from proxy.tunnel.link import Link
from proxy.tunnel.own import OwnConnections
from proxy.tunnel.stream import TunnelStream

log = logging.getLogger("lictor.proxy.tunnel")

#: Peers that are remembered to have no tunnel.
_PLAIN_MAX = 4096


class Hub(Protocol):
    """What the pool needs of the proxy."""

    config: ProxyConfig
    contexts: Contexts | None
    revoked: Revocations
    handshakes: HandshakeMetrics

    def own_authority(self) -> str: ...

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...


@dataclass(frozen=True, slots=True)
class Secured:
    """A connection whose handshake is complete and that carries no tunnel."""

    stream: TlsStream
    der: bytes | None


@dataclass(slots=True)
class _Group:
    links: list[Link] = field(default_factory=list)
    dialling: int = 0
    waiters: list[asyncio.Future[Link | Secured | None]] = field(default_factory=list)


class Tunnels:
    """All connections that this proxy dials for streams."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._limits = hub.config.tunnel_limits
        self._groups: dict[Far, _Group] = {}
        self._plain: dict[tuple[str, int], float] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._own = OwnConnections(
            self._limits,
            dial=self._own_one,
            revoked=lambda peer: hub.revoked.why(peer),
            spawn=hub.spawn,
        )
        self.counted = {"handshakes": 0, "streams": 0, "plain": 0}

    @property
    def on(self) -> bool:
        """Whether there are tunnels at all, ours or accepted."""
        return self._hub.config.tunnel != "off"

    def wanted(self, far: Far) -> bool:
        """Whether a tunnel to there is to be tried."""
        if not self.on:
            return False
        until = self._plain.get((far.address, far.port), 0.0)
        return until <= self._loop.time() or self._hub.config.tunnel == "require"

    def ready(self, far: Far, owner: Owner) -> tuple[TunnelStream, PeerCertificate] | None:
        """A stream on a connection that stands, if there is one with room."""
        group = self._groups.get(far)
        if group is None:
            return None
        link = self._planned(far, group)
        if link is None:
            return None
        if link.certificate.not_after_at <= time.time():  # who it was it may no longer be
            link.leave()
            group.links.remove(link)
            return None
        self.counted["streams"] += 1
        return link.open(far.authority, owner), link.certificate

    def _planned(self, far: Far, group: _Group) -> Link | None:
        """The connection that carries the next stream; another is dialled where one is due."""
        if len(group.links) == 1:
            only = group.links[0]
            if suffices(only.streams, only.core.room, only.bulk, self._limits):
                return only
        lanes = [Lane(link.streams, link.core.room, link.bulk) for link in group.links]
        chosen = plan(lanes, group.dialling, self._limits)
        if chosen.dial:
            self._dial(far, group)
        return None if chosen.lane is None else group.links[chosen.lane]

    async def connect(
        self, far: Far, owner: Owner
    ) -> tuple[TunnelStream, PeerCertificate] | Secured:
        """A stream to a peer, or a plain connection where it offers no tunnel. Raises OSError."""
        while True:
            if not self.wanted(far):
                return await self._plain_one(far)
            found = self.ready(far, owner)
            if found is not None:
                return found
            group = self._groups.setdefault(far, _Group())
            if not group.dialling:
                self._dial(far, group)
            waiter: asyncio.Future[Link | Secured | None] = self._loop.create_future()
            group.waiters.append(waiter)
            try:
                made = await waiter
            finally:
                if waiter in group.waiters:
                    group.waiters.remove(waiter)
            if isinstance(made, Secured):
                if self._hub.config.tunnel == "require":
                    made.stream.abort()
                    raise OSError("the peer offers no tunnel, and proxy.tunnel is require")
                return made
            if made is None and not self.wanted(far):
                return await self._plain_one(far)

    def _dial(self, far: Far, group: _Group) -> None:
        group.dialling += 1
        self._hub.spawn(self._dialled(far, group), "proxy tunnel dial")

    async def _dialled(self, far: Far, group: _Group) -> None:
        try:
            made = await self._handshake(far)
        except (OSError, TimeoutError) as error:
            group.dialling -= 1
            for waiter in [each for each in group.waiters if not each.done()]:
                if self.wanted(far):
                    waiter.set_exception(_again(error))
                else:
                    waiter.set_result(None)
            self._forget_if_empty(far, group)
            return
        except BaseException:
            group.dialling -= 1
            raise
        group.dialling -= 1
        waiting = [waiter for waiter in group.waiters if not waiter.done()]
        if isinstance(made, Link):
            if not made.gone:
                self._groups.setdefault(far, group).links.append(made)
                self._sweep_later()
        elif waiting:
            waiting.pop(0).set_result(made)
        else:
            made.stream.abort()
        for waiter in waiting:
            waiter.set_result(None)

    async def _handshake(self, far: Far) -> Link | Secured:
        contexts = self._hub.contexts
        if contexts is None or contexts.tunnel is None:
            raise OSError("no leaf certificate yet")
        made = await self._secured(far, contexts.tunnel)
        self.counted["handshakes"] += 1
        if made.stream.alpn != ALPN:
            self._remember_plain(far)
            return made
        try:
            peer = certificate.read(made.der, client=False)
        except IdentityError:
            return made
        if peer.identity not in far.expected or self._hub.revoked.why(peer):
            return made  # whoever asked refuses it, and says so
        if self._hub.contexts is not contexts:  # a new leaf came meanwhile
            made.stream.abort()
            raise OSError("the leaf was replaced during the handshake")
        link = Link(self, made.stream, peer, self._limits, client=True)
        link.far, link.source = far, self._hub.own_authority()
        link.begin()
        return link

    async def _secured(self, far: Far, context: ssl.SSLContext) -> Secured:
        greeting = Greeting(self._loop.create_future())
        stream = TlsStream(
            greeting,
            self._hub.config,
            context,
            server_side=False,
            server_name=spiffe.server_name(far.expected, far.subset),
        )
        stream.greetings = self._hub.handshakes.outbound
        try:
            async with asyncio.timeout(self._hub.config.upstream_connect_timeout_s):
                await self._loop.create_connection(lambda: stream, far.address, far.port)
                der = await greeting.secured
        except BaseException as error:
            stream.abort()
            tunnel = self._hub.contexts is not None and context is self._hub.contexts.tunnel
            if tunnel and "no application protocol" in str(error).lower().replace("_", " "):
                # Some programs end a handshake that names only protocols they do not know.
                self._remember_plain(far)
            raise
        return Secured(stream, der)

    async def _plain_one(self, far: Far) -> Secured:
        if self._hub.contexts is None:
            raise OSError("no leaf certificate yet")
        self.counted["plain"] += 1
        return await self._secured(far, self._hub.contexts.client)

    async def _own_one(self, far: Far) -> tuple[TlsStream, bytes | None]:
        if self._hub.contexts is None or self._hub.contexts.own is None:
            raise OSError("no leaf certificate yet")
        made = await self._secured(far, self._hub.contexts.own())
        return made.stream, made.der

    def _remember_plain(self, far: Far) -> None:
        if len(self._plain) >= _PLAIN_MAX:
            self._plain.clear()
        self._plain[far.address, far.port] = self._loop.time() + self._limits.plain_s

    # What links tell.

    def link_opened(self, link: Link, channel: Channel, authority: str) -> None:
        """Nobody opens streams toward the side that dialled."""
        link.core.reset(channel)

    def stream_due(self, link: Link, channel: Channel) -> None:
        """It may have a connection of its own."""
        self._own.due(link, channel)

    def stream_offered(self, link: Link, channel: Channel, token: bytes) -> None:
        """The side that dialled makes the offers; the core lets no others through."""

    def link_gone(self, link: Link) -> None:
        """Forget it."""
        for far, group in list(self._groups.items()):
            if link in group.links:
                group.links.remove(link)
                self._forget_if_empty(far, group)

    def _forget_if_empty(self, far: Far, group: _Group) -> None:
        if not (group.links or group.dialling or group.waiters) and self._groups.get(far) is group:
            del self._groups[far]

    @property
    def own(self) -> Crossings:
        """Streams that have a connection of their own."""
        return self._own.crossings

    # Ending.

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(self._limits.idle_s / 4, self._sweep)

    def _sweep(self) -> None:
        """End connections that have carried nothing for long."""
        self._sweeping = None
        before = self._loop.time() - self._limits.idle_s
        links = self._links()
        for link in links:
            if not link.streams and link.idle_since < before:
                link.leave()
        if links:
            self._sweep_later()

    def _links(self) -> list[Link]:
        return [link for group in self._groups.values() for link in group.links]

    def retire(self) -> None:
        """New streams speak for a new leaf; those that stand go on with the old one."""
        links = self._links()
        for group in self._groups.values():
            group.links = []
        for link in links:
            link.leave()

    @property
    def open(self) -> int:
        """How many connections stand."""
        return len(self._links())

    @property
    def streams(self) -> int:
        """How many streams they carry."""
        return sum(link.streams for link in self._links())

    def peers(self) -> Iterator[tuple[str, int]]:
        """Whom each connection leads to, and how many streams it carries."""
        for far, group in self._groups.items():
            for link in group.links:
                yield far.authority, link.streams

    def cut_revoked(self) -> None:
        """Other certificates count no more: no stream begins on one, sessions end the others."""
        for link in self._links():
            if self._hub.revoked.why(link.certificate):
                link.leave()
        self.own.cut_revoked()

    def close(self) -> None:
        """Reset everything."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for link in self._links():
            link.close()
        self._own.close()

    def explain(self) -> dict[str, Any]:
        """Connections and what they carry, for people."""
        return {
            "mode": self._hub.config.tunnel,
            **self.counted,
            "own": self.own.explain(),
            "connections": [
                {
                    "peer": f"{far.address}:{far.port}",
                    "authority": far.authority,
                    "streams": link.streams,
                    "bulk": link.bulk,
                    "refused": {str(status): n for status, n in link.refusals.items()},
                }
                for far, group in self._groups.items()
                for link in group.links
            ],
        }


def _again(error: BaseException) -> OSError:
    """The same failure for one of several that wait."""
    if isinstance(error, NoHandshake):
        return NoHandshake(error.reason, error.detail)
    return OSError(str(error) or "timeout")


class Greeting:
    """The owner of a connection until its handshake is complete, as ``secured`` tells."""

    def __init__(self, secured: asyncio.Future[bytes | None]) -> None:
        self.secured = secured

    def stream_opened(self, stream: Stream) -> None: ...

    def stream_secured(self, stream: Stream, der: bytes | None) -> None:
        if not self.secured.done():
            self.secured.set_result(der)

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None:
        self._fail(reason, detail)

    def stream_over(self, stream: Stream) -> None:
        self._fail("peer_gone", "")

    def stream_lost(self, stream: Stream, reason: str) -> None:
        self._fail(reason, "")

    def _fail(self, reason: str, detail: str) -> None:
        if not self.secured.done():
            self.secured.set_exception(NoHandshake(reason, detail))
            self.secured.exception()  # nobody may be waiting any more
