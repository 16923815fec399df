"""The answering side: the server port, and the requests that come in on it.

One port carries Raft and requests, told apart by a connection's first byte (inside TLS where there
is TLS, see ``listener``), so that firewalls need one rule, as with Consul. Bounds: connections per
client address, handshakes (``admission``), time until the first byte and the greeting, bytes per
frame, requests under way per connection, bytes held for one connection and for one client.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from agent.backend.rpc import calls
from agent.backend.rpc.admission import HandshakeRates, Shares
from agent.backend.rpc.frames import (
    PROTOCOL_VERSION,
    RAFT_FIRST_BYTE,
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
    encode_parts,
)
from agent.backend.rpc.listener import Door, Listener, ListenerLimits, ListenerTls
from agent.backend.rpc.outbox import Outbox
from agent.backend.rpc.quota_gate import WORDS, QuotaGate
from agent.backend.rpc.standing import Standing
from agent.errors import ForwardError, RequestError
from agent.tasks import TaskOwner
from raftstore.answers import AnswerTooLarge
from raftstore.errors import DecodeError, StoreError

log = logging.getLogger("lictor.agent.rpc.server")

#: Frames of one connection that are taken in before the loop gets its turn again.
FRAMES_AT_ONCE = 64
#: A client that has so much to read is not read from.
UNREAD_HIGH_BYTES = 1024 * 1024
#: Smaller changes of what a connection holds are not brought to account.
GRAIN_BYTES = 4096

#: Carries out one method: (method, payload, seconds left) -> the reply's payload.
Handler = Callable[[str, bytes, float], Awaitable[bytes]]
#: The same by callback, where no task is needed; False when it has to be the other way.
PromptHandler = Callable[[str, bytes, float, Callable[["bytes | Exception"], None]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPortConfig:
    """Where to listen and the bounds; names as in the agent's configuration."""

    host: str
    port: int
    datacenter: str
    node: str
    frame_max: int
    inflight_max: int
    conns_per_client_max: int
    handshake_timeout_s: float
    handshakes_max: int = 512
    rates: HandshakeRates = field(default_factory=HandshakeRates)
    write_buffer_max: int = 16 * 1024 * 1024
    client_bytes_max: int = 64 * 1024 * 1024
    """Of one address: frames that are not complete, requests under way, unread answers."""


@dataclass(slots=True)
class RpcStats:
    """Counters since the start."""

    connections: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    bytes_held: int = 0


class PortTls(ListenerTls, Protocol):
    """What the port needs to know of TLS (agent/backend/rpc/tls.py)."""

    def standing(self, certificate: bytes | None) -> Standing: ...
    def denied(self, certificate: bytes | None) -> str: ...


class AcceptsPeers(Protocol):
    """What takes over connections of Raft peers (raftstore.store.Store)."""

    def accept(self) -> asyncio.Protocol:
        """A protocol for one inbound connection whose first byte has been read."""
        ...


class ServerPort:
    """Listens on the server port and hands each connection to whom it concerns."""

    def __init__(
        self,
        config: ServerPortConfig,
        *,
        peers: AcceptsPeers,
        handler: Handler,
        prompt: PromptHandler | None = None,
        tls: PortTls | None = None,
        known: Callable[[str], bool] = lambda client: False,
        quotas: QuotaGate | None = None,
    ) -> None:
        """``prompt`` is asked before ``handler``, and carries out what it can without a task.
        ``known``: is this the address of a server?"""
        self.config = config
        self.door = Door()
        self.shares = Shares(config.client_bytes_max)
        self._stats = RpcStats(refused=self.door.counts)
        self.peers = peers
        self.handler = handler
        self.prompt = prompt
        self.tls = tls
        self.quotas = quotas
        self.owner = TaskOwner()
        self.per_client: Counter[str] = Counter()
        self._listener = Listener(
            factory=lambda: _FirstByte(self),
            may_open=self._may_open,
            door=self.door,
            limits=ListenerLimits(
                handshakes_max=config.handshakes_max,
                handshake_timeout_s=config.handshake_timeout_s,
                rates=config.rates,
            ),
            known=known,
            tls=tls,
        )
        self._address: tuple[str, int] | None = None
        self._transports: set[asyncio.Transport] = set()

    async def start(self) -> None:
        """Bind the port. Raises OSError when it is taken."""
        self._address = self._listener.start(self.config.host, self.config.port)

    @property
    def stats(self) -> RpcStats:
        """The counters as they stand."""
        self._stats.bytes_held = self.shares.total
        return self._stats

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens in fact (the port may have been 0)."""
        assert self._address is not None
        return self._address

    def standing(self, transport: asyncio.Transport) -> Standing:
        """What may be asked for over this connection."""
        encrypted = transport.get_extra_info("ssl_object")
        if self.tls is None or encrypted is None:
            return Standing.ALL
        return self.tls.standing(encrypted.getpeercert(binary_form=True))

    def _may_open(self, client: str, waiting: int) -> bool:
        return self.per_client[client] + waiting < self.config.conns_per_client_max

    def opened(self, transport: asyncio.Transport) -> bool:
        """Count a connection in; False when its client has too many."""
        client = _client(transport)
        if self.per_client[client] >= self.config.conns_per_client_max:
            self.door.refuse("connections per client", client)
            return False
        self.per_client[client] += 1
        self._stats.connections += 1
        self._transports.add(transport)
        return True

    def closed(self, transport: asyncio.Transport) -> None:
        """Count a connection out."""
        if transport not in self._transports:
            return
        self._transports.discard(transport)
        client = _client(transport)
        self.per_client[client] -= 1
        if not self.per_client[client]:
            del self.per_client[client]

    async def look_again(self) -> None:
        """Cut those whose certificates were denied meanwhile; others get their turn in between."""
        for number, transport in enumerate(list(self._transports)):
            encrypted = transport.get_extra_info("ssl_object")
            if self.tls is not None and encrypted is not None and not transport.is_closing():
                why = self.tls.denied(encrypted.getpeercert(binary_form=True))
                if why:
                    self.door.refuse("certificate was revoked", _client(transport), why)
                    transport.abort()
            if number % FRAMES_AT_ONCE == FRAMES_AT_ONCE - 1:
                await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop listening and cut what is open."""
        await self._listener.stop()
        for transport in list(self._transports):
            transport.abort()
        await self.owner.close()


def _client(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


class _FirstByte(asyncio.Protocol):
    """Reads one byte and gives the connection to the protocol that it names."""

    def __init__(self, port: ServerPort) -> None:
        self._port = port
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's: only the interface is alike.
        self._transport = transport = cast(asyncio.Transport, transport)
        if not self._port.opened(transport):
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._port.config.handshake_timeout_s, self._too_late)

    def _too_late(self) -> None:
        assert self._transport is not None
        self._port.door.refuse("handshake timeout", _client(self._transport))
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._port.closed(self._transport)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        if self._timer is not None:
            self._timer.cancel()
        first, rest = data[:1], data[1:]
        following: asyncio.Protocol
        if first == RPC_FIRST_BYTE:
            following = _Session(self._port)
        elif first == RAFT_FIRST_BYTE:
            # A peer's connection lives as long as the cluster: it is not one of a client's share.
            self._port.closed(transport)
            following = self._port.peers.accept()
        else:
            self._port.door.refuse("unknown protocol", _client(transport))
            transport.abort()
            return
        transport.set_protocol(following)
        following.connection_made(transport)
        if rest:
            following.data_received(rest)


class _Session(asyncio.Protocol):
    """One client's connection: requests in, replies out, in any order."""

    def __init__(self, port: ServerPort) -> None:
        self._port = port
        self._reader = FrameReader(port.config.frame_max)
        #: None for what is carried out without a task.
        self._running: dict[int, asyncio.Task[None] | None] = {}
        self._payload_bytes = 0
        self._held = 0
        self._blocked = False
        self._paused = False
        self._greeted = False
        self._standing = Standing.ALL
        self._client = ""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._outbox = Outbox(self._write_now)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's: only the interface is alike.
        self._transport = transport = cast(asyncio.Transport, transport)
        self._client = _client(transport)
        self._standing = self._port.standing(transport)
        if self._standing is Standing.NOTHING:
            self._cut("certificate of no agent")
            return
        transport.set_write_buffer_limits(high=UNREAD_HIGH_BYTES)
        config = self._port.config
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(config.handshake_timeout_s, self._cut, "greeting timeout")
        self._write(Hello(PROTOCOL_VERSION, config.datacenter, config.node))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._port.closed(self._transport)
        self._transport = None
        self._port.shares.change(self._client, -self._held)
        self._held = 0
        for task in list(self._running.values()):
            if task is not None:
                task.cancel()

    def _cut(self, reason: str, detail: str = "") -> None:
        """End the connection and say why, once."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._port.door.refuse(reason, self._client, detail)
            transport.abort()

    def pause_writing(self) -> None:
        """The client does not read our answers: we read no more from it either."""
        self._blocked = True

    def resume_writing(self) -> None:
        """The client has read on: so do we."""
        self._blocked = False
        self._weigh()
        self._read_on()

    def _weigh(self) -> None:
        """Bring to account what we hold for this client."""
        transport = self._transport
        if transport is None:
            return
        unread = self._outbox.held + transport.get_write_buffer_size()
        held = self._reader.held + self._payload_bytes + unread
        by = held - self._held
        if abs(by) >= GRAIN_BYTES:
            self._held = held
            if not self._port.shares.change(self._client, by):
                self._cut("client holds too many bytes")
        if unread > self._port.config.write_buffer_max:
            self._cut("client does not read")

    def data_received(self, data: bytes) -> None:
        self._read(data)

    def _read_on(self) -> None:
        if self._paused and not self._blocked:
            self._read(b"")

    def _read(self, data: bytes) -> None:
        """Take in some frames. A read may hold ten thousand: others get their turn in between."""
        if self._transport is None or self._transport.is_closing():
            return  # cut as it began, or by a frame before: what else came is nobody's
        full = False
        try:
            frames = self._reader.feed(data, 0 if self._blocked else FRAMES_AT_ONCE)
            full = len(frames) == FRAMES_AT_ONCE
            for frame in frames:
                self._take(frame)
        except FrameError as error:
            self._cut("bad frame", str(error))
        self._weigh()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._paused is not (full or self._blocked):
            self._paused = not self._paused
            (transport.pause_reading if self._paused else transport.resume_reading)()
        if full and not self._blocked:
            asyncio.get_running_loop().call_soon(self._read_on)

    def _take(self, frame: Frame) -> None:
        if not self._greeted:
            if not isinstance(frame, Hello):
                raise FrameError("the first frame is a greeting")
            self._greeted = True
            assert self._timer is not None
            self._timer.cancel()
        elif isinstance(frame, Request):
            self._begin(frame)
        elif isinstance(frame, Cancel):
            task = self._running.get(frame.id)
            if task is not None:
                task.cancel()
        elif isinstance(frame, Ping):
            self._write(Pong(frame.nonce))
        elif not isinstance(frame, Pong):
            raise FrameError("a client sends no such frame")

    def _begin(self, request: Request) -> None:
        if request.id in self._running:
            raise FrameError("a request number is used twice")
        if len(self._running) >= self._port.config.inflight_max:
            self._write(Failure(request.id, "busy", True, "too many requests are under way"))
            return
        if self._standing is not Standing.ALL and not _asks_for_a_certificate(request):
            text = "a certificate is needed; this connection may only ask for one"
            self._write(Failure(request.id, "status-403", True, text))
            return
        quotas, now = self._port.quotas, asyncio.get_running_loop().time()
        if quotas is not None and quotas.refuses(
            request.method, request.payload, self._client, now
        ):
            self._write(Failure(request.id, "status-429", True, WORDS))
            return
        self._payload_bytes += len(request.payload)
        self._port.stats.requests[request.method] += 1
        prompt = self._port.prompt
        if prompt is not None:
            self._running[request.id] = None  # before it begins: it may end at once
            done = functools.partial(self._done, request)
            if prompt(request.method, request.payload, request.timeout_s, done):
                return
        task = self._port.owner.spawn(self._carry_out(request), name=f"rpc {request.method}")
        self._running[request.id] = task
        task.add_done_callback(lambda _: self._ended(request))

    def _ended(self, request: Request) -> None:
        self._running.pop(request.id, None)
        self._payload_bytes -= len(request.payload)
        self._weigh()

    async def _carry_out(self, request: Request) -> None:
        try:
            async with asyncio.timeout(request.timeout_s):
                payload = await self._port.handler(
                    request.method, request.payload, request.timeout_s
                )
            reply = self._reply(request.id, payload)
        except TimeoutError:
            reply = Failure(request.id, "timeout", False, "deadline exceeded")
        except Exception as error:  # the session must outlive any one request
            self._port.stats.failures += 1
            reply = _failure(request.id, error)
        self._write(reply)

    def _reply(self, request_id: int, payload: bytes) -> Frame:
        if len(payload) + 64 > self._port.config.frame_max:
            return Failure(request_id, "too-large", False, "the answer is over the limit")
        return Reply(request_id, payload)

    def _done(self, request: Request, result: bytes | Exception) -> None:
        """A request that needed no task has ended; perhaps its connection has ended before."""
        self._ended(request)
        if isinstance(result, Exception):
            self._port.stats.failures += 1
            self._write(_failure(request.id, result))
        else:
            self._write(self._reply(request.id, result))

    def _write(self, frame: Frame) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._outbox.put(*encode_parts(frame))
            self._weigh()

    def _write_now(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        transport.write(data)


def _asks_for_a_certificate(request: Request) -> bool:
    if request.method != calls.AS:
        return request.method == calls.AGENT_CERTIFICATE
    try:
        _, method, _ = calls.read_as(request.payload)
    except DecodeError:
        return False
    return method == calls.AGENT_CERTIFICATE


def _failure(request_id: int, error: Exception) -> Failure:
    if isinstance(error, RequestError):
        return Failure(request_id, f"status-{error.status}", True, error.text)
    if isinstance(error, AnswerTooLarge):
        return Failure(request_id, "too-large", False, str(error))
    if isinstance(error, StoreError | ForwardError):
        return Failure(request_id, type(error).__name__, error.definite, str(error))
    log.error("request failed", exc_info=error)
    return Failure(request_id, "internal", False, "internal error")
