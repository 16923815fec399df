"""The ways into other datacenters: straight to their servers, or by one of our own.

A server knows the others by the pool of servers and keeps a connection to one of each datacenter.
A client agent has no such pool: it gives a request to a server of its own datacenter. Either way a
request crosses the border once, for whoever is asked there answers it or says that it cannot.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from agent.backend import Ask, Reply
from agent.backend.archive_transfers import RemoteArchives
from agent.backend.archives import ArchiveConfig
from agent.backend.rpc import calls
from agent.backend.rpc.client import RemoteFailure, RpcPool
from agent.backend.servers import Servers
from agent.errors import ForwardError, RequestError
from agent.wan import datacenters
from agent.wan.relayed import RelayedReply, RelayedRequest, read_elsewhere, write_elsewhere
from gossip import Member
from raftstore.queries import Query
from raftstore.slices import in_slices

T = TypeVar("T")

log = logging.getLogger("lictor.agent.wan")

#: Servers of a datacenter that are tried before a request fails.
TRIES_MAX = 3
#: Between our agents it tells an unknown datacenter from one that cannot be reached.
_UNKNOWN_STATUS = 404


class NoPath(RequestError):
    """No way leads to this datacenter, as far as is known."""

    def __init__(self) -> None:
        super().__init__(500, "No path to datacenter")


class UnknownDatacenter(NoPath):
    """No member of the pool of servers has ever named this datacenter."""

    def __init__(self) -> None:
        super().__init__()
        self.status = _UNKNOWN_STATUS


class Way(Protocol):
    """What a face needs of another datacenter."""

    def may_lead_to(self, datacenter: str) -> bool:
        """Whether it makes sense to ask; False for what certainly nobody knows."""
        ...

    async def http(
        self, datacenter: str, request: RelayedRequest, *, timeout_s: float, repeatable: bool
    ) -> RelayedReply:
        """Have a request answered there. Raises NoPath, ForwardError."""
        ...

    async def ask(
        self, datacenter: str, query: Query[T], options: Ask, *, secret: str, timeout_s: float
    ) -> Reply[T]:
        """What its state says to whoever shows a token. Raises NoPath (UnknownDatacenter where
        nobody knows it), ForwardError, RequestError."""
        ...

    async def datacenters(self) -> list[str]:
        """All that are known, the nearest first. Raises NoPath, ForwardError."""
        ...

    async def archives(self, datacenter: str, config: ArchiveConfig) -> RemoteArchives:
        """Its snapshots, with the token that is acting. Raises NoPath, RequestError."""
        ...


class StraightWay:
    """A server's."""

    def __init__(
        self,
        own: str,
        members: Callable[[], Sequence[Member]],
        make_pool: Callable[[str], RpcPool],
        rng: random.Random,
        *,
        nearest_first: Callable[[], list[str]] = list,
    ) -> None:
        """``make_pool`` gives the connections to a datacenter; ``nearest_first`` all of them."""
        self._own = own
        self._members = members
        self._nearest_first = nearest_first
        self._make_pool = make_pool
        self._rng = rng
        self._servers: dict[str, Servers] = {}
        self._pools: dict[str, RpcPool] = {}
        #: Carries out a request in this very datacenter; None until the face stands.
        self.answer: Callable[[RelayedRequest], Awaitable[RelayedReply]] | None = None
        self.requests = 0
        self.failures = 0

    def may_lead_to(self, datacenter: str) -> bool:
        """Whether a live server of it is known."""
        return self._looked(datacenter).preferred() is not None

    def _looked(self, datacenter: str) -> Servers:
        found = datacenters.addresses(self._members(), datacenter)
        if not found:
            # A name that a client made up is not remembered.
            self._servers.pop(datacenter, None)
            return Servers(self._rng)
        servers = self._servers.setdefault(datacenter, Servers(self._rng))
        servers.update(found)
        return servers

    async def http(
        self, datacenter: str, request: RelayedRequest, *, timeout_s: float, repeatable: bool
    ) -> RelayedReply:
        """Ask one server after the other: of a change only while none can have begun it."""
        raw = await self._ask(
            datacenter, calls.HTTP, request.encode(), timeout_s=timeout_s, repeatable=repeatable
        )
        return RelayedReply.decode(raw)

    async def ask(
        self, datacenter: str, query: Query[T], options: Ask, *, secret: str, timeout_s: float
    ) -> Reply[T]:
        """Ask one server after the other."""
        payload = calls.write_as(secret, calls.ASK, calls.AskCall(query, options).encode())
        raw = await self._ask(datacenter, calls.AS, payload, timeout_s=timeout_s, repeatable=True)
        return await in_slices(calls.decode_reply(query, raw))

    async def datacenters(self) -> list[str]:
        """By the pool of servers."""
        return self._nearest_first()

    async def archives(self, datacenter: str, config: ArchiveConfig) -> RemoteArchives:
        """Piece by piece from one of its servers."""
        servers = self._looked(datacenter)
        if servers.preferred() is None:
            raise NoPath
        return RemoteArchives(servers, self._pool(datacenter), config)

    def _pool(self, datacenter: str) -> RpcPool:
        pool = self._pools.get(datacenter)
        if pool is None:
            pool = self._pools[datacenter] = self._make_pool(datacenter)
        return pool

    async def _ask(
        self, datacenter: str, method: str, payload: bytes, *, timeout_s: float, repeatable: bool
    ) -> bytes:
        self.requests += 1
        failed: ForwardError | None = None
        for _ in range(TRIES_MAX):
            servers = self._looked(datacenter)
            server = servers.preferred()
            if server is None:
                break
            try:
                return await self._pool(datacenter).call(
                    (server.host, server.port), method, payload, timeout_s=timeout_s
                )
            except RemoteFailure as error:
                self.failures += 1
                raise _as_told(error) from None
            except ForwardError as error:
                failed = error
                servers.failed(server)
                log.warning(
                    "server elsewhere not asked datacenter=%s server=%s definite=%s error=%s",
                    datacenter, server.name, error.definite, error,
                )  # fmt: skip
                if not error.definite and not repeatable:
                    break
        self.failures += 1
        if failed is not None:
            raise failed
        known = datacenter in datacenters.by_datacenter(self._members())
        raise NoPath if known else UnknownDatacenter

    async def pass_on(self, payload: bytes, timeout_s: float) -> bytes:
        """What a client agent of ours wants of another datacenter. Raises NoPath, ForwardError."""
        datacenter, method, inner = read_elsewhere(payload)
        if datacenter == self._own:
            if method != calls.HTTP:
                raise ForwardError("this is asked of a server itself", definite=True)
            return await self.answer_here(inner, timeout_s)
        repeatable = method != calls.HTTP or RelayedRequest.decode(inner).method == "GET"
        return await self._ask(
            datacenter, method, inner, timeout_s=timeout_s, repeatable=repeatable
        )

    async def answer_here(self, payload: bytes, timeout_s: float) -> bytes:
        """What another datacenter wants of ours."""
        if self.answer is None:
            raise ForwardError("this server does not answer HTTP", definite=True)
        return (await self.answer(RelayedRequest.decode(payload))).encode()

    def stats(self) -> dict[str, int]:
        """Counters."""
        return {
            "requests": self.requests,
            "failures": self.failures,
            "datacenters_connected_current": len(self._pools),
        }

    async def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()


class WayByServers:
    """A client agent's: by the servers of its own datacenter."""

    def __init__(self, call: CallsServer, own: str, *, hold_s: float) -> None:
        """``own`` is the datacenter of the servers that ``call`` reaches."""
        self._call = call
        self._own = own
        self._hold_s = hold_s

    def may_lead_to(self, datacenter: str) -> bool:
        """The servers know."""
        return True

    async def http(
        self, datacenter: str, request: RelayedRequest, *, timeout_s: float, repeatable: bool
    ) -> RelayedReply:
        """Have one of them ask."""
        payload = write_elsewhere(datacenter, calls.HTTP, request.encode())
        return RelayedReply.decode(await self._passed_on(payload, timeout_s, once=not repeatable))

    async def ask(
        self, datacenter: str, query: Query[T], options: Ask, *, secret: str, timeout_s: float
    ) -> Reply[T]:
        """Have one of them ask."""
        asked = calls.write_as(secret, calls.ASK, calls.AskCall(query, options).encode())
        payload = write_elsewhere(datacenter, calls.AS, asked)
        raw = await self._passed_on(payload, timeout_s, once=False)
        return await in_slices(calls.decode_reply(query, raw))

    async def datacenters(self) -> list[str]:
        """As one of them knows them."""
        request = RelayedRequest(method="GET", target="/v1/catalog/datacenters")
        reply = await self.http(self._own, request, timeout_s=self._hold_s, repeatable=True)
        found = json.loads(reply.body) if reply.status == 200 else []
        return [name for name in found if isinstance(name, str)] if type(found) is list else []

    async def archives(self, datacenter: str, config: ArchiveConfig) -> RemoteArchives:
        """A snapshot would lie on three agents at once."""
        if datacenter not in (name.lower() for name in await self.datacenters()):
            raise NoPath
        raise RequestError(
            400, "a snapshot of another datacenter is taken through a server, not a client agent"
        )

    async def _passed_on(self, payload: bytes, timeout_s: float, *, once: bool) -> bytes:
        try:
            return await self._call(calls.ELSEWHERE, payload, hold_s=timeout_s, once=once)
        except RequestError as error:
            if error.text != NoPath().text:
                raise
            raise (UnknownDatacenter if error.status == _UNKNOWN_STATUS else NoPath) from None


class CallsServer(Protocol):
    """RemoteBackend.call_server."""

    async def __call__(
        self, method: str, payload: bytes, *, hold_s: float, once: bool = False
    ) -> bytes: ...


def _as_told(error: RemoteFailure) -> Exception:
    if error.code.startswith("status-"):
        return RequestError(int(error.code[7:]), str(error))
    return error
