"""The calling side: one connection per server, shared by everything on this host.

A lost connection fails every request on it: definite for those that were never written, indefinite
for the rest, since the server may have acted. A silent server is found out by pings.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from agent.backend.rpc.frames import (
    PROTOCOL_VERSION,
    RPC_FIRST_BYTE,
    Cancel,
    Failure,
    Frame,
    FrameError,
    FrameReader,
    Hello,
    Ping,
    Pong,
    Reply,
    Request,
    encode,
)
from agent.errors import ForwardError
from agent.tasks import TaskOwner

log = logging.getLogger("lictor.agent.rpc.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcLimits:
    """Bounds of a connection; the names are those of the agent's configuration."""

    frame_max: int = 8 * 1024 * 1024
    inflight_max: int = 4096
    connect_timeout_s: float = 3.0
    ping_interval_s: float = 3.0
    silence_max_s: float = 9.0


class ClientTls(Protocol):
    """What a caller needs to know of TLS (agent/backend/rpc/tls.py); asked for every connection."""

    @property
    def server_name(self) -> str: ...
    def client_context(self) -> ssl.SSLContext | None: ...


class RemoteFailure(ForwardError):
    """The server answered that the request failed. ``code`` says how."""

    def __init__(self, code: str, text: str, *, definite: bool) -> None:
        super().__init__(text, definite=definite)
        self.code = code


class _Connection(asyncio.Protocol):
    """One multiplexed connection. Owned by RpcPool."""

    def __init__(self, limits: RpcLimits, hello: Hello, on_lost: Callable[[], None]) -> None:
        self._limits = limits
        self._hello = hello
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(limits.frame_max)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._next_id = 0
        self._transport: asyncio.Transport | None = None
        self._heard_at = self._loop.time()
        self._ping: asyncio.TimerHandle | None = None
        self.greeted: asyncio.Future[Hello] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's: only the interface is alike.
        self._transport = transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.write(RPC_FIRST_BYTE + encode(self._hello))
        self._ping = self._loop.call_later(self._limits.ping_interval_s, self._keep_alive)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except FrameError as error:
            log.warning("bad frame from server error=%s", error)
            self.close()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Reply):
            waiter = self._waiting.pop(frame.id, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(frame.payload)
        elif isinstance(frame, Failure):
            waiter = self._waiting.pop(frame.id, None)
            if waiter is not None and not waiter.done():
                waiter.set_exception(RemoteFailure(frame.code, frame.text, definite=frame.definite))
        elif isinstance(frame, Hello):
            if not self.greeted.done():
                self.greeted.set_result(frame)
        elif isinstance(frame, Ping):
            self._write(Pong(frame.nonce))
        elif not isinstance(frame, Pong):
            raise FrameError("a server sends no such frame")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ping is not None:
            self._ping.cancel()
        self._transport = None
        if not self.greeted.done():
            self.greeted.set_exception(ForwardError("connection closed", definite=True))
            self.greeted.exception()  # it may be that nobody waits for the greeting any more
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_exception(ForwardError("connection to server lost", definite=False))
        self._on_lost()

    def _keep_alive(self) -> None:
        if self._loop.time() - self._heard_at > self._limits.silence_max_s:
            log.warning("server went silent, closing waiting=%d", len(self._waiting))
            self.close()
            return
        self._write(Ping(0))
        self._ping = self._loop.call_later(self._limits.ping_interval_s, self._keep_alive)

    def _write(self, frame: Frame) -> None:
        if self._transport is not None:
            self._transport.write(encode(frame))

    async def call(self, method: str, payload: bytes, timeout_s: float) -> bytes:
        """Send a request and wait for its reply."""
        if self._transport is None or self._transport.is_closing():
            raise ForwardError("connection to server lost", definite=True)
        if len(self._waiting) >= self._limits.inflight_max:
            raise ForwardError("too many requests to the server are under way", definite=True)
        if len(payload) + 1024 > self._limits.frame_max:
            raise ForwardError("request is larger than a frame may be", definite=True)
        self._next_id += 1
        request_id = self._next_id
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[request_id] = waiter
        self._write(Request(request_id, method, timeout_s, payload))
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError:
            self._write(Cancel(request_id))
            raise ForwardError("the server did not answer in time", definite=False) from None
        except asyncio.CancelledError:
            self._write(Cancel(request_id))
            raise
        finally:
            self._waiting.pop(request_id, None)

    def close(self) -> None:
        """Drop the connection; waiting requests fail as indefinite."""
        if self._transport is not None:
            self._transport.abort()


class RpcPool:
    """Connections to servers by address, opened when first needed, one each."""

    def __init__(
        self, *, datacenter: str, node: str, limits: RpcLimits, tls: ClientTls | None = None
    ) -> None:
        self._hello = Hello(PROTOCOL_VERSION, datacenter, node)
        self._limits = limits
        self._tls = tls
        self._open: dict[tuple[str, int], asyncio.Task[_Connection]] = {}
        self._owner = TaskOwner()

    async def call(
        self, address: tuple[str, int], method: str, payload: bytes, *, timeout_s: float
    ) -> bytes:
        """Call a method on the server at ``address``. Raises ForwardError, RemoteFailure."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        connection = await self._connection(address)
        return await connection.call(method, payload, max(0.001, deadline - loop.time()))

    async def _connection(self, address: tuple[str, int]) -> _Connection:
        task = self._open.get(address)
        if task is None:
            task = self._owner.spawn(
                self._dial(address), name=f"rpc dial {address[0]}", awaited=True
            )
            self._open[address] = task
        try:
            return await asyncio.shield(task)
        except (OSError, TimeoutError) as error:
            self._forget(address, task)
            raise ForwardError(
                f"cannot reach server {address[0]}: {error}", definite=True
            ) from None
        except ForwardError:
            self._forget(address, task)
            raise

    async def _dial(self, address: tuple[str, int]) -> _Connection:
        loop = asyncio.get_running_loop()

        def lost() -> None:
            self._open.pop(address, None)

        context = None if self._tls is None else self._tls.client_context()
        name = None if self._tls is None or context is None else self._tls.server_name
        async with asyncio.timeout(self._limits.connect_timeout_s):
            _, connection = await loop.create_connection(
                lambda: _Connection(self._limits, self._hello, lost),
                address[0],
                address[1],
                ssl=context,
                server_hostname=name,
            )
            try:
                theirs = await connection.greeted
            except BaseException:
                connection.close()
                raise
        if theirs.datacenter != self._hello.datacenter:
            connection.close()
            raise ForwardError(f"server is of datacenter {theirs.datacenter!r}", definite=True)
        return connection

    def _forget(self, address: tuple[str, int], task: asyncio.Task[_Connection]) -> None:
        if self._open.get(address) is task:
            del self._open[address]

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self._open.values()):
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._owner.close()
        self._open.clear()
