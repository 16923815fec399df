"""Starts an agent's parts in order and stops them in reverse.

It decides nothing but the order: what listens last answers last, so nobody is served by a
half-built agent, and what was opened first (the store) is closed last. How each part is made of
the configuration stands in agent/parts/, by subject: a server's, the host's, the faces'.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agent import logs, service_manager
from agent.acl.access import Access
from agent.archive_bounds import archive_config
from agent.backend.acting import ACTING
from agent.backend.archive_transfers import RemoteArchives
from agent.backend.archives import Archives
from agent.backend.balance import keep_balance
from agent.backend.remote import RemoteBackend
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.backend.servers import Servers
from agent.config.schema import AgentConfig
from agent.gossiping import make_gossip, make_wan
from agent.internal_tls import load_tls, reload_tls
from agent.leader.leaving import until_removed
from agent.listening import Sockets
from agent.local.joining import join_all, lan_plan, wan_plan
from agent.loop.collector import Collector
from agent.loop.watchdog import Watchdog
from agent.membership import server_addresses
from agent.metrics import AgentMetrics
from agent.metrics_push import MetricsPush
from agent.parts.access import make_access, own_state
from agent.parts.encryption import agent_certificate
from agent.parts.faces import Behind, Faces
from agent.parts.ground import Closers, Ground
from agent.parts.host import HostParts
from agent.program import Program
from agent.quotas import Quotas
from agent.reloading import Reload, Source
from agent.tasks import TaskOwner
from agent.wan.pool import WanPool
from agent.wan.ways import StraightWay, WayByServers
from gossip import Member, MemberEvent
from raftstore import warming
from raftstore.slices import in_slices

if TYPE_CHECKING:
    from agent.backend.local import LocalBackend
    from agent.backend.rpc.tls import RpcTls
    from agent.parts.server import ServerParts

log = logging.getLogger("lictor.agent")

#: A stop that takes longer than this many seconds is cut short (agent contract 6.2).
STOP_MAX_S = 15.0


class Agent:
    """One running agent. ``run`` is its whole life."""

    def __init__(
        self, config: AgentConfig, source: Source, sockets: Sockets, program: Program
    ) -> None:
        """``config.node_id`` is set: the process gave it one where the user did not.

        ``sockets`` gives the faces what they listen on.
        """
        self.config = config
        #: The program is to be executed anew, with the sockets that it listens on.
        self.restarting = False
        self.collector = Collector()
        self.reload = Reload(source, self._take_over, self.collector.bulk)
        self._ending: asyncio.Future[tuple[bool, int]] | None = None
        self._owner = TaskOwner()
        self.metrics = AgentMetrics()
        self.ground = Ground(
            config=config,
            node_id=config.node_id,
            rng=random.Random(uuid.uuid4().int),
            owner=self._owner,
            metrics=self.metrics,
            closers=Closers(),
            quotas=Quotas(config.request_limits),
            fail=self._fail,
            sockets=sockets,
            program=program,
        )
        self.tls: RpcTls | None = None
        self.servers = Servers(self.ground.rng)
        self.server: ServerParts | None = None
        self.wan: WanPool | None = None
        self.way: StraightWay | None = None
        self.host: HostParts | None = None
        self.faces: Faces | None = None

    # ---- life ----

    async def run(self) -> int:
        """Start, serve, stop. Gives the exit status."""
        loop = asyncio.get_running_loop()
        self._ending = loop.create_future()
        self._catch_signals(loop)
        collector = self.collector
        watchdog = self.watchdog = Watchdog(loop, collector)
        self.metrics.add("loop", watchdog.holds.stats)
        try:
            await self._start()
        except BaseException:
            await self.ground.closers.close()
            raise
        print("==> Consul agent running!", flush=True)
        log.info("agent running node=%s id=%s", self.config.node_name, self.config.node_id)
        service_manager.tell(service_manager.READY, f"STATUS=node {self.config.node_name}")
        collector.start(loop)
        watchdog.start()
        self.ground.sockets.close_rest()
        leave, status = await self._ending
        if not self.restarting:
            self.ground.sockets.release()
            service_manager.tell(service_manager.STOPPING)
        await watchdog.stop()
        collector.stop()
        try:
            async with asyncio.timeout(STOP_MAX_S):
                if self.server is not None:
                    await self.server.hand_over()
                if leave:
                    await self._leave()
                await self.ground.closers.close()
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
        loop.add_signal_handler(signal.SIGUSR2, self._restart_asked)

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

    def _restart_asked(self) -> None:
        log.info("caught signal signal=restart")
        self._owner.spawn(self._restart(), name="restart")

    async def _restart(self) -> None:
        """End without a leave, for the same program to begin in this process; but not with files
        that it could not begin with."""
        if await self.reload.readable() and self._ending is not None and not self._ending.done():
            self.restarting = True
            self.end(leave=False, status=0)

    def end(self, *, leave: bool, status: int) -> None:
        """Ask the agent to stop; the first word counts."""
        if self._ending is not None and not self._ending.done():
            self._ending.set_result((leave, status))

    def _fail(self, why: str) -> None:
        log.error("stopping error=%s", why)
        self.end(leave=False, status=1)

    # ---- start ----

    async def _start(self) -> None:
        ground, config = self.ground, self.config
        self._owner.spawn(in_slices(warming.steps()), name="codecs")
        self.metrics.add("program", lambda: ground.program.stats)
        self._owner.spawn(ground.program.follow(), name="files of the program")
        self._start_telemetry()
        self.pool = self._make_pool()
        ground.closers.add("rpc pool", self.pool.close)
        if config.server:
            # Half of the program: an agent that is no server never loads it.
            from agent.parts.server import ServerParts

            # A server's port speaks TLS with a certificate of its own, or not at all.
            port_tls = self.tls if config.tls.complete else None
            self.server = ServerParts(
                ground, pool=self.pool, servers=self.servers, port_tls=port_tls
            )
            await self.server.open_store()
        await self._start_wan()
        await self._start_gossip()
        self.backend = self._make_backend()
        access = make_access(ground, self.backend, self.pool)
        archives: Archives = RemoteArchives(self.servers, self.pool, archive_config(config))
        if self.server is not None:
            await self.server.start(self.gossip, access, self.wan, self.way)
            archives = self.server.archives
        own = own_state(self.backend, access)
        host = self.host = HostParts(
            ground, self.backend, own, self.gossip, self.events, access.tokens
        )
        await host.start()
        await self._start_faces(host, archives, access)
        ground.metrics.add("archives", lambda: archives.stats)
        if self.server is not None:
            self.server.store.on_replaced.append(self._state_replaced)
        self._owner.spawn(self._join(host), name="join")
        self._join_wan()
        self._get_certificate(host)
        if config.auto_reload_config:
            self._owner.spawn(self.reload.follow(), name="configuration files")
        ground.closers.add("background tasks", self._owner.close)

    def _start_telemetry(self) -> None:
        telemetry = self.config.telemetry
        self.metrics.choose(telemetry.metrics_prefix, telemetry.tells)
        push = MetricsPush(telemetry, self.metrics.collect)
        self.metrics.add("metrics_push", push.stats)
        if push.wanted:
            self._owner.spawn(push.run(), name="metrics push")

    def _pool_toward(self, datacenter: str) -> RpcPool:
        """Connections to the servers of another datacenter."""
        config, limits = self.config, self.config.limits
        pool = RpcPool(
            datacenter=config.datacenter,
            node=config.node_name,
            limits=RpcLimits(frame_max=limits.rpc_frame_max, inflight_max=limits.rpc_inflight_max),
            tls=None if self.tls is None else self.tls.toward(datacenter),
            theirs=datacenter,
        )
        # The caller's, never this server's own: what that may do ends at the border.
        pool.acting = lambda: ACTING.get() or ""
        return pool

    def _make_pool(self) -> RpcPool:
        config = self.config
        self.tls = load_tls(config, config.node_id)
        if self.tls is not None:
            self.metrics.add("tls", self.tls.stats)
            self._owner.spawn(self.tls.watch_expiry(), name="certificate expiry")
        limits = config.limits
        return RpcPool(
            datacenter=config.datacenter,
            node=config.node_name,
            limits=RpcLimits(frame_max=limits.rpc_frame_max, inflight_max=limits.rpc_inflight_max),
            tls=self.tls,
        )

    async def _start_wan(self) -> None:
        """Before this server's neighbours hear of it, for these will join it there."""
        if not self.config.in_wan:
            if self.config.server:
                self._make_way(lambda: (), lambda: [self.config.datacenter])
            return
        self.wan = make_wan(self.config, self.metrics, lan=lambda: self.gossip.members())
        await self.wan.start()
        self.ground.closers.add("wan pool", self.wan.stop)
        self._make_way(self.wan.members, self.wan.datacenters)

    def _make_way(
        self, members: Callable[[], Sequence[Member]], nearest_first: Callable[[], list[str]]
    ) -> None:
        """To other datacenters; a server outside of their pool answers its client agents only."""
        way = self.way = StraightWay(
            self.config.datacenter,
            members,
            self._pool_toward,
            self.ground.rng,
            nearest_first=nearest_first,
        )
        self.ground.closers.add("ways elsewhere", way.close)
        self.metrics.add("elsewhere", way.stats)

    async def _start_gossip(self) -> None:
        self.gossip, self.events = make_gossip(
            self.config,
            self.metrics,
            on_member=self._member_changed,
            on_lost=self._fail,
            clients=self._tell_clients,
        )
        await self.gossip.start()
        self.ground.closers.add("gossip", self.gossip.stop)
        if self.server is not None:
            self._refresh_servers()

    async def _tell_clients(self, payload: bytes) -> bytes | None:
        """Nobody has connections here before there is anything."""
        return None if self.host is None else await self.host.clients.answer(payload)

    def _get_certificate(self, host: HostParts) -> None:
        """Of a client agent that is to have one of the servers."""
        if self.config.auto_encrypt_tls and self.tls is not None:
            assert isinstance(self.backend, RemoteBackend), "servers are refused this key"
            self._owner.spawn(
                agent_certificate(self.ground, self.backend, self.tls, self.pool, host).run(),
                name="certificate of this agent",
            )

    def _make_backend(self) -> LocalBackend | RemoteBackend:
        if self.server is not None:
            return self.server.make_backend()
        remote = RemoteBackend(
            self.servers,
            self.pool,
            sender=f"{self.config.node_id}/{uuid.uuid4().hex[:12]}",
            hold_s=self.config.rpc_hold_timeout_s,
            rng=self.ground.rng,
            node=self.config.node_name,
        )
        self.ground.closers.add("backend", remote.close)
        balance = keep_balance(self.servers, lambda: len(self.gossip.members()), self.ground.rng)
        self._owner.spawn(balance, name="balance")
        return remote

    async def _start_faces(self, host: HostParts, archives: Archives, access: Access) -> None:
        behind = Behind(
            backend=self.backend,
            access=access,
            archives=archives,
            gossip=self.gossip,
            wan=self.wan,
            way=self.way or self._way_by_servers(),
            events=self.events,
            host=host,
            server=self.server,
            tls=self.tls,
            watchdog=self.watchdog,
            leave=self.leave,
            reload=self.reload,
        )
        self.faces = Faces(self.ground, behind)
        await self.faces.start()
        # They ask the faces, so they end before these do.
        self.ground.closers.add("watches", host.watches.close)
        host.watches.configure(self.config.watches)

    def _way_by_servers(self) -> WayByServers | None:
        backend = self.backend
        if not isinstance(backend, RemoteBackend):
            return None
        config = self.config
        return WayByServers(
            backend.call_server, config.datacenter, hold_s=config.rpc_hold_timeout_s
        )

    # ---- what happens while it runs ----

    def _member_changed(self, event: MemberEvent) -> None:
        known = len(self.servers)
        self._refresh_servers()
        if self.server is not None:
            self.server.member_changed(event)
        if self.wan is not None:
            self.wan.lan_changed()
        if not known and len(self.servers) and self.host is not None:
            self.host.servers_appeared()

    def _refresh_servers(self) -> None:
        addresses = server_addresses(self.gossip.members(), self.config.datacenter)
        self.servers.update(addresses)
        if self.server is not None:
            self.server.seen(addresses)

    def _state_replaced(self) -> None:
        """Another state is in force: what was made of the former one is made anew."""
        if self.server is not None:
            self.server.state_replaced()
        if self.faces is not None:
            self.faces.state_replaced()
        if self.host is not None:
            self.host.local.trigger_full_sync()

    async def _join(self, host: HostParts) -> None:
        if await join_all(lan_plan(self.config), self.gossip.join):
            host.local.trigger_full_sync()
        else:
            self.end(leave=False, status=1)

    def _join_wan(self) -> None:
        if self.wan is not None:
            self._owner.spawn(self._join_servers(self.wan), name="join wan")
            self._owner.spawn(self.wan.keep_joined(), name="wan pool")

    async def _join_servers(self, wan: WanPool) -> None:
        if not await join_all(wan_plan(self.config), wan.join):
            self.end(leave=False, status=1)

    async def _take_over(self, config: AgentConfig) -> None:
        """What may change while it runs; an error keeps everything as it was."""
        faces = self.faces.prepare(config) if self.faces is not None else None
        reload_tls(self.tls, self.config, config)
        if faces is not None:
            faces()
        logs.set_level(config.log_level)
        self.metrics.choose(self.config.telemetry.metrics_prefix, config.telemetry.tells)
        if self.host is not None:
            await self.host.reload(config)
        if self.faces is not None:
            self.faces.reload(config)

    async def leave(self) -> None:
        """Leave the cluster and end; the caller is answered in between, when others know."""
        # Not given up with the caller's connection: nobody leaves by half.
        await asyncio.shield(self._owner.spawn(self._leave(), name="leave"))
        asyncio.get_running_loop().call_later(0.2, lambda: self.end(leave=True, status=0))

    # ---- end ----

    async def _leave(self) -> None:
        """Say good-bye, so that nobody takes this agent for failed, or counts on its vote.

        The leader sees in gossip that a server has left, and takes it out of the Raft
        configuration; until then it goes on to vote and to answer.
        """
        try:
            goodbyes = [self.gossip.leave()]
            if self.wan is not None:
                goodbyes.append(self.wan.leave())
            await asyncio.gather(*goodbyes)
            if self.server is not None:
                await until_removed(self.server.store)
        except Exception as error:  # whatever it is, the agent has to end
            log.error("leave failed error=%s", error)
