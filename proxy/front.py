"""TLS toward clients that are in no mesh: the handshake, before anybody else hears of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from proxy.config import ProxyConfig
from proxy.errors import TlsMaterialError
from proxy.relay import Stream, TlsStream
from proxy.source import LeafPair
from proxy.tls import front
from proxy.tls_range import TlsRange

#: What is spoken inside, by the listener's protocol; a listener for bytes names nothing.
_ALPN = {"http": "http/1.1", "http2": "h2", "grpc": "h2"}


class Fronts:
    """The contexts of one certificate, made when they are wanted."""

    def __init__(self) -> None:
        self._leaf: LeafPair | None = None
        self._made: dict[tuple[TlsRange, str], ssl.SSLContext] = {}

    def update(self, leaf: LeafPair | None) -> None:
        """Handshakes from now on show this certificate."""
        if leaf != self._leaf:
            self._leaf = leaf
            self._made.clear()

    def context(self, allowed: TlsRange, protocol: str) -> ssl.SSLContext:
        """Raises TlsMaterialError."""
        if self._leaf is None:
            raise TlsMaterialError("no leaf certificate yet")
        key = allowed, _ALPN.get(protocol, "")
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = front(self._leaf, *key)
        return found


class Front:
    """The owner of a connection until its handshake is complete; ``take`` is the next one."""

    def __init__(
        self,
        config: ProxyConfig,
        context: ssl.SSLContext,
        take: Callable[[TlsStream], object],
        failed: Callable[[str], None],
    ) -> None:
        self._take, self._failed = take, failed
        self._timeout_s = config.handshake_timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self.stream = TlsStream(self, config, context, server_side=True)

    def stream_opened(self, stream: Stream) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._late)

    def stream_secured(self, stream: Stream, der: bytes | None) -> None:
        self._disarm()
        self._take(self.stream)

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None:
        if self._timer is not None:
            self._disarm()
            self._failed(reason)
            stream.abort()

    def stream_over(self, stream: Stream) -> None:
        self.stream_insecure(stream, "peer_gone", "")

    def stream_lost(self, stream: Stream, reason: str) -> None:
        self.stream_insecure(stream, reason, "")

    def _late(self) -> None:
        self.stream_insecure(self.stream, "handshake_timeout", "")

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
