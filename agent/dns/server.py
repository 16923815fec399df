"""The sockets of the DNS face: UDP and TCP on every client address (DNS contract 1, 6).

Decides nothing about answers. UDP replies from what is ready or held here leave within the call
that received the question; others run as owned tasks, bounded in number. TCP frames messages with
two bytes of length (RFC 1035 4.2.2), answers several questions on a connection (RFC 7766) and
closes connections that are idle, slow to send or slow to read.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from agent.backend.cache import AnswerCache
from agent.config.bounds import Limits
from agent.config.schema import AgentConfig
from agent.dns.rate_limit import Fate, ResponseRates, slipped
from agent.dns.resolver import Later, Resolver, ResolverStats
from agent.dns.sources import AskElsewhere, Catalog, Rights
from agent.dns.workers import Workers, WorkerStats
from agent.listening import Sockets
from agent.tasks import TaskOwner

log = logging.getLogger("lictor.agent.dns.server")

#: Questions that arrive in one turn of the loop wait in the kernel; its default drops bursts.
UDP_RECEIVE_BUFFER_BYTES = 1024 * 1024
_FRAME_BYTES_MAX = 2 + 65535
_FREE_TRIES = 16
#: Replies that a worker is given to one question, and their bytes.
WORKER_REPLIES = 60
WORKER_BYTES_MAX = 64 * 1024
#: Who is not counted where replies are limited and nobody else is named: programs on this host.
HOST_NETWORKS = ("127.0.0.0/8", "::1/128")


@dataclass(slots=True)
class DnsStats:
    """Counters since the start; ``tcp_connections`` and ``waiting`` are levels, ``tcp_truncated``
    are connections that ended with bytes which were no whole question."""

    udp_packets: int = 0
    udp_dropped: int = 0
    rate_limited: int = 0
    tcp_messages: int = 0
    tcp_refused: int = 0
    tcp_truncated: int = 0
    tcp_connections: int = 0
    waiting: int = 0
    resolver: ResolverStats = field(default_factory=ResolverStats)
    workers: WorkerStats = field(default_factory=WorkerStats)


class DnsServer:
    """Serves DNS for an agent."""

    __slots__ = (
        "_config",
        "_connections",
        "_listeners",
        "_make",
        "_resolver",
        "_rng",
        "_sockets",
        "_stats",
        "_tasks",
        "_transports",
        "_udp_faces",
        "_workers",
        "addresses",
        "rates",
    )

    def __init__(
        self,
        config: AgentConfig,
        backend: Catalog,
        *,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
        sockets: Sockets | None = None,
        rights: Rights | None = None,
        kept: AnswerCache | None = None,
        elsewhere: AskElsewhere | None = None,
    ) -> None:
        """``clock`` gives wall-clock seconds (for the SOA serial); with other ``rights`` nothing
        that was answered counts any more. ``kept`` are answers that this agent keeps up to date.
        Raises ValueError when the configured domain is no domain name."""
        self._sockets = sockets or Sockets()
        self._config = config
        self._rng = rng or random.Random()
        self._stats = DnsStats()
        self._make = functools.partial(
            Resolver, backend=backend, rng=self._rng, clock=clock, rights=rights, kept=kept,
            elsewhere=elsewhere,
        )  # fmt: skip
        self._resolver = self._make(config)
        if rights is not None:
            rights.on_token(lambda: self._resolver.rights_changed())
        self._workers: Workers | None = None
        if config.dns.workers:
            self._workers = Workers(
                config.dns.workers,
                answer=self._answer_worker,
                served=self._worker_served,
                stats=self._stats.workers,
            )
        #: How often alike replies are sent, None for any number.
        self.rates = _rates_of(config)
        self._tasks = TaskOwner()
        self._udp_faces: list[_Udp] = []
        self._transports: list[asyncio.DatagramTransport] = []
        self._listeners: list[asyncio.Server] = []
        self._connections: set[_TcpConnection] = set()
        #: (host, port) of every listener pair, in the order of the client addresses.
        self.addresses: tuple[tuple[str, int], ...] = ()

    async def start(self) -> None:
        """Bind every address; all or none. A port of 0 or -1 is off, as Consul has it.

        Raises OSError when an address cannot be bound.
        """
        port = self._config.port_dns
        if port <= 0:
            return
        await self.listen(tuple((host, port) for host in self._config.dns_addrs))

    async def listen(self, addresses: tuple[tuple[str, int], ...]) -> None:
        """Bind these pairs of UDP and TCP sockets; port 0 picks a free one."""
        bound: list[tuple[str, int]] = []
        try:
            for host, port in addresses:
                bound.append(await (self._bind(host, port) if port else self._bind_free(host)))
        except OSError:
            await self.stop()
            raise
        self.addresses = tuple(bound)
        if self._workers is not None:
            self._resolver.tell_dropped(self._workers.drop)
            await self._workers.start(self.addresses)
        log.info("listening addresses=%s", ",".join(f"{h}:{p}" for h, p in bound))

    async def _bind_free(self, host: str) -> tuple[str, int]:
        """Any port; one that is free for TCP may be some client's for UDP at this moment."""
        for _ in range(_FREE_TRIES):
            before = len(self._listeners)
            try:
                return await self._bind(host, 0)
            except OSError as error:
                taken = error
                for listener in self._listeners[before:]:
                    listener.close()
                del self._listeners[before:]
        raise taken

    async def _bind(self, host: str, port: int) -> tuple[str, int]:
        """TCP first: a free TCP port is hard to come by twice, the UDP one beside it is not."""
        loop = asyncio.get_running_loop()
        tcp = self._sockets.bind("tcp", host, port)
        where: dict[str, Any] = {"host": host, "port": port} if tcp is None else {"sock": tcp}
        listener = await loop.create_server(lambda: _TcpConnection(self), backlog=512, **where)
        self._listeners.append(listener)
        port = cast(int, listener.sockets[0].getsockname()[1])
        if self._workers is not None:
            return host, port  # they have the sockets for UDP
        udp = self._sockets.bind("udp", host, port)
        where = {"local_addr": (host, port)} if udp is None else {"sock": udp}
        transport, face = await loop.create_datagram_endpoint(lambda: _Udp(self), **where)
        self._transports.append(transport)
        self._udp_faces.append(face)
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_RECEIVE_BUFFER_BYTES)
        return host, port

    async def stop(self) -> None:
        """Close all sockets and give up what waits."""
        for listener in self._listeners:
            listener.close()
        for transport in self._transports:
            transport.close()
        for connection in tuple(self._connections):
            connection.abort()
        self._listeners.clear()
        self._transports.clear()
        self._count_hits()
        self._udp_faces.clear()
        if self._workers is not None:
            await self._workers.stop()
        await self._tasks.close()
        self._resolver.close()
        await asyncio.sleep(0)  # lets transports run their closing callbacks

    def reload(self, config: AgentConfig) -> None:
        """Answer by another configuration from now on; addresses and limits stay."""
        fresh = self._make(config, stats=self._resolver.stats(), memory=self._resolver.memory)
        self._resolver.close()
        self._resolver = fresh
        if self._workers is not None:
            fresh.tell_dropped(self._workers.drop)
            self._workers.drop(b"")
        self._config = config
        self.rates = _rates_of(config)
        self._count_hits()
        for face in self._udp_faces:
            face.hot = self.hot

    def _count_hits(self) -> None:
        """Ready replies are counted where they are sent, and here added to the rest."""
        hits = 0
        for face in self._udp_faces:
            hits += face.hits
            face.hits = 0
        resolver = self._resolver.stats()
        self._stats.udp_packets += hits
        resolver.questions += hits
        resolver.ready_hits += hits

    @property
    def hot(self) -> dict[bytes, Callable[[], bytes]]:
        """Replies that may be sent without looking at client or question."""
        return self._resolver.hot if self.rates is None else {}

    def stats(self) -> DnsStats:
        self._count_hits()
        self._stats.tcp_connections = len(self._connections)
        self._stats.waiting = len(self._tasks)
        self._stats.resolver = self._resolver.stats()
        return self._stats

    # --- for the workers

    def _answer_worker(
        self, data: bytes, client: str, told: Callable[[bool, tuple[bytes, ...]], None]
    ) -> None:
        """A packet that a worker received."""
        self._stats.udp_packets += 1
        reply = self._resolver.respond(data, tcp=False, client=client)
        if isinstance(reply, Later):
            if not self.answer_later(
                data, reply, tcp=False, send=lambda out: told(False, (out[2:],))
            ):
                self._stats.udp_dropped += 1
                told(False, ())
            return
        ready = self._resolver.hot.get(data[2:])
        if reply is None or ready is None:
            told(False, () if reply is None else (reply[2:],))
            return
        # A worker's share of a round: of few instances all orders, of many a part.
        share = max(1, min(WORKER_REPLIES, WORKER_BYTES_MAX // len(reply)))
        told(True, (*(ready() for _ in range(share - 1)), reply[2:]))

    def _worker_served(self, count: int) -> None:
        resolver = self._resolver.stats()
        self._stats.udp_packets += count
        resolver.questions += count
        resolver.ready_hits += count

    # --- for the protocols below

    @property
    def resolver(self) -> Resolver:
        return self._resolver

    @property
    def counters(self) -> DnsStats:
        return self._stats

    @property
    def limits(self) -> Limits:
        """The bounds on connections."""
        return self._config.limits

    @property
    def tcp_idle_s(self) -> float:
        return self._config.limits.dns_tcp_idle_s

    def answer_later(
        self, data: bytes, later: Later, *, tcp: bool, send: Callable[[bytes], None]
    ) -> bool:
        """Answer when the backend has; False when too many questions wait already."""
        if len(self._tasks) >= self._config.limits.dns_waiting_max:
            return False
        self._tasks.spawn(self._answer(data, later, tcp, send), name="dns-question")
        return True

    async def _answer(
        self, data: bytes, later: Later, tcp: bool, send: Callable[[bytes], None]
    ) -> None:
        send(await self._resolver.respond_later(data, later, tcp=tcp))

    def connected(self, connection: _TcpConnection) -> bool:
        if len(self._connections) >= self._config.limits.dns_tcp_connections_max:
            self._stats.tcp_refused += 1
            return False
        self._connections.add(connection)
        return True

    def disconnected(self, connection: _TcpConnection) -> None:
        self._connections.discard(connection)


def _rates_of(config: AgentConfig) -> ResponseRates | None:
    dns = config.dns
    if not dns.response_rate_limit:
        return None
    return ResponseRates(
        dns.response_rate_limit,
        slip=dns.response_rate_slip,
        exempt=dns.response_rate_exempt_cidrs or HOST_NETWORKS,
        buckets_max=config.limits.dns_rate_entries_max,
    )


class _Udp(asyncio.DatagramProtocol):
    """One UDP socket. The common case is a dictionary look-up and a send."""

    __slots__ = ("_server", "_transport", "hits", "hot")

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        #: Replies that are ready, and how many of them were sent since somebody counted.
        self.hot = server.hot
        self.hits = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        ready = self.hot.get(data[2:])
        if ready is not None:
            self.hits += 1
            self._transport.sendto(data[:2] + ready(), addr)  # type: ignore[union-attr]
            return
        server = self._server
        server.counters.udp_packets += 1
        reply = server.resolver.respond(data, tcp=False, client=addr[0])
        if reply.__class__ is bytes:
            if server.rates is None:
                self._transport.sendto(reply, addr)  # type: ignore[union-attr]
            else:
                self._send(reply, addr)
        elif isinstance(reply, Later) and not server.answer_later(
            data, reply, tcp=False, send=lambda out: self._send(out, addr)
        ):
            server.counters.udp_dropped += 1

    def _send(self, out: bytes, addr: tuple[str, int]) -> None:
        rates = self._server.rates
        if rates is not None:
            fate = rates.decide(addr[0], out, time.monotonic())
            if fate is not Fate.SENT:
                self._server.counters.rate_limited += 1
                if fate is Fate.DROPPED:
                    return
                out = slipped(out)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(out, addr)

    def error_received(self, exc: Exception) -> None:
        """A client that is gone: nothing to do, the next packet is another client's."""
        log.debug("udp send failed reason=%s", exc)


class _TcpConnection(asyncio.Protocol):
    """One TCP connection. Replies to questions that wait may overtake each other (RFC 7766)."""

    __slots__ = (
        "_answered",
        "_buffer",
        "_client",
        "_last_at",
        "_paused",
        "_server",
        "_timer",
        "_transport",
        "_waiting",
    )

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._client = ""
        self._timer: asyncio.TimerHandle | None = None
        self._last_at = 0.0
        self._waiting = 0
        self._answered = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.connected(self):
            self._transport.abort()
            return
        self._client = (transport.get_extra_info("peername") or ("::",))[0]
        self._last_at = asyncio.get_running_loop().time()
        self._arm(self._server.tcp_idle_s)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.disconnected(self)
        if self._buffer:
            self._server.counters.tcp_truncated += 1
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _work(self) -> None:
        """Answer the whole messages in the buffer, as far as limits allow."""
        transport = self._transport
        assert transport is not None
        buffer, at = self._buffer, 0
        while not self._stopped() and len(buffer) - at >= 2:
            length = buffer[at] << 8 | buffer[at + 1]
            if len(buffer) - at - 2 < length:
                break
            message = bytes(buffer[at + 2 : at + 2 + length])
            at += 2 + length
            self._last_at = asyncio.get_running_loop().time()
            self._question(message)
        del buffer[:at]
        if transport.is_closing():
            return
        if self._stopped() and len(buffer) >= _FRAME_BYTES_MAX:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _stopped(self) -> bool:
        """Whether no further question may be taken: its reply would only pile up."""
        assert self._transport is not None
        return (
            self._paused
            or self._waiting >= self._server.limits.dns_tcp_pipeline_max
            or self._transport.is_closing()
        )

    def _question(self, message: bytes) -> None:
        server = self._server
        server.counters.tcp_messages += 1
        reply = server.resolver.respond(message, tcp=True, client=self._client)
        if isinstance(reply, Later):
            if server.answer_later(message, reply, tcp=True, send=self._send_later):
                self._waiting += 1
            else:
                self.abort()
        elif reply is not None:
            self._send(reply)

    def _send_later(self, reply: bytes) -> None:
        self._waiting -= 1
        if self._transport is not None and not self._transport.is_closing():
            self._send(reply)
            self._work()

    def _send(self, reply: bytes) -> None:
        assert self._transport is not None
        self._transport.write(len(reply).to_bytes(2, "big") + reply)
        self._answered += 1
        if self._answered >= self._server.limits.dns_tcp_questions_max and not self._waiting:
            self._transport.close()

    def _arm(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay_s, self._expire)

    def _expire(self) -> None:
        """Close when no whole message came for the idle time, however many bytes dripped in."""
        idle_s = self._server.tcp_idle_s
        left_s = self._last_at + idle_s - asyncio.get_running_loop().time()
        if left_s > 0:
            self._arm(left_s)
        elif self._waiting:
            self._arm(idle_s)
        else:
            self.abort()
