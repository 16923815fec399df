"""Accepts connections on the server port and tells TLS from plain before anybody reads.

The first byte is only looked at (a TLS handshake begins with 0x16), so the handshake finds its
bytes where they were. Whoever has not got through this yet is bounded: in number over all, in
number per address together with that address's open connections, and in time.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.backend.rpc.admission import HandshakeRates, Handshakes
from agent.tasks import TaskOwner
from proxy.handshakes import failure
from raftstore.raft.refusals import Refusal, Refusals

log = logging.getLogger("lictor.agent.rpc.listener")

#: Why a connection is turned away or cut, here and in ``server``.
REASONS = (
    "bad frame",
    "certificate of no agent",
    "certificate was revoked",
    "client does not read",
    "client holds too many bytes",
    "connections per client",
    "greeting timeout",
    "handshake bad_certificate",
    "handshake expired",
    "handshake handshake_failed",
    "handshake no_cert",
    "handshake not_tls",
    "handshake peer_gone",
    "handshake refused_by_peer",
    "handshake timeout",
    "handshake unknown_ca",
    "handshake version",
    "handshakes in all",
    "handshakes of one client",
    "handshakes under way",
    "no descriptors",
    "plain connection",
    "tls is not configured",
    "unknown protocol",
)

TLS_FIRST_BYTE = b"\x16"
ACCEPTS_AT_ONCE = 64
#: After the system ran out of file descriptors.
ACCEPT_PAUSE_S = 1.0


class ListenerTls(Protocol):
    """What the listener needs to know of TLS (agent/backend/rpc/tls.py)."""

    @property
    def verifies_incoming(self) -> bool: ...
    def server_context(self) -> ssl.SSLContext: ...


class _Waiting:
    """A connection that has not shown yet what it is."""

    __slots__ = ("client", "sock", "timer")

    def __init__(self, sock: socket.socket, client: str) -> None:
        self.sock = sock
        self.client = client
        self.timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLimits:
    """Bounds on those who have not got through."""

    handshakes_max: int
    handshake_timeout_s: float
    rates: HandshakeRates


class Door:
    """Who was turned away at the server port: counted, kept, and logged in measure."""

    def __init__(self) -> None:
        self.refusals = Refusals(REASONS)

    @property
    def counts(self) -> Counter[str]:
        """By reason."""
        return self.refusals.counts

    def refuse(self, reason: str, client: str, detail: str = "") -> None:
        """Note it."""
        silent = self.refusals.note(
            Refusal(reason=reason, address=client, detail=detail, at=time.time())
        )
        if silent is not None:
            log.warning(
                "connection refused reason=%s client=%s detail=%s unlogged=%d",
                reason, client or "?", detail or "-", silent,
            )  # fmt: skip


class Listener:
    """The listening socket."""

    def __init__(
        self,
        *,
        factory: Callable[[], asyncio.Protocol],
        may_open: Callable[[str, int], bool],
        door: Door,
        limits: ListenerLimits,
        known: Callable[[str], bool],
        tls: ListenerTls | None,
    ) -> None:
        """``may_open(client, waiting)``: may this address have one more beside those waiting?
        ``known(client)``: is it the address of a server? The bounds for all together are not for
        these: nobody can keep servers apart by knocking."""
        self._factory = factory
        self._may_open = may_open
        self._door = door
        self._limits = limits
        self._known = known
        self._handshakes = Handshakes(limits.rates)
        self._tls = tls
        self._owner = TaskOwner()
        self._waiting: set[_Waiting] = set()
        self._per_client: Counter[str] = Counter()
        self._socket: socket.socket | None = None

    def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind and accept; gives the address. Raises OSError when it is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
        self.serve(listening)
        name = listening.getsockname()
        return str(name[0]), int(name[1])

    def serve(self, listening: socket.socket) -> None:
        """Accept on a socket that listens already; it is ours from now on."""
        self._socket = listening
        self._socket.setblocking(False)
        self._resume()

    @property
    def waiting(self) -> int:
        """Connections that have not got through yet."""
        return len(self._waiting)

    async def stop(self) -> None:
        """Accept no more, and cut who waits."""
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        await self._owner.close()
        for waiting in list(self._waiting):
            self._end(waiting, close=True)

    def _resume(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        listening = self._socket
        for _ in range(ACCEPTS_AT_ONCE):
            if listening is None:
                return
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._door.refuse("no descriptors", "", str(error))
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(ACCEPT_PAUSE_S, self._resume)
                return
            # A socket of a path has no address: all who may open it are one client.
            self._begin(sock, str(address[0]) if isinstance(address, tuple) else "")

    def _begin(self, sock: socket.socket, client: str) -> None:
        if not self._may_open(client, self._per_client[client]):
            self._door.refuse("connections per client", client)
            sock.close()
            return
        if len(self._waiting) >= self._limits.handshakes_max and not self._known(client):
            self._door.refuse("handshakes under way", client)
            sock.close()
            return
        sock.setblocking(False)
        waiting = _Waiting(sock, client)
        self._waiting.add(waiting)
        self._per_client[client] += 1
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, self._look, waiting)
        waiting.timer = loop.call_later(self._limits.handshake_timeout_s, self._too_late, waiting)

    def _too_late(self, waiting: _Waiting) -> None:
        self._door.refuse("handshake timeout", waiting.client)
        self._end(waiting, close=True)

    def _look(self, waiting: _Waiting) -> None:
        try:
            first = waiting.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        self._stop_looking(waiting)
        reason = self._refusal(first, waiting.client)
        if reason or not first:
            if reason:
                self._door.refuse(reason, waiting.client)
            self._end(waiting, close=True)
            return
        context = None
        if first == TLS_FIRST_BYTE and self._tls is not None:
            context = self._tls.server_context()
        self._owner.spawn(self._open(waiting, context), name="rpc handshake")

    def _refusal(self, first: bytes, client: str) -> str:
        if first == TLS_FIRST_BYTE:
            if self._tls is None:
                return "tls is not configured"
            now = asyncio.get_running_loop().time()
            return self._handshakes.refusal(client, now=now, known=self._known(client))
        if first and self._tls is not None and self._tls.verifies_incoming:
            return "plain connection"
        return ""

    async def _open(self, waiting: _Waiting, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._factory,
                waiting.sock,
                ssl=context,
                ssl_handshake_timeout=(
                    self._limits.handshake_timeout_s if context is not None else None
                ),
            )
        except ConnectionAbortedError:
            self._door.refuse("handshake timeout", waiting.client)
        except OSError as error:  # ssl.SSLError is one
            self._door.refuse(f"handshake {failure(error)}", waiting.client, str(error))
        finally:
            self._end(waiting)

    def _stop_looking(self, waiting: _Waiting) -> None:
        asyncio.get_running_loop().remove_reader(waiting.sock)
        if waiting.timer is not None:
            waiting.timer.cancel()
            waiting.timer = None

    def _end(self, waiting: _Waiting, *, close: bool = False) -> None:
        if waiting not in self._waiting:
            return
        self._waiting.discard(waiting)
        self._per_client[waiting.client] -= 1
        if not self._per_client[waiting.client]:
            del self._per_client[waiting.client]
        if close:
            if waiting.timer is not None:
                self._stop_looking(waiting)
            waiting.sock.close()
