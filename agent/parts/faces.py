"""What others see of an agent: HTTP and DNS, and what each of them may use and explain."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.acl.access import Access
from agent.acl.seen import SeenState
from agent.audit.sink import AuditLog
from agent.backend import Ask
from agent.backend.archives import Archives
from agent.backend.operations import Operations
from agent.backend.remote import RemoteBackend
from agent.backend.sessions import SessionCalls
from agent.config.schema import AgentConfig
from agent.dns.rules import DnsView
from agent.dns.server import DnsServer
from agent.events.log import EventLog
from agent.explain.clients import ask as ask_clients
from agent.explain.datacenters import explain_datacenters
from agent.explain.limits import explain_limits
from agent.explain.process import explain_process
from agent.explain.raft import explain_raft
from agent.explain.registry import Explainer, explainers
from agent.explain.ring import explain_ring
from agent.explain.server_port import explain_server_port
from agent.http import entry_limits
from agent.http.context import HttpContext
from agent.http.parse_config import subset_filter
from agent.http.server import HttpServer
from agent.internal_tls import port_view
from agent.loop.watchdog import Watchdog
from agent.membership import described_configuration
from agent.parts.ground import Ground
from agent.parts.host import HostParts
from agent.queries import Datacenters, Elsewhere
from agent.quotas import Quotas, RequestLimits
from agent.reloading import Reload
from agent.wan.pool import WanPool
from agent.wan.questions import told
from agent.wan.ways import StraightWay, Way
from gossip import Gossip
from raftstore.records import Json
from raftstore.slices import in_slices

if TYPE_CHECKING:
    from agent.backend.local import LocalBackend
    from agent.backend.rpc.tls import RpcTls
    from agent.parts.server import ServerParts

#: Resolvers ask again after five seconds (resolv.conf(5)): by then the answer should be there.
DNS_AWAY_MAX_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What the faces stand before. ``server`` is None on an agent without a vote."""

    backend: LocalBackend | RemoteBackend
    access: Access
    archives: Archives
    gossip: Gossip
    wan: WanPool | None
    way: Way | None
    events: EventLog
    host: HostParts
    server: ServerParts | None
    tls: RpcTls | None
    watchdog: Watchdog
    leave: Callable[[], Awaitable[None]]
    reload: Reload


class Faces:
    """The listeners that people and programs talk to."""

    def __init__(self, ground: Ground, behind: Behind) -> None:
        self._ground = ground
        self._behind = behind
        self._sessions = SessionCalls(behind.backend)
        self._http: HttpServer | None = None
        self._dns: DnsServer | None = None
        self._audit: AuditLog | None = None
        self._quotas = ground.quotas
        self._entry_quotas = Quotas(RequestLimits())
        ground.metrics.add("entry_request_limits", self._entry_quotas.stats)
        ground.metrics.add("request_limits", self._quotas.stats)

    async def start(self) -> None:
        """Listen. Raises OSError for an address that is taken."""
        ground, config = self._ground, self._ground.config
        if config.port_dns > 0:
            dns = self._dns = self._make_dns()
            await dns.start()
            ground.closers.add("dns", dns.stop)
            ground.metrics.add("dns", dns.stats)
        if config.audit:
            log = self._audit = AuditLog(config.audit, queue_max=config.limits.audit_queue_max)
            log.start()
            ground.closers.add("audit log", log.close)
            ground.metrics.add("audit", log.stats)
        if config.port_http > 0 or config.port_https > 0:
            limits = entry_limits.follow(
                self._behind.backend, self._entry_quotas.change, rng=ground.rng
            )
            ground.owner.spawn(limits, name="request limits of config entries")
            http = self._http = HttpServer(self._context())
            if isinstance(self._behind.way, StraightWay):
                self._behind.way.answer = http.relayed.answer
            await http.start()
            ground.closers.add("http", http.stop)
            ground.metrics.add("http", http.stats)
            if http.faces is not None and http.faces.tls is not None:
                ground.metrics.add("https", http.faces.tls.stats)

    def prepare(self, config: AgentConfig) -> Callable[[], None]:
        """Read certificates and bounds anew; what is given back puts them in force.

        Raises ConfigError.
        """
        http = self._http.prepare(config) if self._http is not None else None

        def put_in_force() -> None:
            if http is not None:
                http()
            self._quotas.change(config.request_limits)

        return put_in_force

    def reload(self, config: AgentConfig) -> None:
        """Answer DNS by another configuration, and use its tokens."""
        self._behind.access.tokens.reload(config.acl.tokens)
        if self._dns is not None:
            self._dns.reload(config)

    def _make_dns(self) -> DnsServer:
        ground, access = self._ground, self._behind.access
        config, rng, sockets = ground.config, ground.rng, ground.sockets
        way, tokens = self._behind.way, access.tokens

        async def elsewhere(question: Elsewhere | Datacenters, options: Ask) -> object:
            secret = tokens.dns or tokens.default
            return await told(way, question, options, secret=secret, timeout_s=DNS_AWAY_MAX_S)

        if not access.enabled:
            # A server's own state is as good as any cache. With access control an answer is one
            # token's, and the cache is everybody's.
            kept = None if config.server else self._behind.host.cache
            return DnsServer(
                config,
                self._behind.backend,
                rng=rng,
                sockets=sockets,
                kept=kept,
                elsewhere=elsewhere,
            )
        seen = SeenState(access, self._behind.backend, lambda: access.tokens.dns)
        return DnsServer(config, seen, rng=rng, sockets=sockets, rights=seen, elsewhere=elsewhere)

    def state_replaced(self) -> None:
        """Another state is in force: answers that are ready are none any more."""
        self._behind.host.cache.drop()
        self._behind.access.resolver.forget()
        if self._http is not None:
            self._http.state_replaced()

    def _context(self) -> HttpContext:
        ground, behind = self._ground, self._behind
        return HttpContext(
            config=ground.config,
            backend=behind.backend,
            prompt=None if isinstance(behind.backend, RemoteBackend) else behind.backend,
            prompt_changes=behind.backend,
            prompt_questions=behind.backend,
            access=behind.access,
            local=behind.host.local,
            gossip=behind.gossip,
            wan=behind.wan,
            way=behind.way,
            events=behind.events,
            cache=behind.host.cache if ground.config.http_use_cache else None,
            sockets=ground.sockets,
            leaves=behind.host.leaves,
            feeds=behind.host.feeds,
            operations=Operations(behind.backend),
            sessions=self._sessions,
            coordinates=behind.host.sender.calls,
            explainers=self._explainers(),
            leave=behind.leave,
            reload=behind.reload.now,
            metrics_text=ground.metrics.text,
            raft_status=self._raft_configuration,
            archives=behind.archives,
            quotas=self._quotas,
            entry_quotas=self._entry_quotas,
            audit=None if self._audit is None else self._audit.put,
            stats=ground.metrics.flat,
            rng=ground.rng,
        )

    def _explainers(self) -> dict[str, Explainer]:
        behind, server = self._behind, self._behind.server
        return explainers(
            behind.backend,
            self._ground.config,
            gossip=self._explain_member,
            datacenters=lambda: explain_datacenters(behind.wan, self._ground.config.datacenter),
            leader=lambda name: None if server is None else server.explain_member(name),
            check=behind.host.local.explain_check,
            dns=self._dns_view,
            sidecars=behind.host.sidecars.explain,
            feeds=behind.host.feeds.explain,
            loop=behind.watchdog.holds.explained,
            raft=lambda: explain_raft(
                None if server is None else server.store.operations, time.time()
            ),
            server_port=self._explain_port,
            session_clock=self._sessions.clock,
            wall=time.time,
            events=behind.events.explain,
            coordinates=behind.host.sender.explain,
            keyring=behind.gossip,
            watches=behind.host.watches.explain,
            process=lambda: explain_process(self._ground.program),
            configuration=behind.reload.explain,
            ring=lambda: explain_ring(behind.gossip, time.time),
            logins=lambda: None if server is None else server.logins.explain(),
            limits=lambda: explain_limits(self._ground.config, self._quotas),
            paced=in_slices,
            live=lambda wanted: ask_clients(behind.gossip, behind.host.clients.here, wanted),
            make_filter=subset_filter,
        )

    def _explain_member(self, name: str) -> object | None:
        """A member of either pool: names in that of all datacenters have a dot."""
        behind = self._behind
        found = behind.gossip.explain(name)
        return behind.wan.explain(name) if found is None and behind.wan is not None else found

    def _dns_view(self) -> DnsView:
        if self._dns is None:
            return DnsView(config=self._ground.config)
        return self._dns.resolver.view

    def _explain_port(self) -> Json:
        server, tls = self._behind.server, self._behind.tls
        view = None if server is None else port_view(tls, server.port, server.store)
        return explain_server_port(self._ground.config, view, time.time())

    async def _raft_configuration(self) -> dict[str, object]:
        found = await self._behind.backend.raft_configuration()
        return described_configuration(found, self._behind.gossip.members())
