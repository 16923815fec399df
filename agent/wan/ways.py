"""The ways into other datacenters: straight to their servers, or by one of our own.

A server knows the others by the pool of servers and keeps a connection to one of each datacenter.
A client agent has no such pool: it gives a request to a server of its own datacenter. Either way a
request crosses the border once, for whoever is asked there answers it or says that it cannot.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from agent.backend.rpc import calls
from agent.backend.rpc.client import RemoteFailure, RpcPool
from agent.backend.servers import Servers
from agent.errors import ForwardError, RequestError
from agent.wan import datacenters
from agent.wan.relayed import RelayedReply, RelayedRequest, read_elsewhere, write_elsewhere
from gossip import Member

log = logging.getLogger("lictor.agent.wan")

#: Servers of a datacenter that are tried before a request fails.
TRIES_MAX = 3


class NoPath(RequestError):
    """No way leads to this datacenter, as far as is known."""

    def __init__(self) -> None:
        super().__init__(500, "No path to datacenter")


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


class StraightWay:
    """A server's."""

    def __init__(
        self,
        own: str,
        members: Callable[[], Sequence[Member]],
        make_pool: Callable[[str], RpcPool],
        rng: random.Random,
    ) -> None:
        """``make_pool`` gives the connections to a datacenter."""
        self._own = own
        self._members = members
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
            pool = self._pools.get(datacenter)
            if pool is None:
                pool = self._pools[datacenter] = self._make_pool(datacenter)
            try:
                return await pool.call(
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
        raise NoPath if failed is None else failed

    async def pass_on(self, payload: bytes, timeout_s: float) -> bytes:
        """What a client agent of ours wants of another datacenter. Raises NoPath, ForwardError."""
        datacenter, method, inner = read_elsewhere(payload)
        if datacenter == self._own:
            return await self.answer_here(inner, timeout_s)
        request = RelayedRequest.decode(inner)
        return await self._ask(
            datacenter, method, inner, timeout_s=timeout_s, repeatable=request.method == "GET"
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

    def __init__(self, call: CallsServer) -> None:
        self._call = call

    def may_lead_to(self, datacenter: str) -> bool:
        """The servers know."""
        return True

    async def http(
        self, datacenter: str, request: RelayedRequest, *, timeout_s: float, repeatable: bool
    ) -> RelayedReply:
        """Have one of them ask."""
        payload = write_elsewhere(datacenter, calls.HTTP, request.encode())
        try:
            raw = await self._call(calls.ELSEWHERE, payload, hold_s=timeout_s, once=not repeatable)
        except RequestError as error:
            raise (NoPath() if error.text == NoPath().text else error) from None
        return RelayedReply.decode(raw)


class CallsServer(Protocol):
    """RemoteBackend.call_server."""

    async def __call__(
        self, method: str, payload: bytes, *, hold_s: float, once: bool = False
    ) -> bytes: ...


def _as_told(error: RemoteFailure) -> Exception:
    if error.code.startswith("status-"):
        return RequestError(int(error.code[7:]), str(error))
    return error
