"""A whole proxy in one event loop: follows its `Source` and owns listeners and connections.

Decides nothing about a connection (`connection` does); it keeps what all connections share (the
contexts, the policy, the endpoints of each upstream) in step with the source, and finds whom a
change concerns: by client identity, so that new rules cost by distinct clients, not connections.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from proxy import admin, revocations, stats, tls
from proxy.admin import Admin
from proxy.ages import Ages
from proxy.authz import Policy
from proxy.balance.round_robin import RoundRobin, follow
from proxy.certificate import PeerCertificate
from proxy.config import ProxyConfig
from proxy.connection import Inbound, Outbound
from proxy.doors import Doors, Refused, Wing, is_told, listen_on, opens
from proxy.effects import Record
from proxy.errors import TlsMaterialError
from proxy.handover import Inheritance
from proxy.jwt import Jose
from proxy.l7.gateway import Gateway
from proxy.l7.ingress import IngressListener
from proxy.listeners import ListenOn
from proxy.opened import Opened, Wanted
from proxy.passthrough import PassThrough
from proxy.permissions import FullMatch, no_patterns
from proxy.places import Places
from proxy.porch import Porch
from proxy.relay import Owner, PlainStream, TlsStream
from proxy.revocations import Revocations
from proxy.session import Session
from proxy.sessions import Sessions, told_to
from proxy.source import (
    AppAddress,
    Endpoint,
    ExposedPath,
    MeshState,
    OwnService,
    Source,
    UpstreamSpec,
)
from proxy.stats import ProxyStats
from proxy.telemetry.connections import HandshakeMetrics, of_tunnels
from proxy.telemetry.entry import IN, OUT
from proxy.telemetry.own_streams import of_own
from proxy.tls import Contexts
from proxy.tunnel.accepted import AcceptedLinks
from proxy.tunnel.pool import Tunnels
from proxy.tunnel.stream import TunnelStream
from proxy.waiting import set_within
from proxy.workers import Place

log = logging.getLogger("lictor.proxy.server")

PUBLIC = "public"


class Proxy:
    """A connect proxy: `start`, then `drain` or `close`."""

    def __init__(
        self,
        source: Source,
        config: ProxyConfig | None = None,
        *,
        rng: random.Random | None = None,
        full_match: FullMatch = no_patterns,
        jose: Jose | None = None,
    ) -> None:
        self.config = config or ProxyConfig()
        self.contexts: Contexts | None = None
        self._source = source
        self._rng = rng or random.Random()
        self._full_match = full_match
        self._jose = jose
        self._http: Gateway = None  # type: ignore[assignment]
        self.tunnels: Tunnels = None  # type: ignore[assignment]
        self.porch: Porch = None  # type: ignore[assignment]
        self._accepted = AcceptedLinks(
            self.config.tunnel_limits,
            authority=self.own_authority,
            take=self._take_stream,
            revoked=lambda peer: self.revoked.why(peer),
        )
        self._loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]
        self._state = MeshState()
        self.policy: Policy | None = None
        self.revoked: Revocations = revocations.NONE
        self._opened = Opened(self.config, self.spawn)
        self.listeners = self._opened.listeners
        self._doors = Doors(self)
        self._balancers: dict[str, RoundRobin] = {}
        self.ages = Ages(self.config, self._rng)
        #: Whose turn it is of the places of the application.
        self.places = Places(self._rng)
        #: Sockets of the process before us, until all that is wanted is open.
        self.inheritance: Inheritance | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stats = ProxyStats()
        self._sessions = Sessions(self.config, self._stats)
        self.handshakes = HandshakeMetrics()
        self.connections = self._stats.connections
        self._denials: deque[Record] = deque(maxlen=self.config.denials_kept_max)
        self._closed = False
        self._admin: Admin | None = None
        #: Of a gateway that stands for services: their proxies.
        self.wing: Wing | None = None

    # Life.

    async def start(self) -> None:
        """Follow the source from now on."""
        self._loop = asyncio.get_running_loop()
        self.porch = Porch(lambda: self.config, self.handshakes.inbound, self._met)
        self.tunnels = Tunnels(self)
        self._http = Gateway(self, rng=self._rng, full_match=self._full_match, jose=self._jose)
        self._sessions.tell = told_to(self._http.observer, lambda: self._state)
        self._source.subscribe(self._apply)
        self._apply(self._source.state)

    async def drain(self, *, grace_s: float | None = None) -> None:
        """Stop in order (contract D.11): go on accepting a while, close, let connections finish."""
        await asyncio.sleep(self.config.drain_grace_s if grace_s is None else grace_s)
        self._opened.close()
        self._accepted.leave()
        now = self._loop.time()
        for session in self._sessions:
            session.run(session.core.drain(self.config.drain_timeout_s, now=now))
        until = now + self.config.drain_timeout_s + 1.0
        await set_within(self.porch.empty, until - now)  # who has come in time is served
        if not await set_within(self._sessions.idle, until - now):
            log.warning("connections did not drain left=%d", len(self._sessions))
        if not await self._http.drained(max(0.0, until - self._loop.time())):
            log.warning("requests did not drain left=%d", self._http.stats.open)
        await self.close()

    async def close(self) -> None:
        """Stop at once: listeners, connections, tasks."""
        self._closed = True
        if self._admin is not None:
            self._admin.close()
        self._opened.close()
        for session in self._sessions:
            session.abort("shutdown")
        if self._http is not None:
            self.porch.close()
            self._http.close()
            self.tunnels.close()
        self._accepted.close()
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.told()
        if not await set_within(self._sessions.idle, 1.0):
            log.warning("connections survived the end left=%d", len(self._sessions))

    # What others may see.

    def stats(self) -> ProxyStats:
        """The counters as they stand."""
        self._stats.source_age_s = self._source.age_s()
        self._stats.source_rejects = self._source.rejected
        self._stats.leaf_not_after_at = self.contexts.not_after_at if self.contexts else 0.0
        return self._stats

    def explain(self) -> dict[str, Any]:
        """What this proxy knows and why it refused: for people."""
        return {
            **stats.shown(self._state, self.listeners, self.policy),
            "handshakes": self.porch.explain(),
            "clients": self._sessions.clients(),
            "http_clients": self._http.clients(),
            "http": self._http.explain(),
            "tunnels": {"out": self.tunnels.explain(), "in": self._accepted.explain()},
            "denials": list(self._denials),
            **({"linked": self.wing.explain()} if self.wing is not None else {}),
        }

    async def open_admin(
        self, host: str = "127.0.0.1", port: int = admin.PORT, place: Place | None = None
    ) -> int:
        """Open the listener for metrics and people; the port that it got, 0 for none."""
        self._admin = Admin(
            self._http.observer,
            config=self.config,
            spawn=self.spawn,
            explain=self.explain,
            metrics=self.metrics,
            place=place,
        )
        await self._admin.open(host, port)
        return self._admin.port

    def metrics(self) -> str:
        """All metrics in the Prometheus text format."""
        found, tunnels = self.stats(), ((OUT, self.tunnels), (IN, self._accepted))
        gauges, counters = stats.counted(
            found,
            handshakes=self.handshakes.inbound.open,
            roots=len(self._state.roots_pem),
            now=time.time(),
        )
        peers = ((name, streams) for _, each in tunnels for name, streams in each.peers())
        more = [*self.connections.families(), *self.handshakes.families(), *of_tunnels(peers)]
        more += of_own((way, each.own.standing()) for way, each in tunnels)
        own = self._http.metrics(gauges, counters, found.events, more)
        return self.wing.metrics(own) if self.wing is not None else own

    def port(self, listener: str = PUBLIC) -> int:
        """The port that a listener really has: the public one, or an upstream's by its key."""
        found = self.listeners.get(listener)
        return found.port if found else 0

    @property
    def serving(self) -> bool:
        """Whether everything that is wanted is open."""
        wings = self.wing is None or self.wing.ready
        return wings and self._knows() and all(each.is_open for each in self.listeners.values())

    def _knows(self) -> bool:
        """Whether connections can be served, as far as that lies with what we were told."""
        return self.contexts is not None and self.policy is not None and is_told(self._state)

    # The hub of sessions.

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with the proxy."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("task failed name=%s", task.get_name(), exc_info=task.exception())

    def record(self, record: Record) -> None:
        """Count; remember and log what was refused or cut."""
        self._stats.events[record.event, record.reason] += 1
        if record.quiet:
            log.debug("connection %s reason=peer_gone detail=%r", record.event, record.detail)
            return
        if record.event in {"denied", "cut", "identity", "handshake"}:
            self._denials.append(record)
        log.info(
            "connection %s reason=%s source=%s destination=%s detail=%r",
            record.event, record.reason, record.source or "-", record.destination, record.detail,
        )  # fmt: skip

    def identified(self, session: Session) -> None:
        """It is known who an inbound connection is from."""
        self._sessions.identified(session)
        identity, decision = session.identity, session.decision
        if identity is not None and decision is not None:
            self._http.observer.connected(identity.uri, decision)

    def handed_over(self, session: Session) -> None:
        """It is a tunnel: its streams are counted."""
        self._sessions.ended(session, self._loop.time(), tunnel=True)

    def ended(self, session: Session) -> None:
        """A connection is gone."""
        self._sessions.ended(session, self._loop.time())

    # Following the source.

    def _apply(self, state: MeshState) -> None:
        if self._closed:
            return
        before, self._state = self._state, state
        self._stats.config_version += 1
        news = ("leaf", "roots_pem", "tls")
        if any(getattr(state, each) != getattr(before, each) for each in news):
            self._new_contexts(state)
        self._new_revocations(state)
        self._new_policy(state)
        self._http.update(state)
        if state.own is not None:
            keys = [upstream.key for upstream in state.own.upstreams]
            follow(self._balancers, keys, state.endpoints, before.endpoints, self._rng)
            self.ages.update(state.own)
            self._reconcile_listeners(state.own)

    def _new_contexts(self, state: MeshState) -> None:
        if state.leaf is None or not state.roots_pem:
            return
        try:
            contexts = tls.build(
                state.leaf, state.roots_pem, tunnel=self.tunnels.on, ranges=state.tls
            )
        except TlsMaterialError as error:
            self._stats.events["tls", "material_rejected"] += 1
            self._stats.config_rejects += 1
            log.warning("new certificate refused, the old one stays error=%s", error)
            return
        if self.contexts is not None:
            self._stats.leaf_rotations += 1
        self.contexts = contexts
        self.tunnels.retire()

    def _new_revocations(self, state: MeshState) -> None:
        """Cut every connection to or from the holder of a certificate that counts no more."""
        if state.revoked == self.revoked:
            return
        self.revoked = state.revoked
        self._sessions.cut_revoked(state.revoked)
        self._http.revoked()
        self.tunnels.cut_revoked()
        self._accepted.cut_revoked()

    def _new_policy(self, state: MeshState) -> None:
        if state.own is None or state.rules is None or state.default_allow is None:
            return
        policy, old = self.policy, (
            state.own.name, state.trust_domain.lower(), state.rules, state.default_allow,
        )  # fmt: skip
        if policy is not None and old == (
            policy.destination, policy.trust_domain, policy.rules, policy.default_allow,
        ):  # fmt: skip
            return
        self.policy = policy = Policy(
            destination=state.own.name,
            trust_domain=state.trust_domain,
            rules=state.rules,
            default_allow=state.default_allow,
            default_reason=state.default_reason,
            kept_max=self.config.decisions_kept_max,
        )
        self._sessions.decide_again(policy, self._loop.time())
        self._http.rules_changed()

    def _reconcile_listeners(self, own: OwnService) -> None:
        if self.contexts is None or (self.inheritance is not None and not self._knows()):
            return  # hosts would be blamed for what we lack; or the process before us serves
        wanted: dict[str, Wanted] = {}
        if own.listen_port and self.policy is not None:
            on = ListenOn(address=own.listen_address, port=max(own.listen_port, 0))
            wanted[PUBLIC] = (on, self._doors.come_in)
        for upstream in own.upstreams:
            if upstream.listens and opens(self.config, upstream):
                enter = functools.partial(self._doors.enter, upstream)
                wanted[upstream.key] = (listen_on(upstream), enter)
        wanted |= self._doors.wanted(self._state)
        self._opened.change(wanted, self.inheritance)
        self._doors.update(self._state, self.listeners)

    # Accepting.

    def why_not(self) -> str:
        """Why nobody of the mesh can be let in now; "" if somebody can."""
        own, contexts = self._state.own, self.contexts
        if own is None or contexts is None or self.policy is None:
            return "not_ready"
        if time.time() >= contexts.not_after_at:
            return "leaf_expired"
        return "overflow" if self._full(own, tunnels=self._accepted.open) else ""

    def accept_inbound(self) -> asyncio.Protocol:
        """The protocol for a connection from the mesh."""
        own, contexts, why_not = self._state.own, self.contexts, self.why_not()
        if own is None or contexts is None or why_not:
            return self.refuse(why_not)
        if self._http.serves_inbound():
            stream = self._http.accept_inbound(contexts)
        else:
            session = self._inbound(own)
            stream = TlsStream(session, self.config, contexts.server, server_side=True)
            session.accept(stream)
        stream.greetings, stream.tunnelled = self.handshakes.inbound, self._accepted.accept
        return stream

    def _full(self, own: OwnService, *, tunnels: int = 0) -> bool:
        active = self._stats.inbound_active + self._http.stats.inbound_open
        crowded = self._open + tunnels >= self.config.connections_max
        return crowded or 0 < own.inbound_connections_max <= active

    def own_authority(self) -> str:
        """Our service as streams of tunnels name it."""
        own = self._state.own
        return f"{own.name}.{self._state.datacenter}" if own is not None else ""

    def _take_stream(self, peer: PeerCertificate, make: Callable[[Owner], TunnelStream]) -> bool:
        """A stream of a tunnel: the same as a connection whose handshake is complete."""
        own = self._state.own
        if own is None or self._closed or self._full(own):
            self._stats.events["refused", "overflow"] += 1
            return False
        if self._http.serves_inbound():
            self._http.accept_stream(peer, make)
            return True
        session = self._inbound(own)
        session.accept(make(session))
        session.identified(peer)
        return True

    def _inbound(self, own: OwnService) -> Session:
        core = Inbound(
            destination=own.name,
            app=self.places.next(own.app),
            config=self.config,
            now=self._loop.time(),
            handshake_timeout_s=own.handshake_timeout_s,
            local_connect_timeout_s=own.local_connect_timeout_s,
        )
        session = Session(self, core, self._loop)
        self._sessions.adopt(session)
        return session

    def accept_outbound(
        self, upstream: UpstreamSpec, source: str = "", secured: TlsStream | None = None
    ) -> asyncio.Protocol:
        """For a connection of the local application; ``source`` is where it says it comes from.
        ``secured`` is one from outside whose handshake is complete."""
        if secured is None and self._http.serves_outbound(upstream):
            if self._crowded:
                return self.refuse("overflow")
            return self._http.accept_outbound(upstream, source)
        candidates = self._balancers[upstream.key].candidates(self.config.dial_attempts_max)
        return self._begin(
            self._sessions.departures.to_service(self._state, upstream, candidates), secured
        )

    def accept_direct(self, upstream: UpstreamSpec, endpoint: Endpoint) -> asyncio.Protocol:
        """The protocol for a connection to one instance."""
        return self._begin(self._sessions.departures.to_service(self._state, upstream, [endpoint]))

    def accept_passing(self, to: AppAddress, *, permitted: bool = False) -> asyncio.Protocol:
        """The protocol for a connection that goes on as it came, in clear: out of the mesh, or to
        the application where that is ``permitted``."""
        self._stats.events["permissive", "clear"] += permitted
        return self._begin(PassThrough(to=to, config=self.config))

    def accept_linked(self, service: str) -> asyncio.Protocol:
        """The protocol for a connection to a service that we stand for."""
        found = self.wing.accept(service) if self.wing is not None and service else None
        return found or self.refuse("no_service")

    def accept_exposed(self, exposed: ExposedPath) -> asyncio.Protocol:
        """The protocol for a connection to an exposed path."""
        return self.refuse("overflow") if self._crowded else self._http.accept_exposed(exposed)

    def accept_ingress(self, door: IngressListener, secured: TlsStream | None) -> asyncio.Protocol:
        """The protocol for a connection from outside the mesh."""
        if self._crowded:
            return self.refuse("overflow", secured)
        return self._http.accept_ingress(door, secured)

    def _begin(self, core: Outbound | None, secured: TlsStream | None = None) -> asyncio.Protocol:
        if core is None or self._crowded:
            return self.refuse("overflow" if core else "upstream_overflow", secured)
        session = Session(self, core, self._loop)
        stream = secured or PlainStream(session, self.config, accepted=True)
        self._sessions.adopt(session)
        session.accept(stream)
        if secured is not None:
            secured.owner = session
            session.stream_opened(secured)
        return stream

    @property
    def _open(self) -> int:
        return len(self._sessions) + self._http.stats.open

    @property
    def _crowded(self) -> bool:
        return self._open >= self.config.connections_max

    def refuse(self, reason: str, secured: TlsStream | None = None) -> asyncio.Protocol:
        """The protocol for a connection that is closed at once."""
        self._stats.events["refused", reason] += 1
        if secured is not None:
            secured.finish()
        return Refused()

    def unsecured(self, reason: str) -> None:
        """A handshake with somebody outside of the mesh failed."""
        self._stats.events["handshake", reason] += 1

    def _met(self, event: str, reason: str) -> None:
        """Somebody left before anything was known of them, or had to."""
        name = self._state.own.name if self._state.own is not None else ""
        self.record(Record(event=event, reason=reason, destination=name))
