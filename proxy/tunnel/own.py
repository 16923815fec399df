"""The dialling side of streams that move: a connection of its own for each that moves much."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from proxy import certificate
from proxy.certificate import PeerCertificate
from proxy.errors import IdentityError
from proxy.relay import PlainStream, TlsStream
from proxy.telemetry.own_streams import ENDED, FAILED, FULL, REFUSED, UNANSWERED
from proxy.tunnel.channel import Channel
from proxy.tunnel.crossing import Crossing
from proxy.tunnel.crossings import Crossings
from proxy.tunnel.far import Far
from proxy.tunnel.frames import OWN_ALPN, TOKEN_BYTES
from proxy.tunnel.limits import TunnelLimits
from proxy.tunnel.link import Link
from proxy.tunnel.stream import TunnelStream

log = logging.getLogger("lictor.proxy.tunnel")


class OwnConnections:
    """Streams that were offered one."""

    def __init__(
        self,
        limits: TunnelLimits,
        *,
        dial: Callable[[Far], Awaitable[tuple[TlsStream, bytes | None]]],
        revoked: Callable[[PeerCertificate], str],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._limits = limits
        self._dial = dial
        self._revoked = revoked
        self._spawn = spawn
        self._dialling = 0
        self.crossings = Crossings(revoked, block_bytes=limits.own_block_bytes)

    def due(self, link: Link, channel: Channel) -> None:
        """A stream moves so much that it is worth one."""
        half = channel.handle
        if link.far is None or not isinstance(half, TunnelStream) or half.crossing:
            return
        if not isinstance(half.peer, PlainStream) or not self._limits.own_streams_max:
            return
        if len(self.crossings) + self._dialling >= self._limits.own_streams_max:
            self.crossings.results[FULL] += 1
            return
        self._dialling += 1
        self._spawn(self._offer(link, link.far, channel, half), "proxy own connection")

    async def _offer(self, link: Link, far: Far, channel: Channel, half: TunnelStream) -> None:
        try:
            async with asyncio.timeout(self._limits.own_wait_s):
                stream, der = await self._dial(far)
        except (OSError, TimeoutError) as error:
            log.debug("a stream stays in its tunnel error=%s", error)
            self.crossings.results[FAILED] += 1
            return
        finally:
            self._dialling -= 1
        peer = self._peer(stream, der, link)
        if peer is None or not half.relays or half.crossing or link.gone:
            self.crossings.results[ENDED if peer else REFUSED] += 1
            stream.abort()
            return
        crossing = self.crossings.add(half, stream, peer)
        token = secrets.token_bytes(TOKEN_BYTES)
        stream.send(token)
        link.core.offer(channel, token)
        link.schedule()
        asyncio.get_running_loop().call_later(
            self._limits.own_wait_s, self._end_unless_begun, crossing
        )

    def _peer(self, stream: TlsStream, der: bytes | None, link: Link) -> PeerCertificate | None:
        """Who is there; None where that is not the one that the tunnel leads to."""
        if stream.lost or stream.alpn != OWN_ALPN:
            return None
        try:
            peer = certificate.read(der, client=False)
        except IdentityError:
            return None
        same = peer.identity == link.certificate.identity
        return peer if same and not self._revoked(peer) else None

    def _end_unless_begun(self, crossing: Crossing) -> None:
        """The peer did not take the offer: the stream stays where it is."""
        if not crossing.begun and not crossing.stopped:
            self.crossings.results[UNANSWERED] += 1
            crossing.stop()

    def close(self) -> None:
        """Reset everything."""
        self.crossings.close()
