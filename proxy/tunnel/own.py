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
from proxy.tunnel.channel import Channel
from proxy.tunnel.crossing import Crossing
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
        self._crossings: set[Crossing] = set()
        self.made = 0

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._crossings)

    def due(self, link: Link, channel: Channel) -> None:
        """A stream moves so much that it is worth one."""
        half = channel.handle
        full = self.open + self._dialling >= self._limits.own_streams_max
        if full or link.far is None or not isinstance(half, TunnelStream) or half.crossing:
            return
        if isinstance(half.peer, PlainStream):
            self._dialling += 1
            self._spawn(self._offer(link, link.far, channel, half), "proxy own connection")

    async def _offer(self, link: Link, far: Far, channel: Channel, half: TunnelStream) -> None:
        try:
            async with asyncio.timeout(self._limits.own_wait_s):
                stream, der = await self._dial(far)
        except (OSError, TimeoutError) as error:
            log.debug("a stream stays in its tunnel error=%s", error)
            return
        finally:
            self._dialling -= 1
        if not self._is_peer(stream, der, link) or not half.relays or half.crossing or link.gone:
            stream.abort()
            return
        self.made += 1
        crossing = Crossing(
            half,
            stream,
            block_bytes=self._limits.own_block_bytes,
            forget=self._crossings.discard,
        )
        self._crossings.add(crossing)
        token = secrets.token_bytes(TOKEN_BYTES)
        stream.send(token)
        link.core.offer(channel, token)
        link.schedule()
        asyncio.get_running_loop().call_later(self._limits.own_wait_s, _end_unless_begun, crossing)

    def _is_peer(self, stream: TlsStream, der: bytes | None, link: Link) -> bool:
        if stream.lost or stream.alpn != OWN_ALPN:
            return False
        try:
            peer = certificate.read(der, client=False)
        except IdentityError:
            return False
        return peer.identity == link.certificate.identity and not self._revoked(peer)

    def close(self) -> None:
        """Reset everything."""
        for crossing in list(self._crossings):
            crossing.stop()


def _end_unless_begun(crossing: Crossing) -> None:
    """The peer did not take the offer: the stream stays where it is."""
    if not crossing.begun:
        crossing.stop()
