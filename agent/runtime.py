"""Builds an agent, starts its parts in order and stops them in reverse.

This is the only file that sees all four packages. It decides nothing but the order: what listens
last answers last, so nobody is served by a half-built agent, and what was opened first (the store)
is closed last.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Awaitable, Callable

from agent import logs
from agent.backend.archive_transfers import RemoteArchives
from agent.backend.archives import Archives
from agent.backend.bootstrap import Bootstrap
from agent.backend.formation import Formation
from agent.backend.local import LocalBackend
from agent.backend.operations import Operations
from agent.backend.remote import RemoteBackend
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.backend.rpc.server import ServerPort
from agent.backend.rpc.service import RpcService
from agent.backend.rpc.tls import RpcTls
from agent.backend.servers import Servers
from agent.backend.sessions import SessionCalls
from agent.config.schema import AgentConfig
from agent.connect.authority import Authority
from agent.connect.leaves import LeafCache
from agent.connect.sidecars import Sidecars
from agent.dns.server import DnsServer
from agent.explain.raft import explain_raft
from agent.explain.registry import explainers
from agent.explain.server_port import explain_server_port
from agent.gossiping import coordinate_sender, make_gossip
from agent.http.context import HttpContext
from agent.http.server import HttpServer
from agent.internal_tls import load_tls, port_config, port_view, reload_tls
from agent.keeping import archive_config, server_archives, store_config, use_peers_file
from agent.leader.coordinates import CoordinateKeeper
from agent.leader.duties import LeaderDuties
from agent.leader.leaving import until_removed
from agent.leader.servers import ServersKeeper, ensure_config
from agent.leader.sessions import SessionKeeper
from agent.local.agent import LocalAgent
from agent.local.joining import join_all
from agent.local.node import catalog_node, join_host_port, own_http, sidecar_address
from agent.local.restores import follow_restores
from agent.loop.collector import Collector
from agent.loop.watchdog import Watchdog
from agent.membership import candidates, described_configuration, seen_servers, server_addresses
from agent.metrics import AgentMetrics
from agent.reloading import Reload
from agent.tasks import TaskOwner
from gossip import MemberEvent
from raftstore import warming
from raftstore.errors import StoreError
from raftstore.records import Json, NodeName, ServiceId
from raftstore.slices import in_slices
from raftstore.store import Store

log = logging.getLogger("lictor.agent")

#: A stop that takes longer than this many seconds is cut short (agent contract 6.2).
STOP_MAX_S = 15.0
#: A leader that ends tries for so many seconds to make another one lead.
HAND_OVER_MAX_S = 2.0


class Agent:
    """One running agent. ``run`` is its whole life."""

    def __init__(self, config: AgentConfig, reload: Callable[[], AgentConfig]) -> None:
        """``config.node_id`` is set: the process gave it one where the user did not."""
        self.config = config
        self.node_id = config.node_id
        self.reload = Reload(reload, self._take_over)
        self._rng = random.Random(uuid.uuid4().int)
        self._owner = TaskOwner()
        self._ending: asyncio.Future[tuple[bool, int]] | None = None
        self._closers: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        self.metrics = AgentMetrics()
        self.tls: RpcTls | None = None
        self.servers = Servers(self._rng)
        self.store: Store | None = None
        self.formation: Formation | None = None
        self.duties: LeaderDuties | None = None
        self.keeper: ServersKeeper | None = None
        self.http: HttpServer | None = None

    # ---- life ----

    async def run(self) -> int:
        """Start, serve, stop. Gives the exit status."""
        loop = asyncio.get_running_loop()
        self._ending = loop.create_future()
        self._catch_signals(loop)
        collector = Collector()
        watchdog = self.watchdog = Watchdog(loop, collector)
        self.metrics.add("loop", watchdog.holds.stats)
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        print("==> Consul agent running!", flush=True)
        log.info("agent running node=%s id=%s", self.config.node_name, self.node_id)
        collector.start(loop.call_soon_threadsafe)
        watchdog.start()
        leave, status = await self._ending
        await watchdog.stop()
        collector.stop()
        try:
            async with asyncio.timeout(STOP_MAX_S):
                await self._hand_over()
                if leave:
                    await self._leave()
                await self._stop()
        except TimeoutError:
            log.error("the agent did not stop in time limit_s=%.0f", STOP_MAX_S)
            return 1
        return status

    def _catch_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        config = self.config
        leave_on_interrupt = not config.skip_leave_on_interrupt
        loop.add_signal_handler(signal.SIGINT, self._signalled, "interrupt", leave_on_interrupt)
        loop.add_signal_handler(
            signal.SIGTERM, self._signalled, "terminated", config.leave_on_terminate
        )
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def _signalled(self, name: str, leave: bool) -> None:
        log.info("caught signal signal=%s leave=%s", name, leave)
        if self._ending is None or self._ending.done():
            log.error("second signal, stopping at once")
            sys.stdout.flush()
            os._exit(1)
        # Without a leave others will see this agent as failed: the status says so too.
        self.end(leave=leave, status=0 if leave else 1)

    def _hung_up(self) -> None:
        self._owner.spawn(self.reload.logged(), name="reload")

    def end(self, *, leave: bool, status: int) -> None:
        """Ask the agent to stop; the first word counts."""
        if self._ending is not None and not self._ending.done():
            self._ending.set_result((leave, status))

    # ---- start ----

    async def _start(self) -> None:
        config = self.config
        self._owner.spawn(in_slices(warming.steps()), name="codecs")
        self.tls = load_tls(config, self.node_id)
        # A server's port speaks TLS with a certificate of its own, or not at all.
        self.port_tls = self.tls if config.tls.complete else None
        if self.tls is not None:
            self.metrics.add("tls", self.tls.stats)
            self._owner.spawn(self.tls.watch_expiry(), name="certificate expiry")
        self.pool = RpcPool(
            datacenter=config.datacenter,
            node=config.node_name,
            limits=RpcLimits(
                frame_max=config.limits.rpc_frame_max, inflight_max=config.limits.rpc_inflight_max
            ),
            tls=self.tls,
        )
        self._closing("rpc pool", self.pool.close)
        if config.server:
            await self._start_store()
        await self._start_gossip()
        self.backend = self._make_backend()
        self.operations = Operations(self.backend)
        self.archives: Archives = RemoteArchives(self.servers, self.pool, archive_config(config))
        if self.store is not None:
            await self._start_server_parts(self.store)
        await self._start_local()
        await self._start_faces()
        self.metrics.add("archives", lambda: self.archives.stats)
        if self.store is not None:
            self.store.on_replaced.append(self._state_replaced)
        self._owner.spawn(self._join(), name="join")
        self._closing("background tasks", self._owner.close)

    def _closing(self, name: str, close: Callable[[], Awaitable[object]]) -> None:
        self._closers.append((name, close))

    async def _start_store(self) -> None:
        config = self.config
        taken = use_peers_file(config, address=self._server_address())
        if taken is not None:
            log.warning("peers.json was used: new cluster id=%s", taken.cluster_id)
        self.store = Store(store_config(config), on_change=self._raft_changed, tls=self.port_tls)
        await self.store.start()
        self._closing("store", self.store.stop)
        self.store.fatal.add_done_callback(self._store_failed)
        self.metrics.add("raft", self.store.metrics)

    def _store_failed(self, fatal: asyncio.Future[BaseException]) -> None:
        if not fatal.cancelled():
            self._fail(f"store failed: {fatal.result()}")

    def _fail(self, why: str) -> None:
        log.error("stopping error=%s", why)
        self.end(leave=False, status=1)

    async def _start_gossip(self) -> None:
        self.gossip, self.events = make_gossip(
            self.config, self.metrics, on_member=self._member_changed, on_lost=self._fail
        )
        await self.gossip.start()
        self._closing("gossip", self.gossip.stop)
        if self.config.server:
            self._refresh_servers()

    def _make_backend(self) -> LocalBackend | RemoteBackend:
        config = self.config
        sender = f"{self.node_id}/{uuid.uuid4().hex[:12]}"
        if self.store is None:
            hold_s, node = config.rpc_hold_timeout_s, config.node_name
            remote = RemoteBackend(
                self.servers, self.pool, sender=sender, hold_s=hold_s, rng=self._rng, node=node
            )
            self._closing("backend", remote.close)
            return remote
        backend = LocalBackend(
            self.store,
            self.pool,
            sender=sender,
            hold_s=config.rpc_hold_timeout_s,
            signer=lambda csr_pem: self.authority.sign_leaf(csr_pem),
            rng=self._rng,
            node=config.node_name,
        )
        self._closing("backend", backend.close)
        return backend

    async def _start_server_parts(self, store: Store) -> None:
        config = self.config
        backend = self.backend
        assert isinstance(backend, LocalBackend)
        self.authority = Authority(
            backend, datacenter=config.datacenter, config=dict(config.ca_config)
        )
        self.formation = Formation(
            Bootstrap(own_id=self.node_id, expect=config.bootstrap_expect),
            store,
            self.pool,
            own_id=self.node_id,
            candidates=lambda: candidates(self.gossip.members(), config.datacenter),
            cluster_id_of=store.cluster_id_of,
        )
        self.archives, transfers = server_archives(backend, store, config)
        self._closing("archives", transfers.close)
        service = RpcService(
            backend, store, bootstrap_view=self.formation.view, more=transfers.methods
        )
        service.answer_bytes_max = config.limits.rpc_frame_max
        self.port = ServerPort(
            port_config(config),
            peers=store,
            handler=service.handle,
            prompt=service.begin,
            tls=self.port_tls,
            known=self.servers.has_host,
        )
        await self.port.start()
        self._closing("server port", self.port.stop)
        self.metrics.add("rpc", lambda: self.port.stats)
        keeper = self.keeper = ServersKeeper(
            store,
            own_id=self.node_id,
            seen=lambda: seen_servers(self.gossip.members(), config.datacenter),
            heartbeat_s=store.heartbeat_s,
            forget=self.gossip.force_leave,
        )
        self.metrics.add("servers", lambda: keeper.stats)
        sessions = SessionKeeper(store, node=config.node_name, hold_s=config.rpc_hold_timeout_s)
        self._closing("sessions", sessions.close)
        self.metrics.add("sessions", lambda: sessions.stats)
        coordinates = CoordinateKeeper(backend, store, config.coordinates)
        self.metrics.add("coordinate_updates", coordinates.stats)
        backend.leader_methods = keeper.methods | sessions.methods | coordinates.methods
        duties = self.duties = LeaderDuties(
            backend,
            members=self.gossip.members,
            own_name=NodeName(config.node_name),
            datacenter=config.datacenter,
            extra={
                "certificate authority": self.authority.ensure_root,
                "autopilot configuration": lambda: ensure_config(backend.change, config.autopilot),
                "care of the servers": keeper.run,
                "sessions": sessions.run,
                "coordinates": coordinates.run,
            },
        )
        self._closing("leader duties", self.duties.stop)
        self.metrics.add("leader", lambda: duties.stats)
        if config.bootstrap or config.bootstrap_expect == 1:
            if not store.bootstrapped:
                store.bootstrap({self.node_id: self._server_address()})
        else:
            self._owner.spawn(self.formation.run(), name="formation")
        self._raft_changed()

    def _server_address(self) -> str:
        return join_host_port(self.config.advertise_addr, self.config.port_server)

    async def _start_local(self) -> None:
        config = self.config
        self.local = LocalAgent(
            config,
            self.backend,
            node=lambda: catalog_node(self.config, self.node_id),
            members=lambda: len(self.gossip.members()),
        )
        await self.local.start()
        self._closing("local agent", self.local.stop)
        self.metrics.add("local", self.local.stats)
        self.sender = coordinate_sender(config, self.backend, self.gossip, self.metrics)
        self._owner.spawn(self.sender.run(), name="coordinates")
        self.events.ready(lambda: self.local.services().values())
        if self.store is None:
            follow = follow_restores(self.backend, self.local.catalog_restored, rng=self._rng)
            self._owner.spawn(follow, name="restores")
        self.leaves = LeafCache(self.backend, datacenter=config.datacenter, rng=self._rng)
        self._closing("leaf cache", self.leaves.close)
        self.metrics.add("leaves", self.leaves.stats)
        self.sidecars = Sidecars(
            http_addr=own_http(config),
            bind_address=sidecar_address(config),
            on_change=lambda proxy_id: self.local.sidecar_changed(ServiceId(proxy_id)),
        )
        self._closing("sidecars", self.sidecars.stop)
        self.metrics.add("sidecars", self.sidecars.stats)
        if config.connect_enabled and config.connect_builtin_proxy == "auto":
            sidecars = self.sidecars.follow(self.local.watch_once, self.local.sidecars)
            self._owner.spawn(sidecars, name="sidecars")

    async def _start_faces(self) -> None:
        config = self.config
        if config.port_dns > 0:
            dns = DnsServer(config, self.backend, rng=self._rng)
            await dns.start()
            self._closing("dns", dns.stop)
            self.metrics.add("dns", dns.stats)
        if config.port_http > 0:
            http = self.http = HttpServer(self._http_context())
            await http.start()
            self._closing("http", http.stop)
            self.metrics.add("http", http.stats)

    # ---- what happens while it runs ----

    def _member_changed(self, event: MemberEvent) -> None:
        known = len(self.servers)
        self._refresh_servers()
        if self.formation is not None:
            self.formation.members_changed()
        if self.duties is not None:
            self.duties.member_changed(event)
        if self.keeper is not None:
            self.keeper.member_changed()
        if not known and len(self.servers) and hasattr(self, "local"):
            self.local.trigger_full_sync()

    def _refresh_servers(self) -> None:
        addresses = server_addresses(self.gossip.members(), self.config.datacenter)
        self.servers.update(addresses)
        if self.store is not None:
            for server in addresses:
                if server.node_id and server.node_id != self.node_id:
                    self.store.set_address(server.node_id, server.host, server.port)

    def _raft_changed(self) -> None:
        if self.duties is None or self.store is None:
            return
        if self.store.is_leader:
            self.duties.start_leading()
        else:
            self.duties.stop_leading()

    def _state_replaced(self) -> None:
        """Another state is in force: what was made of the former one is made anew."""
        if self.duties is not None:
            self.duties.state_replaced()
        if self.http is not None:
            self.http.state_replaced()
        self.local.trigger_full_sync()

    async def _join(self) -> None:
        if await join_all(self.config, self.gossip.join):
            self.local.trigger_full_sync()
        else:
            self.end(leave=False, status=1)

    async def _take_over(self, config: AgentConfig) -> None:
        """What may change while it runs; an error keeps everything as it was."""
        reload_tls(self.tls, self.config, config)
        logs.set_level(config.log_level)
        await self.local.reload(config)

    async def leave(self) -> None:
        """Leave the cluster and end; the caller is answered before the agent is gone."""
        asyncio.get_running_loop().call_later(0.2, lambda: self.end(leave=True, status=0))

    # ---- end ----

    async def _hand_over(self) -> None:
        """A leader passes leadership on first, so that writes hardly notice that it goes."""
        if self.store is None or not self.store.is_leader:
            return
        try:
            leader = await self.store.operations.transfer_leadership(timeout_s=HAND_OVER_MAX_S)
            log.info("leadership handed over leader=%s", leader)
        except StoreError as error:
            log.warning("leadership not handed over error=%s", error)

    async def _leave(self) -> None:
        """Say good-bye, so that nobody takes this agent for failed, or counts on its vote.

        The leader sees in gossip that a server has left, and takes it out of the Raft
        configuration; until then it goes on to vote and to answer.
        """
        try:
            await self.gossip.leave()
            if self.store is not None:
                await until_removed(self.store)
        except Exception as error:  # whatever it is, the agent has to end
            log.error("leave failed error=%s", error)

    async def _stop(self) -> None:
        while self._closers:
            name, close = self._closers.pop()
            try:
                await close()
            except Exception:  # one part's trouble must not keep the others open
                log.exception("stop failed part=%s", name)

    def _http_context(self) -> HttpContext:
        sessions = SessionCalls(self.backend)
        return HttpContext(
            config=self.config,
            backend=self.backend,
            prompt=self.backend if isinstance(self.backend, LocalBackend) else None,
            prompt_changes=self.backend,
            local=self.local,
            gossip=self.gossip,
            events=self.events,
            leaves=self.leaves,
            operations=self.operations,
            sessions=sessions,
            coordinates=self.sender.calls,
            explainers=explainers(
                self.backend,
                self.config,
                gossip=self.gossip.explain,
                leader=self._leader_view,
                check=self.local.explain_check,
                sidecars=self.sidecars.explain,
                loop=self.watchdog.holds.explained,
                raft=lambda: explain_raft(
                    self.store.operations if self.store is not None else None, time.time()
                ),
                server_port=self._explain_port,
                session_clock=sessions.clock,
                events=self.events.explain,
                coordinates=self.sender.explain,
                keyring=self.gossip,
            ),
            leave=self.leave,
            reload=self.reload.now,
            metrics_text=self.metrics.text,
            raft_status=self._raft_configuration,
            archives=self.archives,
            stats=self.metrics.flat,
            rng=self._rng,
        )

    def _explain_port(self) -> Json:
        view = None if self.store is None else port_view(self.tls, self.port, self.store)
        return explain_server_port(self.config, view, time.time())

    def _leader_view(self, name: str) -> Json:
        return None if self.duties is None else self.duties.explain_member(NodeName(name))

    async def _raft_configuration(self) -> dict[str, object]:
        found = await self.backend.raft_configuration()
        return described_configuration(found, self.gossip.members())
