"""The HTTP side of a proxy: its connections, the hosts of its upstreams, its kept connections.

Owns tasks and streams and decides nothing about a request: that do ``inbound`` and ``outbound``.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from proxy.ages import Ages
from proxy.authz import Policy
from proxy.certificate import PeerCertificate
from proxy.config import ProxyConfig
from proxy.effects import Record
from proxy.errors import PipeClosed
from proxy.http2.clients import Links
from proxy.http2.server import Server
from proxy.http2.turns import Turns
from proxy.jwt import Jose
from proxy.key_sets import KeySets
from proxy.l7.exposed import ExposedHttp, may_ask
from proxy.l7.guard import Guard, GuardConfig
from proxy.l7.inbound import InboundHttp, Told
from proxy.l7.ingress import IngressListener
from proxy.l7.ingress_http import IngressHttp
from proxy.l7.outbound import OutboundHttp
from proxy.l7.pipe import TUNNELLED, Pipe
from proxy.l7.pool import Pool
from proxy.l7.request_state import Surroundings, UpstreamState
from proxy.l7.serve import Handler, serve
from proxy.l7.short import Planner, ShortWay
from proxy.l7.upstreams import HTTP2, Upstreams
from proxy.permissions import FullMatch, no_patterns
from proxy.places import Places
from proxy.relay import Owner, PlainStream, TlsStream
from proxy.revocations import Revocations
from proxy.source import AppAddress, ExposedPath, MeshState, UpstreamSpec
from proxy.stats import HttpStats
from proxy.telemetry.connections import ConnectionMetrics, HandshakeMetrics
from proxy.telemetry.entry import EXPOSED, IN, OUT
from proxy.telemetry.family import Family, Histograms
from proxy.telemetry.observer import Hop, Observer
from proxy.telemetry.outlets import Outlets
from proxy.telemetry.standing import families, shown
from proxy.tls import Contexts
from proxy.tunnel.pool import Tunnels
from proxy.tunnel.stream import TunnelStream

#: Protocols whose requests this version reads.
HTTP = frozenset({"http", "http2", "grpc"})


class Hub(Protocol):
    """What the HTTP side needs of the proxy that it belongs to."""

    config: ProxyConfig
    contexts: Contexts | None
    policy: Policy | None
    tunnels: Tunnels
    ages: Ages
    revoked: Revocations
    handshakes: HandshakeMetrics
    connections: ConnectionMetrics
    places: Places

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...
    def record(self, record: Record) -> None: ...


class Gateway:
    """Everything about HTTP in one proxy."""

    def __init__(
        self,
        hub: Hub,
        *,
        rng: random.Random,
        full_match: FullMatch = no_patterns,
        jose: Jose | None = None,
    ) -> None:
        self._hub = hub
        self._limits = hub.config.http_limits
        self._full_match = full_match
        self._loop = asyncio.get_running_loop()
        self._state = MeshState()
        self._pool, self._links = self._connections(hub)
        self._key_sets = KeySets(jose, spawn=hub.spawn, now=self._loop.time, wall=time.time)
        self._servers: set[Server] = set()
        self._turns = Turns()
        self._leaving = False
        self._pipes: set[Pipe] = set()
        self._handlers: dict[Pipe, InboundHttp] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.stats = HttpStats()
        self.observer = Observer(now=time.monotonic, wall=time.time, rng=rng)
        self._telemetry = Outlets(self.observer, hub.spawn)
        self._around = Surroundings(
            pool=self._pool,
            limits=self._limits,
            contexts=lambda: hub.contexts,
            trust_domain=lambda: self._state.trust_domain,
            full_match=full_match,
            rng=rng,
            now=self._loop.time,
            wall=time.time,
            sleep=asyncio.sleep,
            spawn=hub.spawn,
            upstream=lambda service: self._upstreams.named(service),
            upgrades=lambda: self._state.own.upgrades if self._state.own else (),
            timed_out=self.observer.metrics.timed_out,
        )
        self._around2 = replace(self._around, pool=self._links)
        self._upstreams = Upstreams(self._around, self._around2, forget=self._forget_place)
        self._guard = Guard(GuardConfig(), self._loop.time(), rng)

    def _connections(self, hub: Hub) -> tuple[Pool, Links]:
        """What keeps connections to hosts, for either version of HTTP."""

        def revoked() -> Revocations:
            return hub.revoked

        known, clock, out = (hub.config, self._limits), self._loop.time, hub.handshakes.outbound
        links = Links(*known, now=clock, spawn=hub.spawn, revoked=revoked, greetings=out)
        return Pool(*known, revoked=revoked, tunnels=hub.tunnels), links

    # Following the source.

    def update(self, state: MeshState) -> None:
        """Work by this state."""
        before, self._state = self._state, state
        if state.own is not None and state.own.guard != self._guard.config:
            before_it, now = self._guard, self._loop.time()
            self._guard = Guard(state.own.guard, now, self._around.rng)
            self._guard.succeed(before_it)
        self._telemetry.update(state, before)
        if state.providers != before.providers:
            self._key_sets.update(state.providers)
        if (state.leaf, state.roots_pem) != (before.leaf, before.roots_pem):
            self._forget()  # kept connections speak for the old leaf
        self._upstreams.update(state)

    def serves_inbound(self) -> bool:
        """Whether the own service speaks HTTP."""
        return self._state.protocol in HTTP

    def serves_outbound(self, upstream: UpstreamSpec) -> bool:
        """Whether an upstream's chain is one of requests."""
        known = self._upstreams.get(upstream.key)
        return known is not None and known.chain.protocol in HTTP

    def rules_changed(self) -> None:
        """Decide again about the requests that are under way."""
        stream_s, request_s = self._hub.ages.stream_s, self._hub.config.intention_finish_s
        for pipe, handler in list(self._handlers.items()):
            denied = handler.rules_changed(stream_s=stream_s, request_s=request_s)
            if denied and pipe.peer is not None:
                uri, told = pipe.peer.identity.uri, f"{denied} requests under way"
                self._record("cut", "intention_changed", uri, told)

    def revoked(self) -> None:
        """Other certificates count no more: reset what stands on one."""
        for pipe in list(self._pipes):
            why = self._hub.revoked.why(pipe.peer) if pipe.peer is not None else ""
            if why and pipe.peer is not None:
                self._record("cut", "certificate_revoked", pipe.peer.identity.uri, why)
                pipe.abort()
        if cut := self._pool.cut_revoked() + self._links.cut_revoked():
            self._record("cut", "certificate_revoked", "", f"{cut} connections to hosts")

    # Accepting.

    def accept_inbound(self, contexts: Contexts) -> TlsStream:
        """The protocol for a connection from the mesh."""
        pipe = Pipe(self._limits, accepted=True)
        speaks2 = self._state.protocol in HTTP2 and contexts.http2 is not None
        context = contexts.http2[0] if speaks2 and contexts.http2 else contexts.server
        stream = TlsStream(pipe, self._hub.config, context, server_side=True)
        self._adopt(pipe, self._inbound(pipe), IN, self._state.protocol)
        return stream

    def accept_stream(self, peer: PeerCertificate, make: Callable[[Owner], TunnelStream]) -> None:
        """A stream of a tunnel: as a connection from the mesh whose handshake is complete."""
        pipe = Pipe(self._limits, accepted=True)
        pipe.joined_to(make(pipe), peer)
        self._adopt(pipe, self._inbound(pipe), IN, self._state.protocol)

    def accept_outbound(self, upstream: UpstreamSpec, source: str = "") -> asyncio.Protocol:
        """The protocol for a connection of the local application; ``source`` is the address that
        it says it comes from."""
        pipe = Pipe(self._limits)
        stream = PlainStream(pipe, self._hub.config, accepted=True)
        protocol = self._upstreams[upstream.key].chain.protocol
        self._adopt(pipe, self._outbound(pipe, stream, upstream, source), OUT, protocol)
        return stream

    def accept_exposed(self, exposed: ExposedPath) -> asyncio.Protocol:
        """The protocol for a connection to an exposed path."""
        pipe = Pipe(self._limits)
        stream = PlainStream(pipe, self._hub.config, accepted=True)
        self._adopt(pipe, self._exposed(pipe, stream, exposed), EXPOSED, "http")
        return stream

    def accept_ingress(
        self, door: IngressListener, secured: TlsStream | None = None
    ) -> asyncio.Protocol:
        """The protocol for a connection from outside the mesh; of a secured one its handshake is
        complete."""
        pipe = Pipe(self._limits)
        stream = secured or PlainStream(pipe, self._hub.config, accepted=True)
        if secured is not None:
            secured.owner, pipe.tls = pipe, secured.version
            pipe.stream_opened(secured)
        self._adopt(pipe, self._ingress(pipe, stream, door), OUT, door.protocol)
        return stream

    def _adopt(
        self, pipe: Pipe, work: Coroutine[Any, Any, None], direction: str, protocol: str
    ) -> None:
        self._pipes.add(pipe)
        self._idle.clear()
        self.stats.open += 1
        self.stats.inbound_open += direction == IN
        self._hub.connections.began(direction, protocol)
        gone = functools.partial(self._gone, pipe, direction, protocol, self._loop.time())
        self._hub.spawn(work, f"proxy http {direction}").add_done_callback(gone)

    def _gone(
        self, pipe: Pipe, direction: str, protocol: str, began_at: float, task: object
    ) -> None:
        self._pipes.discard(pipe)
        self._handlers.pop(pipe, None)
        self.stats.open -= 1
        self.stats.inbound_open -= direction == IN
        if pipe.tunnelled:
            self._hub.connections.never_was(direction, protocol)
        else:
            self._hub.connections.ended(direction, protocol, self._loop.time() - began_at)
        if not self._pipes:
            self._idle.set()

    async def _inbound(self, pipe: Pipe) -> None:
        own, hub = self._state.own, self._hub
        assert own is not None
        try:
            async with asyncio.timeout(own.handshake_timeout_s or hub.config.handshake_timeout_s):
                peer = await pipe.secured
        except TimeoutError:
            self._record("handshake", "handshake_timeout", "", "")
            pipe.abort()
            return
        except PipeClosed as error:
            reason, _, detail = str(error).partition(": ")
            if reason == TUNNELLED:
                return
            self._record("handshake", reason, "", detail)
            pipe.finish()
            return
        why = hub.revoked.why(peer)
        if why:
            self._record("handshake", "certificate_revoked", peer.identity.uri, why)
            pipe.finish()
            return
        policy = hub.policy
        assert policy is not None, "a listener opens once there is a policy"
        decision = policy.decide(peer.identity)
        rule = decision.rule
        by_request = rule is not None and (rule.permissions or rule.providers)
        if not decision.allowed and not by_request:
            self.observer.connected(peer.identity.uri, decision)
            self._record("denied", "intention_denied", peer.identity.uri, decision.reason)
            pipe.finish()
            return
        if not by_request:
            self.observer.decided(peer.identity.uri, decision)
        handler = InboundHttp(
            client=peer.identity,
            pipe=pipe,
            pool=self._links if self._state.protocol in HTTP2 else self._pool,
            app=lambda: hub.places.next((self._state.own or own).app),
            limits=self._limits,
            connect_timeout_s=own.local_connect_timeout_s or hub.config.local_connect_timeout_s,
            request_timeout_s=own.local_request_timeout_s or hub.config.local_request_timeout_s,
            policy=lambda: hub.policy or policy,
            full_match=self._full_match,
            key_sets=self._key_sets,
            guard=lambda: self._guard,
            tell=lambda told: self._told(told, peer.identity.uri),
            now=self._loop.time,
            limit=lambda: asyncio.timeout(None),
            later=self._loop.call_later,
            upgrades=self._around.upgrades,
            underscored=lambda: self._state.underscored,
        )
        self._handlers[pipe] = handler
        hop = self._hop(pipe, IN, self._state.protocol, peer.identity.uri)
        if self._state.protocol not in HTTP2:
            self._shorten(pipe, handler.plan, hop)
        handle = self.observer.watched(handler.handle, hop)
        with hub.ages.watching(peer, handler.grown_old):
            await self._serve(pipe, handle, self._state.protocol, hop)

    def _hop(self, pipe: Pipe, direction: str, protocol: str, peer: str = "") -> Hop:
        own = self._state.own
        return Hop(
            direction=direction, service=own.name if own else "", peer=peer, protocol=protocol,
            datacenter=self._state.datacenter, peer_address=pipe.peer_address, tls=pipe.tls,
        )  # fmt: skip

    def _shorten(self, pipe: Pipe, plan: Planner, hop: Hop) -> None:
        """Let plain requests of a connection go the short way, from its first on."""
        pipe.between = True
        pipe.taker = ShortWay(
            pipe, plan, self.observer, hop, self._limits,
            leaving=lambda: self._leaving, on_violation=self._violated,
        )  # fmt: skip

    async def _serve(
        self, pipe: Pipe, handle: Handler, protocol: str, hop: Hop | None = None
    ) -> None:
        """``hop`` is None for what nobody watches."""
        pipe.begin()
        if protocol not in HTTP2:
            refused = functools.partial(self.observer.refused, hop)
            await serve(
                pipe, handle, self._limits, on_violation=self._violated, on_refused=refused,
                leaving=lambda: self._leaving,
            )  # fmt: skip
            return
        server = Server(
            pipe, handle, self._limits, on_violation=self._violated, now=self._loop.time,
            turns=self._turns,
        )  # fmt: skip
        self._servers.add(server)
        try:
            await server.run()
        finally:
            self._servers.discard(server)

    async def _exposed(self, pipe: Pipe, stream: PlainStream, exposed: ExposedPath) -> None:
        await pipe.opened.wait()
        own, config = self._state.own, self._hub.config
        name = stream.transport.get_extra_info("peername")
        here = (stream.transport.get_extra_info("sockname") or ("",))[0]
        if own is None or not isinstance(name, tuple) or not may_ask(exposed, name[0], here):
            self._record("refused", "not_exposed_to", "", str(name))
            pipe.abort()
            return
        handler = ExposedHttp(
            exposed.path,
            AppAddress(own.app.address, exposed.local_port),
            self._pool,
            self._limits,
            connect_timeout_s=own.local_connect_timeout_s or config.local_connect_timeout_s,
            request_timeout_s=own.local_request_timeout_s or config.local_request_timeout_s,
        )
        await self._serve(pipe, handler.handle, "http")

    async def _outbound(
        self, pipe: Pipe, stream: PlainStream, upstream: UpstreamSpec, source: str
    ) -> None:
        await pipe.opened.wait()
        name = stream.transport.get_extra_info("peername")
        source_ip = source or (name[0] if isinstance(name, tuple) else "")
        gone = UpstreamState(service=upstream.name, chain=self._upstreams[upstream.key].chain)
        protocol = gone.chain.protocol
        around = self._around2 if protocol in HTTP2 else self._around
        handler = OutboundHttp(
            lambda: self._upstreams.get(upstream.key, gone), pipe, around, source_ip
        )
        hop = self._hop(pipe, OUT, protocol)
        if protocol not in HTTP2:
            self._shorten(pipe, handler.plan, hop)
        await self._serve(pipe, self.observer.watched(handler.handle, hop), protocol, hop)

    async def _ingress(
        self, pipe: Pipe, stream: PlainStream | TlsStream, door: IngressListener
    ) -> None:
        await pipe.opened.wait()
        name = stream.transport.get_extra_info("peername")
        source_ip = name[0] if isinstance(name, tuple) else ""
        made: dict[str, OutboundHttp] = {}

        def now() -> IngressListener:
            own = self._state.own
            return next((d for d in (own.ingress if own else ()) if d.port == door.port), door)

        def onward(service: str) -> OutboundHttp | None:
            state = self._upstreams.named(service)
            handler = made.get(service)
            if state is not None and handler is None:
                around = self._around2 if state.chain.protocol in HTTP2 else self._around
                known = state
                handler = made[service] = OutboundHttp(
                    lambda: self._upstreams.named(service) or known, pipe, around, source_ip
                )
            return None if state is None else handler

        hop = self._hop(pipe, OUT, door.protocol)
        served = IngressHttp(now, onward, source_ip)
        if door.protocol not in HTTP2:
            self._shorten(pipe, served.plan, hop)
        await self._serve(pipe, self.observer.watched(served.handle, hop), door.protocol, hop)

    def _told(self, told: Told, source: str) -> None:
        event = "audited" if told.allowed else "denied"
        self.stats.audited += told.allowed
        self.stats.denied += not told.allowed
        about = f"{told.reason} [{told.method} {told.path}] reference={told.reference}"
        self._record(event, f"intention_{event}", source, about)

    def _violated(self, text: str) -> None:
        self.stats.violations += 1
        self.observer.metrics.rejected(text)
        self._record("request", "bad_request", "", text)

    def _record(self, event: str, reason: str, source: str, detail: str) -> None:
        own = self._state.own
        name = own.name if own else ""
        self._hub.record(
            Record(event=event, reason=reason, source=source, destination=name, detail=detail)
        )

    # Ending.

    async def drained(self, timeout_s: float) -> bool:
        """Wait until no connection is left; whether that came true."""
        self._leaving = True  # answers say so; whoever asks nothing more is left to its idle time
        for server in list(self._servers):
            server.session.leave()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        finally:
            self._forget()
        return True

    def _forget_place(self, address: str, port: int) -> None:
        self._pool.forget_place(address, port)
        self._links.forget_place(address, port)

    def _forget(self) -> None:
        self._pool.forget()
        self._links.forget()

    def close(self) -> None:
        """Reset what is open."""
        self._telemetry.close()
        self._pool.forget()
        self._links.close()
        for pipe in list(self._pipes):
            pipe.abort()

    async def told(self) -> None:
        """Until the access log is written."""
        if self._telemetry.file is not None:
            await self._telemetry.file.close()

    def clients(self) -> dict[str, int]:
        """Connections from the mesh that stand, by the client's SPIFFE URI."""
        return Counter(pipe.peer.identity.uri for pipe in self._pipes if pipe.peer is not None)

    def explain(self) -> dict[str, Any]:
        """Upstreams, their hosts and the hosts' standing, for people."""
        return shown(self._upstreams, self._loop.time())

    def metrics(
        self,
        gauges: Mapping[str, float],
        counters: Mapping[str, float],
        events: Mapping[tuple[str, str], int],
        more: Iterable[Family | Histograms],
    ) -> str:
        """The Prometheus text of the whole proxy: what it counts itself, and all about requests."""
        metrics = self.observer.metrics
        told = (
            dict(counters)
            | self._telemetry.counted()
            | {
                "requests_short": self.observer.short,
                "denied_requests": self.stats.denied,
            }
        )
        standing = families(
            self._upstreams.values(), events, self._guard, self._loop.time(),
            per_endpoint=metrics.per_endpoint,
        )  # fmt: skip
        return metrics.text(gauges, told, [*more, *standing])
