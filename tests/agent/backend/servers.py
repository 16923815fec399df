"""Real servers in one process: store, server port and backend on loopback sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from agent.backend import SignedLeaf
from agent.backend.archive_transfers import ArchiveTransfers
from agent.backend.archives import ArchiveConfig, LocalArchives
from agent.backend.local import LocalBackend
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.backend.rpc.server import ServerPort, ServerPortConfig
from agent.backend.rpc.service import RpcService
from agent.backend.rpc.tls import RpcTls
from raftstore.store import Store, StoreConfig

HOLD_S = 7.0
ARCHIVES = ArchiveConfig(
    folder="", bytes_max=10_000_000, unpacked_bytes_max=100_000_000, timeout_s=60.0, at_once_max=2
)


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


class Server:
    """One server, without gossip and faces."""

    def __init__(
        self, name: str, data_dir: str = "", tls: RpcTls | None = None, **limits: float
    ) -> None:
        self.name = name
        self.tls = tls
        self.on_change: Callable[[], None] = lambda: None
        self.store = Store(
            StoreConfig(node_id=name, data_dir=data_dir),
            on_change=lambda: self.on_change(),
            tls=tls,
        )
        self.pool = RpcPool(datacenter="dc1", node=name, limits=RpcLimits(), tls=tls)
        self.backend = LocalBackend(
            self.store,
            self.pool,
            sender=name,
            hold_s=HOLD_S,
            signer=self._sign,
            rng=random.Random(name),
        )
        self.archives = LocalArchives(self.backend, self.store, ARCHIVES)
        self.transfers = ArchiveTransfers(self.archives, ARCHIVES)
        service = self.service = RpcService(
            self.backend, self.store, bootstrap_view=lambda: b"", more=self.transfers.methods
        )
        self.port = ServerPort(
            replace(
                ServerPortConfig(
                    host="127.0.0.1",
                    port=0,
                    datacenter="dc1",
                    node=name,
                    frame_max=8 << 20,
                    inflight_max=4096,
                    conns_per_client_max=100,
                    handshake_timeout_s=2.0,
                ),
                **limits,
            ),
            peers=self.store,
            handler=service.handle,
            prompt=service.begin,
            tls=tls,
        )

    async def _sign(self, csr_pem: str) -> SignedLeaf:
        return SignedLeaf(cert_pem=f"{self.name} signed {csr_pem}", serial_number="01", index=7)

    async def start(self) -> None:
        await self.store.start()
        await self.port.start()

    @property
    def address(self) -> str:
        host, port = self.port.address
        return f"{host}:{port}"

    async def stop(self) -> None:
        await self.transfers.close()
        await self.port.stop()
        await self.backend.close()
        await self.store.stop()
        await self.pool.close()


S = TypeVar("S", bound=Server)


async def three_servers() -> list[Server]:
    """A cluster with a leader."""
    return await formed([Server(name) for name in ("a", "b", "c")])


async def formed(servers: list[S], ghosts: tuple[str, ...] = ()) -> list[S]:
    """Start them as one cluster, with members that nobody ever sees; wait until all know its
    leader."""
    for server in servers:
        await server.start()
    members = {server.name: server.address for server in servers} | dict.fromkeys(ghosts, "")
    for server in servers:
        server.store.bootstrap(members)
    await until(lambda: any(server.store.is_leader for server in servers))
    await until(lambda: all(server.store.status().leader_id for server in servers))
    return servers


def leader_of(servers: list[S]) -> S:
    """The one that leads."""
    return next(server for server in servers if server.store.is_leader)


def followers_of(servers: list[S]) -> list[S]:
    """The others."""
    return [server for server in servers if not server.store.is_leader]
