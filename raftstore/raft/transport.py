"""Links between servers: one TCP connection per pair, framed, identified, bounded.

Of two servers the one with the greater node id dials; a server that is no member of anything yet
dials whom it knows by address. A link starts with one byte that tells it from other traffic on the
port, then a hello in each direction (protocol version, cluster id, node ids, a fresh number), then
the other's number back, so that a recorded stream opens nothing. With certificates configured
(``PeerTls``) every link is TLS in both directions, and the certificate must be a server's and agree
with the hello; without, the hello is believed. Anything malformed, oversized, late or from a
stranger closes the link and is counted. This module knows nothing of Raft: it hands over messages
and says when a link comes and goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol, cast

from raftstore.errors import DecodeError
from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import (
    LENGTH,
    PROTOCOL_VERSION,
    Hello,
    Message,
    Removed,
    decode,
    decode_hello,
    encode,
)
from raftstore.raft.greeting import decode_confirm, encode_confirm

log = logging.getLogger("lictor.raftstore.raft.transport")

FIRST_BYTE = b"R"
REMOVED = "removed from the cluster"
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 5, 1, 4
USER_TIMEOUT_MS = 5000
"""A silent peer whose acknowledgements stop is noticed after this; heartbeats notice sooner."""
NONCE_BITS = 62


class PeerTls(Protocol):
    """What makes links secure. Asked anew for every link, so certificates can be replaced."""

    @property
    def server_name(self) -> str:
        """The name that a server's certificate must carry."""
        ...

    def peer_context(self) -> ssl.SSLContext:
        """For dialling; shows our certificate and verifies the other's and its name."""
        ...

    def peer_refusal(self, certificate: bytes | None, node_id: str | None) -> str:
        """Why the holder of a verified certificate (DER) may not be this node, "" if it may."""
        ...


class PeerLink(asyncio.Protocol):
    """One connection. ``peer`` is empty until the introduction is complete."""

    def __init__(self, network: PeerNetwork, dialled: str | None) -> None:
        self._network = network
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._blocked_timer: asyncio.TimerHandle | None = None
        self._introduced = ""
        self.nonce = secrets.randbits(NONCE_BITS)
        self.dialled = dialled
        self.host = ""
        self.certificate: bytes | None = None
        self.peer = ""
        self.config_index = 0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour only
        self._transport = stream
        _tune(stream)
        stream.set_write_buffer_limits(high=self._network.config.write_buffer_bytes_max)
        self.host = str((stream.get_extra_info("peername") or ("",))[0])
        encrypted = stream.get_extra_info("ssl_object")
        if encrypted is not None:
            self.certificate = encrypted.getpeercert(binary_form=True)
        if not self._network.welcome(self):
            stream.abort()
            return
        reason = self._network.certificate_refusal(self, encrypted=encrypted is not None)
        if reason:
            self.close(reason)
            return
        timeout = self._network.config.hello_timeout_s
        loop = asyncio.get_running_loop()
        self._hello_timer = loop.call_later(timeout, self.close, "hello timeout")
        if self.dialled is not None:
            stream.write(FIRST_BYTE + encode(self._network.hello(self, self.dialled)))

    def data_received(self, data: bytes) -> None:
        buffer, config = self._buffer, self._network.config
        buffer += data
        position = 0
        while self._transport is not None and len(buffer) - position >= LENGTH.size:
            (size,) = LENGTH.unpack_from(buffer, position)
            limit = config.frame_bytes_max if self.peer else config.hello_bytes_max
            if size > limit:
                self.close("frame too large")
                return
            end = position + LENGTH.size + size
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[position + LENGTH.size : end])
            position = end
            try:
                self._frame(body)
            except DecodeError as error:
                log.warning("malformed frame peer=%s error=%s", self.peer or "?", error)
                self.close("malformed frame")
                return
        del buffer[:position]

    def _frame(self, body: bytes) -> None:
        if self.peer:
            self._network.received(self, decode(body))
            return
        if self._introduced:
            self._confirmed(decode_confirm(body))
            return
        hello = decode_hello(body)
        reason = self._network.refusal(self, hello)
        if self._transport is None or (reason and reason != REMOVED):
            self.close(reason)
            return
        ours = b"" if self.dialled is not None else encode(self._network.hello(self, hello.node_id))
        self._transport.write(ours + encode_confirm(hello.boot_nonce))
        if reason:
            self._transport.write(encode(self._network.farewell()))
            self.close(reason, abort=False)
            return
        self._introduced = hello.node_id
        self.config_index = hello.config_index

    def _confirmed(self, nonce: int) -> None:
        """The other side has heard us on this connection, unless it is a recording."""
        if nonce != self.nonce:
            self.close("replayed hello")
            return
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self.peer = self._introduced
        self._network.opened(self)

    def send(self, frame: bytes) -> None:
        """Write a frame, or drop it while the peer does not read (a lost message is allowed)."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._blocked_timer is not None:
            self._network.dropped["message to a blocked peer"] += 1
            return
        transport.write(frame)

    def pause_writing(self) -> None:
        """The write buffer is full: the peer is blocked until it drains, and not for long."""
        patience = self._network.config.election_min_s
        self._blocked_timer = asyncio.get_running_loop().call_later(
            patience, self.close, "peer does not read"
        )

    def resume_writing(self) -> None:
        """The peer has read on."""
        if self._blocked_timer is not None:
            self._blocked_timer.cancel()
            self._blocked_timer = None

    def close(self, reason: str, *, abort: bool = True) -> None:
        """Cut the link and count why; at once, or when what was written has left."""
        transport, self._transport = self._transport, None
        if transport is not None:
            self._network.count(reason, self)
            if abort:
                transport.abort()
            else:
                transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for timer in (self._hello_timer, self._blocked_timer):
            if timer is not None:
                timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        self._network.lost(self)


class PeerNetwork:
    """All links of one server, the address book, and the tasks that dial."""

    def __init__(
        self,
        config: RaftConfig,
        *,
        cluster_id: Callable[[], str],
        on_message: Callable[[str, Message], bool],
        on_up: Callable[[str], None],
        on_down: Callable[[str], None],
        rng: random.Random,
        tls: PeerTls | None = None,
    ) -> None:
        """``on_message`` answers False when it has no room: the link is then closed."""
        self.config = config
        self.dropped: Counter[str] = Counter()
        self._cluster_id = cluster_id
        self._on_message = on_message
        self._on_up = on_up
        self._on_down = on_down
        self._rng = rng
        self._tls = tls
        self._addresses: dict[str, tuple[str, int]] = {}
        self._members: frozenset[str] | None = None
        self._removed: frozenset[str] = frozenset()
        self._config_index = 0
        self._dials_all = False
        self._links: dict[str, PeerLink] = {}
        self._unnamed: set[PeerLink] = set()
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._running = False

    # -- for the driver

    def start(self) -> None:
        """Begin to dial."""
        self._running = True
        self._dial_missing()

    async def stop(self) -> None:
        """Close all links and end all dialling."""
        tasks = list(self._dialling.values())
        for task in tasks:
            task.cancel()
        self.close_links("stopped")
        await asyncio.gather(*tasks, return_exceptions=True)

    def accept(self) -> asyncio.Protocol:
        """A protocol for one inbound connection whose first byte has been read already."""
        return PeerLink(self, None)

    def set_address(self, node_id: str, host: str, port: int) -> None:
        """Where a server can be dialled."""
        if node_id != self.config.node_id and self._addresses.get(node_id) != (host, port):
            self._addresses[node_id] = (host, port)
            self._dial_missing()

    def address(self, node_id: str) -> str:
        """The known address as host:port, or empty."""
        found = self._addresses.get(node_id)
        return f"{found[0]}:{found[1]}" if found else ""

    def set_members(
        self, members: Iterable[str] | None, removed: Iterable[str] = (), index: int = 0
    ) -> None:
        """Who may talk to us; None before we belong to a cluster: then anybody may.

        ``index`` is that of the configuration. ``removed``: ids that it does not have any more and
        that nothing can bring back; they are told so and refused, unless they show that they have
        seen a newer one.
        """
        self._members = None if members is None else frozenset(members)
        self._removed, self._config_index = frozenset(removed), index
        for peer, link in list(self._links.items()):
            if peer in self._removed and link.config_index < index:
                link.send(encode(self.farewell()))
                link.close(REMOVED, abort=False)
        self._dial_missing()

    def dial_all(self, wanted: bool) -> None:
        """Whether to dial those too who should dial us: they may know us no longer."""
        if wanted != self._dials_all:
            self._dials_all = wanted
            self._dial_missing()

    def farewell(self) -> Removed:
        """What a removed server is told."""
        return Removed(self._config_index)

    def send(self, peer: str, message: Message) -> None:
        """Send to a peer if there is a link; losing a message is allowed."""
        link = self._links.get(peer)
        if link is not None:
            link.send(encode(message))

    def close_links(self, reason: str) -> None:
        """Cut all links, and make no new ones."""
        self._running = False
        for link in [*self._links.values(), *self._unnamed]:
            link.close(reason)

    def linked(self, peer: str) -> bool:
        """Is there a link to the peer?"""
        return peer in self._links

    # -- for the links

    def hello(self, link: PeerLink, to: str) -> Hello:
        """Our side of the introduction."""
        return Hello(
            version=PROTOCOL_VERSION,
            cluster_id=self._cluster_id(),
            node_id=self.config.node_id,
            to_node_id=to,
            boot_nonce=link.nonce,
            config_index=self._config_index,
        )

    def welcome(self, link: PeerLink) -> bool:
        """May one more connection begin? Our own are bounded by the address book."""
        if not self._running:
            return False
        if link.dialled is None:
            config = self.config
            waiting = [other.host for other in self._unnamed if other.dialled is None]
            if len(waiting) >= config.links_unnamed_max:
                self.dropped["too many connections"] += 1
                return False
            if waiting.count(link.host) >= config.links_unnamed_per_address_max:
                self.dropped["too many connections of one address"] += 1
                return False
        self._unnamed.add(link)
        return True

    def certificate_refusal(
        self, link: PeerLink, node_id: str | None = None, *, encrypted: bool = True
    ) -> str:
        """Why the holder of this certificate is not let in; empty if it is."""
        if self._tls is None:
            return ""
        if not encrypted:
            return "plain connection"
        return self._tls.peer_refusal(link.certificate, node_id)

    def refusal(self, link: PeerLink, hello: Hello) -> str:
        """Why this peer is not let in; empty if it is."""
        ours = self._cluster_id()
        if hello.version != PROTOCOL_VERSION:
            return "wrong protocol version"
        if hello.to_node_id != self.config.node_id or hello.node_id == self.config.node_id:
            return "wrong node"
        if link.dialled is not None and hello.node_id != link.dialled:
            return "wrong node"
        if ours and hello.cluster_id and ours != hello.cluster_id:
            return "wrong cluster"
        reason = self.certificate_refusal(link, hello.node_id)
        if reason:
            return reason
        if hello.node_id in self._removed and hello.config_index < self._config_index:
            return REMOVED
        known = self._members is None or hello.node_id in self._members
        if known or hello.node_id in self._removed:
            return ""
        # Our configuration may be old: a server of this cluster that we have been told the address
        # of is let in, or it could never bring us the newer one.
        if hello.cluster_id and hello.node_id in self._addresses:
            return ""
        return "stranger"

    def opened(self, link: PeerLink) -> None:
        """The introduction is complete; a newer link replaces an older one to the same peer."""
        self._unnamed.discard(link)
        old = self._links.pop(link.peer, None)
        if old is not None:
            old.close("replaced")
            self._on_down(link.peer)
        self._links[link.peer] = link
        log.info("peer link up peer=%s dialled=%s", link.peer, link.dialled is not None)
        self._on_up(link.peer)

    def received(self, link: PeerLink, message: Message) -> None:
        """A message came in over a link."""
        if not self._on_message(link.peer, message):
            link.close("inbox full")

    def count(self, reason: str, link: PeerLink) -> None:
        """A link was closed by us."""
        self.dropped[reason] += 1
        if reason != "stopped":
            log.info("peer link closed peer=%s reason=%s", link.peer or "?", reason)

    def lost(self, link: PeerLink) -> None:
        """A connection has ended, for whatever reason."""
        self._unnamed.discard(link)
        if link.peer and self._links.get(link.peer) is link:
            del self._links[link.peer]
            log.info("peer link down peer=%s", link.peer)
            self._on_down(link.peer)

    # -- dialling

    def _dial_missing(self) -> None:
        if not self._running:
            return
        for peer in self._addresses:
            if self._still_wanted(peer) and peer not in self._dialling:
                task = asyncio.get_running_loop().create_task(
                    self._keep_dialled(peer), name=f"lictor-raft-dial-{peer}"
                )
                self._dialling[peer] = task
                task.add_done_callback(functools.partial(self._dial_ended, peer))

    def _dial_ended(self, peer: str, task: asyncio.Task[None]) -> None:
        self._dialling.pop(peer, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("dialling ended peer=%s", peer, exc_info=task.exception())

    def _still_wanted(self, peer: str) -> bool:
        if self._members is None:
            return True
        return peer not in self._removed and (self._dials_all or self.config.node_id > peer)

    async def _keep_dialled(self, peer: str) -> None:
        """Dial at once, then with growing pauses; after a link that lasted, at once again.

        Two that dial each other at the same moment each close one of their links. The pause after a
        short link has dice in it, so that they do not go on like that.
        """
        pause, loop = self.config.redial_min_s, asyncio.get_running_loop()
        while self._running and self._still_wanted(peer):
            existing = self._links.get(peer)
            if existing is not None:
                await asyncio.wait([existing.closed])
                continue
            dialled_at = loop.time()
            if await self._dial(peer) and loop.time() - dialled_at > self.config.redial_max_s:
                pause = self.config.redial_min_s
                continue
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, self.config.redial_max_s)

    async def _dial(self, peer: str) -> bool:
        """One attempt; True if the link came up (it has ended when this returns)."""
        host, port = self._addresses[peer]
        loop, tls = asyncio.get_running_loop(), self._tls
        try:
            async with asyncio.timeout(self.config.dial_timeout_s):
                _, link = await loop.create_connection(
                    lambda: PeerLink(self, peer),
                    host,
                    port,
                    ssl=None if tls is None else tls.peer_context(),
                    server_hostname=None if tls is None else tls.server_name,
                )
        except ssl.SSLError as error:
            self.dropped["handshake failed"] += 1
            log.warning("tls handshake with server failed peer=%s error=%s", peer, error)
            return False
        except (OSError, TimeoutError):
            return False
        try:
            await link.closed
        finally:
            link.close("stopped")
        return bool(link.peer)


def _tune(transport: asyncio.Transport) -> None:
    """Small messages leave at once, and a dead machine is noticed."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
