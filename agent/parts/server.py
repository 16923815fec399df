"""What only a server has: the replicated store, its port, and what it does while it leads.

A new duty of the leader is one more entry of ``extra``; a new method that other agents may call
goes into ``leader_methods`` or into the servant of the server port.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from agent.acl.access import Access
from agent.backend.archives import Archives
from agent.backend.bootstrap import Bootstrap
from agent.backend.formation import Formation
from agent.backend.local import LocalBackend
from agent.backend.rpc import calls
from agent.backend.rpc.client import RpcPool
from agent.backend.rpc.quota_gate import QuotaGate
from agent.backend.rpc.server import ServerPort
from agent.backend.rpc.service import RpcService
from agent.backend.servers import ServerAddress, Servers
from agent.connect.authority_door import AuthorityDoor
from agent.internal_tls import port_config
from agent.keeping import server_archives, store_config, use_peers_file
from agent.leader.access import AccessKeeper
from agent.leader.coordinates import CoordinateKeeper
from agent.leader.duties import LeaderDuties
from agent.leader.entries import ensure_entries
from agent.leader.login_door import LoginDoor
from agent.leader.servers import ServersKeeper, ensure_config
from agent.leader.sessions import SessionKeeper
from agent.leader.virtual_addresses import ensure_virtual_addresses
from agent.local.node import join_host_port
from agent.membership import candidates, seen_servers
from agent.parts.access import guarded
from agent.parts.ground import Ground
from agent.seal_key import read_seal
from agent.wan.pool import WanPool
from agent.wan.ways import StraightWay
from gossip import Gossip, MemberEvent
from raftstore.errors import StoreError
from raftstore.records import Json, NodeName
from raftstore.store import Store

if TYPE_CHECKING:
    from agent.backend.rpc.tls import RpcTls
    from agent.connect.auto_encrypt import AgentIssuer

log = logging.getLogger("lictor.agent")

#: A leader that ends tries for so many seconds to make another one lead.
HAND_OVER_MAX_S = 2.0


def _forget(gossip: Gossip, wan: WanPool | None, name: str) -> bool:
    """A failed server counts as left, for the other datacenters too."""
    if wan is not None:
        wan.force_leave(name)
    return gossip.force_leave(name)


class ServerParts:
    """Made in two steps: the store before gossip tells of this server, the rest after it."""

    store: Store
    backend: LocalBackend
    archives: Archives
    port: ServerPort

    def __init__(
        self,
        ground: Ground,
        *,
        pool: RpcPool,
        servers: Servers,
        port_tls: RpcTls | None,
    ) -> None:
        """Without ``port_tls`` the server's port speaks no TLS."""
        self._ground = ground
        self._pool = pool
        self._servers = servers
        self._port_tls = port_tls
        self._formation: Formation | None = None
        self._wan: WanPool | None = None
        self._way: StraightWay | None = None
        self._duties: LeaderDuties | None = None
        self._keeper: ServersKeeper | None = None

    # ---- start ----

    async def open_store(self) -> None:
        """Read what is kept and start to replicate. Raises ConfigError, StoreError."""
        ground = self._ground
        taken = use_peers_file(ground.config, address=self._address())
        if taken is not None:
            log.warning("peers.json was used: new cluster id=%s", taken.cluster_id)
        store = self.store = Store(
            store_config(ground.config), on_change=self._raft_changed, tls=self._port_tls
        )
        await store.start()
        ground.closers.add("store", store.stop)
        store.fatal.add_done_callback(self._store_failed)
        ground.metrics.add("raft", store.metrics)

    def make_backend(self) -> LocalBackend:
        """The way to the state of this very process."""
        ground = self._ground
        backend = self.backend = LocalBackend(
            self.store,
            self._pool,
            sender=f"{ground.node_id}/{uuid.uuid4().hex[:12]}",
            hold_s=ground.config.rpc_hold_timeout_s,
            signer=lambda csr_pem: self.authority.sign_leaf(csr_pem),
            rng=ground.rng,
            node=ground.config.node_name,
        )
        ground.closers.add("backend", backend.close)
        return backend

    async def start(
        self, gossip: Gossip, access: Access, wan: WanPool | None, way: StraightWay | None
    ) -> None:
        """Open the server's port, and take part in the election."""
        self._wan, self._way = wan, way
        config = self._ground.config
        self.authority = AuthorityDoor(
            self.backend,
            datacenter=config.datacenter,
            config=dict(config.ca_config),
            seal=read_seal(config.ca_seal_key_file, on_disk=bool(config.data_dir)),
            domains=config.dns.zones,
        )
        self._ground.closers.add("authority", self.authority.close)
        formation = self._formation = Formation(
            Bootstrap(own_id=self._ground.node_id, expect=config.bootstrap_expect),
            self.store,
            self._pool,
            own_id=self._ground.node_id,
            candidates=lambda: candidates(gossip.members(), config.datacenter),
            cluster_id_of=self.store.cluster_id_of,
        )
        await self._open_port(formation, access)
        self._start_duties(gossip)
        if config.bootstrap or config.bootstrap_expect == 1:
            if not self.store.bootstrapped:
                self.store.bootstrap({self._ground.node_id: self._address()})
        else:
            self._ground.owner.spawn(formation.run(), name="formation")
        self._raft_changed()

    async def _open_port(self, formation: Formation, access: Access) -> None:
        ground, config = self._ground, self._ground.config
        self.archives, transfers = server_archives(self.backend, self.store, config)
        ground.closers.add("archives", transfers.close)
        more = dict(transfers.methods)
        if self._way is not None:
            more |= {calls.HTTP: self._way.answer_here, calls.ELSEWHERE: self._way.pass_on}
        issuer: AgentIssuer | None = None
        if config.auto_encrypt_allow_tls and self._port_tls is not None:
            from agent.connect.auto_encrypt import AgentIssuer  # heavy, and rarely wanted

            issuer = AgentIssuer(self.backend, self._sign)
            more |= issuer.methods
        service = RpcService(self.backend, self.store, bootstrap_view=formation.view, more=more)
        service.answer_bytes_max = config.limits.rpc_frame_max
        servant = guarded(service, access, config)
        port = self.port = ServerPort(
            port_config(config),
            peers=self.store,
            handler=servant.handle,
            prompt=servant.begin,
            tls=self._port_tls,
            known=self._servers.has_host,
            quotas=QuotaGate(ground.quotas, self._servers.has_host),
        )
        await port.start()
        ground.closers.add("server port", port.stop)
        ground.metrics.add("rpc", lambda: port.stats)
        if issuer is not None and self._port_tls is not None:
            tls, spawn = self._port_tls, ground.owner.spawn
            spawn(issuer.follow_roots(tls), name="roots of the mesh")
            spawn(issuer.follow_revocations(tls, port.look_again), name="denied agents")

    async def _sign(self, csr_pem: str) -> str:
        return (await self.backend.sign_leaf(csr_pem)).cert_pem

    def _start_duties(self, gossip: Gossip) -> None:
        ground, config = self._ground, self._ground.config
        backend, store = self.backend, self.store
        keeper = self._keeper = ServersKeeper(
            store,
            own_id=ground.node_id,
            seen=lambda: seen_servers(gossip.members(), config.datacenter),
            heartbeat_s=store.heartbeat_s,
            forget=functools.partial(_forget, gossip, self._wan),
        )
        ground.metrics.add("servers", lambda: keeper.stats)
        sessions = SessionKeeper(store, node=config.node_name, hold_s=config.rpc_hold_timeout_s)
        ground.closers.add("sessions", sessions.close)
        ground.metrics.add("sessions", lambda: sessions.stats)
        coordinates = CoordinateKeeper(backend, store, config.coordinates)
        ground.metrics.add("coordinate_updates", coordinates.stats)
        ground.metrics.add("ca", self.authority.stats)
        access = AccessKeeper(backend, config.acl, data_dir=config.data_dir)
        logins = self.logins = LoginDoor(
            backend, datacenter=config.datacenter, limits=config.limits
        )
        ground.closers.add("logins", logins.close)
        ground.metrics.add("acl_logins", logins.stats)
        backend.leader_methods = (
            keeper.methods
            | sessions.methods
            | coordinates.methods
            | access.methods
            | self.authority.methods
            | logins.methods
        )
        extra: dict[str, Callable[[], Awaitable[None]]] = {
            "certificate authority": self.authority.ensure_root,
            "roots of the authority": self.authority.keep_roots,
            "config entries": lambda: ensure_entries(backend, config.config_entries),
            "autopilot configuration": lambda: ensure_config(backend.change, config.autopilot),
            "care of the servers": keeper.run,
            "sessions": sessions.run,
            "coordinates": coordinates.run,
            "access control": access.run,
        }
        if config.connect_enabled:
            extra["virtual addresses"] = lambda: ensure_virtual_addresses(backend)
        duties = self._duties = LeaderDuties(
            backend,
            members=gossip.members,
            own_name=NodeName(config.node_name),
            datacenter=config.datacenter,
            extra=extra,
        )
        ground.closers.add("leader duties", duties.stop)
        ground.metrics.add("leader", lambda: duties.stats)

    def _address(self) -> str:
        config = self._ground.config
        return join_host_port(config.advertise_addr, config.port_server)

    # ---- what happens while it runs ----

    def member_changed(self, event: MemberEvent) -> None:
        """Gossip has news of a member."""
        if self._formation is not None:
            self._formation.members_changed()
        if self._duties is not None:
            self._duties.member_changed(event)
        if self._keeper is not None:
            self._keeper.member_changed()

    def seen(self, servers: list[ServerAddress]) -> None:
        """Where the servers of this datacenter are now, by gossip."""
        for server in servers:
            if server.node_id and server.node_id != self._ground.node_id:
                self.store.set_address(server.node_id, server.host, server.port)

    def state_replaced(self) -> None:
        """Another state is in force: the leader looks at everything anew."""
        if self._duties is not None:
            self._duties.state_replaced()

    def explain_member(self, name: str) -> Json:
        """How the leader's duties see a member; None where nothing is known."""
        return None if self._duties is None else self._duties.explain_member(NodeName(name))

    def _raft_changed(self) -> None:
        if self._duties is None:
            return
        if self.store.is_leader:
            self._duties.start_leading()
        else:
            self._duties.stop_leading()

    def _store_failed(self, fatal: asyncio.Future[BaseException]) -> None:
        if not fatal.cancelled():
            self._ground.fail(f"store failed: {fatal.result()}")

    # ---- end ----

    async def hand_over(self) -> None:
        """A leader passes leadership on first, so that writes hardly notice that it goes."""
        if not self.store.is_leader:
            return
        try:
            leader = await self.store.operations.transfer_leadership(timeout_s=HAND_OVER_MAX_S)
            log.info("leadership handed over leader=%s", leader)
        except StoreError as error:
            log.warning("leadership not handed over error=%s", error)
