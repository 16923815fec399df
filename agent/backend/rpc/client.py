"""The calling side: one connection per server, shared by everything on this host.

A lost connection fails every request on it: definite for those that were never written, indefinite
for the rest, since the server may have acted. A silent server is found out by pings. Who asks by
callback (``call_soon``) needs no task and no timer of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from agent.backend.rpc import calls
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
from agent.backend.rpc.outbox import Outbox
from agent.errors import ForwardError
from agent.tasks import TaskOwner
from raftstore.thawed import maker_of

log = logging.getLogger("lictor.agent.rpc.client")

_make_request = maker_of(Request)


#: Takes a reply's payload, or why there is none. Must be short and must not raise.
Done = Callable[["bytes | ForwardError"], None]

#: How coarse the deadlines of ``call_soon`` are, in seconds: one timer watches over all of them.
DEADLINE_STEP_S = 0.1


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
        self._waiting: dict[int, Done] = {}
        self._deadlines: dict[int, float] = {}
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._next_id = 0
        self._transport: asyncio.Transport | None = None
        self._heard_at = self._loop.time()
        self._ping: asyncio.TimerHandle | None = None
        self.greeted: asyncio.Future[Hello] = self._loop.create_future()
        self._outbox = Outbox(self._write_now)

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
            self._settle(frame.id, frame.payload)
        elif isinstance(frame, Failure):
            error = RemoteFailure(frame.code, frame.text, definite=frame.definite)
            self._settle(frame.id, error)
        elif isinstance(frame, Hello):
            if not self.greeted.done():
                self.greeted.set_result(frame)
        elif isinstance(frame, Ping):
            self._write(Pong(frame.nonce))
        elif not isinstance(frame, Pong):
            raise FrameError("a server sends no such frame")

    def _settle(self, request_id: int, result: bytes | ForwardError) -> None:
        done = self._waiting.pop(request_id, None)
        self._deadlines.pop(request_id, None)
        if done is not None:
            done(result)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._ping, self._deadline_timer):
            if timer is not None:
                timer.cancel()
        self._transport = None
        if not self.greeted.done():
            self.greeted.set_exception(ForwardError("connection closed", definite=True))
            self.greeted.exception()  # it may be that nobody waits for the greeting any more
        self._on_lost()
        for request_id in list(self._waiting):
            self._settle(request_id, ForwardError("connection to server lost", definite=False))

    def _keep_alive(self) -> None:
        if self._loop.time() - self._heard_at > self._limits.silence_max_s:
            log.warning("server went silent, closing waiting=%d", len(self._waiting))
            self.close()
            return
        self._write(Ping(0))
        self._ping = self._loop.call_later(self._limits.ping_interval_s, self._keep_alive)

    def _write(self, frame: Frame) -> None:
        self._outbox.put(encode(frame))

    def _write_now(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _send(self, method: str, payload: bytes, timeout_s: float, done: Done) -> int:
        if self._transport is None or self._transport.is_closing():
            raise ForwardError("connection to server lost", definite=True)
        if len(self._waiting) >= self._limits.inflight_max:
            raise ForwardError("too many requests to the server are under way", definite=True)
        if len(payload) + 1024 > self._limits.frame_max:
            raise ForwardError("request is larger than a frame may be", definite=True)
        self._next_id += 1
        self._waiting[self._next_id] = done
        self._write(_make_request(self._next_id, method, timeout_s, payload))
        return self._next_id

    def call_soon(self, method: str, payload: bytes, timeout_s: float, done: Done) -> None:
        """Send a request; ``done`` is called once. Raises ForwardError for what was never sent."""
        request_id = self._send(method, payload, timeout_s, done)
        self._deadlines[request_id] = self._loop.time() + timeout_s
        if self._deadline_timer is None:
            self._deadline_timer = self._loop.call_later(DEADLINE_STEP_S, self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        now = self._loop.time()
        for request_id in [each for each, due in self._deadlines.items() if due <= now]:
            self._write(Cancel(request_id))
            self._settle(request_id, _too_late())
        self._deadline_timer = None
        if self._deadlines and self._transport is not None:
            self._deadline_timer = self._loop.call_later(DEADLINE_STEP_S, self._look_at_deadlines)

    async def call(self, method: str, payload: bytes, timeout_s: float) -> bytes:
        """Send a request and wait for its reply."""
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        request_id = self._send(method, payload, timeout_s, functools.partial(_tell, waiter))
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError:
            self._write(Cancel(request_id))
            raise _too_late() from None
        except asyncio.CancelledError:
            self._write(Cancel(request_id))
            raise
        finally:
            self._waiting.pop(request_id, None)

    def retire(self) -> None:
        """Close as soon as nobody waits for an answer any more."""
        if self._waiting:
            self._loop.call_later(DEADLINE_STEP_S, self.retire)
        else:
            self.close()

    def close(self) -> None:
        """Drop the connection; waiting requests fail as indefinite."""
        if self._transport is not None:
            self._transport.abort()


def _too_late() -> ForwardError:
    return ForwardError("the server did not answer in time", definite=False)


def _tell(waiter: asyncio.Future[bytes], result: bytes | ForwardError) -> None:
    if waiter.done():
        return
    if isinstance(result, ForwardError):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)


class RpcPool:
    """Connections to servers by address, opened when first needed, one each."""

    def __init__(
        self,
        *,
        datacenter: str,
        node: str,
        limits: RpcLimits,
        tls: ClientTls | None = None,
        theirs: str = "",
    ) -> None:
        """``theirs`` is the servers' datacenter, where it is another one."""
        self._theirs = theirs or datacenter
        self._hello = Hello(PROTOCOL_VERSION, datacenter, node)
        self._limits = limits
        self._tls = tls
        self._open: dict[tuple[str, int], asyncio.Task[_Connection]] = {}
        self._owner = TaskOwner()
        #: Gives the secret of the token that a request is made with; "" for none.
        self.acting: Callable[[], str] | None = None

    async def call(
        self, address: tuple[str, int], method: str, payload: bytes, *, timeout_s: float
    ) -> bytes:
        """Call a method on the server at ``address``. Raises ForwardError, RemoteFailure."""
        method, payload = self._with_token(method, payload)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        connection = await self._connection(address)
        return await connection.call(method, payload, max(0.001, deadline - loop.time()))

    def call_soon(
        self,
        address: tuple[str, int],
        method: str,
        payload: bytes,
        *,
        timeout_s: float,
        done: Done,
    ) -> bool:
        """``call`` by callback and without a task; False, and nothing done, without a connection.

        ``done`` is called once, with the reply's payload or with what ``call`` raises.
        """
        method, payload = self._with_token(method, payload)
        task = self._open.get(address)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return False
        try:
            task.result().call_soon(method, payload, max(0.001, timeout_s), done)
        except ForwardError as error:
            done(error)
        return True

    def _with_token(self, method: str, payload: bytes) -> tuple[str, bytes]:
        if method == calls.AS or method in calls.WITHOUT_TOKEN:
            return method, payload
        secret = self.acting() if self.acting else ""
        return (calls.AS, calls.write_as(secret, method, payload)) if secret else (method, payload)

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
        if theirs.datacenter != self._theirs:
            connection.close()
            raise ForwardError(f"server is of datacenter {theirs.datacenter!r}", definite=True)
        return connection

    def _forget(self, address: tuple[str, int], task: asyncio.Task[_Connection]) -> None:
        if self._open.get(address) is task:
            del self._open[address]

    def redial(self) -> None:
        """Let every call from now on go over a new connection; the open ones end when what is under
        way on them has."""
        for task in self._open.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().retire()
        self._open.clear()

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self._open.values()):
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._owner.close()
        self._open.clear()
