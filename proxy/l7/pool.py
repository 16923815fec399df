"""Connections to hosts, kept for the next request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy import app_dial, spiffe
from proxy.config import ProxyConfig
from proxy.errors import PipeClosed
from proxy.l7.limits import HttpLimits
from proxy.l7.pipe import Pipe
from proxy.l7.relaying import Exchange
from proxy.relay import TlsStream
from proxy.revocations import NONE, Revocations
from proxy.source import AppAddress
from proxy.spiffe import SpiffeId
from proxy.telemetry.greetings import Greetings
from proxy.tls import Contexts
from proxy.tunnel.far import Far
from proxy.tunnel.pool import Secured, Tunnels


@dataclass(frozen=True, slots=True)
class Peer:
    """A host over mTLS: where it is, whose identity it must have, as which subset it is asked."""

    address: str
    port: int
    expected: frozenset[SpiffeId]
    subset: str = ""


class Connections(Protocol):
    """Ways to hosts, for one request each."""

    def kept(self, to: Peer | AppAddress, now: float) -> Pipe | Exchange | None: ...

    def keep(self, to: Peer | AppAddress, pipe: Pipe | Exchange, now: float) -> None: ...

    async def dial(
        self, to: Peer | AppAddress, contexts: Contexts | None, timeout_s: float
    ) -> Pipe | Exchange: ...


class Pool:
    """Idle connections by where they lead."""

    def __init__(
        self,
        config: ProxyConfig,
        limits: HttpLimits,
        *,
        http2: bool = False,
        revoked: Callable[[], Revocations] = lambda: NONE,
        tunnels: Tunnels | None = None,
        greetings: Greetings | None = None,
    ) -> None:
        """``greetings`` is where handshakes are counted that are no tunnel's."""
        self._greetings = greetings
        self._tunnels = tunnels
        self._http2 = http2
        self._revoked = revoked
        #: Every connection over mTLS that is not lost.
        self._dialled: set[Pipe] = set()
        self._config = config
        self._limits = limits
        self._idle: dict[Peer | AppAddress, deque[tuple[float, Pipe]]] = {}

    def kept(self, to: Peer | AppAddress, now: float) -> Pipe | None:
        """A connection that can be used again, the one used last."""
        idle = self._idle.get(to)
        while idle:
            since, pipe = idle.pop()
            pipe.kept = False
            if pipe.untouched and now - since < self._limits.upstream_idle_s:
                return pipe
            pipe.abort()
        return None

    def keep(self, to: Peer | AppAddress, pipe: Pipe | Exchange, now: float) -> None:
        """A request is over and its connection is whole."""
        assert isinstance(pipe, Pipe), "it was given out here"
        idle = self._idle.setdefault(to, deque())
        if not pipe.untouched or len(idle) >= self._limits.idle_connections_max:
            pipe.finish()
            return
        pipe.kept = True
        idle.append((now, pipe))

    def forget(self, to: Peer | AppAddress | None = None) -> None:
        """Close what is kept for one place, or for all."""
        for key in list(self._idle) if to is None else [to]:
            for _, pipe in self._idle.pop(key, ()):
                pipe.finish()

    def forget_place(self, address: str, port: int) -> None:
        """A host is gone: nothing is kept for it."""
        for key in [key for key in self._idle if (key.address, key.port) == (address, port)]:
            self.forget(key)

    def cut_revoked(self) -> int:
        """Reset connections to holders of certificates that count no more; gives how many."""
        revoked = self._revoked()
        gone = [each for each in self._dialled if each.peer and revoked.why(each.peer)]
        for pipe in gone:
            pipe.abort()
        return len(gone)

    async def dial(
        self, to: Peer | AppAddress, contexts: Contexts | None, timeout_s: float
    ) -> Pipe:
        """A new connection. Raises OSError (PipeClosed for a wrong identity) and TimeoutError."""
        pipe = Pipe(self._limits)
        try:
            async with asyncio.timeout(timeout_s):
                if isinstance(to, AppAddress):
                    await self._dial_app(to, pipe)
                else:
                    await self._dial_peer(to, pipe, contexts)
        except BaseException:
            self._dialled.discard(pipe)
            pipe.abort()
            raise
        pipe.begin()
        return pipe

    async def _dial_app(self, to: AppAddress, pipe: Pipe) -> None:
        alpn = ("h2" if self._http2 else "http/1.1") if to.tls else ""
        await app_dial.connect(pipe, self._config, to, alpn)

    async def _dial_peer(self, to: Peer, pipe: Pipe, contexts: Contexts | None) -> None:
        if contexts is None:
            raise PipeClosed("no leaf certificate yet")
        if not self._http2 and self._tunnels is not None and len(to.expected) == 1:
            await self._dial_tunnel(to, pipe, self._tunnels)
            await self._check(to, pipe)
            return
        context = contexts.http2[1] if self._http2 and contexts.http2 else contexts.client
        name = spiffe.server_name(to.expected, to.subset)
        stream = TlsStream(pipe, self._config, context, server_side=False, server_name=name)
        stream.greetings = self._greetings
        await asyncio.get_running_loop().create_connection(lambda: stream, to.address, to.port)
        await self._check(to, pipe)

    async def _dial_tunnel(self, to: Peer, pipe: Pipe, tunnels: Tunnels) -> None:
        """A stream of a warm connection where the host has tunnels, else one of its own."""
        (who,) = to.expected
        authority = f"{who.name}.{who.datacenter}"
        far = Far(to.address, to.port, to.expected, authority, to.subset)
        made = await tunnels.connect(far, pipe)
        if not isinstance(made, Secured):
            pipe.joined_to(*made)
            return
        made.stream.owner = pipe
        pipe.stream_opened(made.stream)
        if made.stream.lost:
            raise PipeClosed("the connection broke at once")
        pipe.stream_secured(made.stream, made.der)

    async def _check(self, to: Peer, pipe: Pipe) -> None:
        """Whoever answered must be whom we meant, by a certificate that counts."""
        self._dialled.add(pipe)
        pipe.on_lost = self._dialled.discard
        peer = await pipe.secured
        why = self._revoked().why(peer)
        if why:
            raise PipeClosed(f"certificate_revoked: {why}")
        if peer.identity not in to.expected:
            raise PipeClosed(f"identity_mismatch: {peer.identity.uri}")
