"""One connection to another server: frames in and out, the introduction, bounds in size and time.

A link starts with one byte that tells it from other traffic on the port, then a hello in each
direction, then the other's number back (``greeting``). Who is let in is the network's to say
(``transport``). Anything malformed, oversized or late closes the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections import Counter
from typing import Protocol, cast

from raftstore.errors import DecodeError
from raftstore.raft.admission import REMOVED
from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import (
    LENGTH,
    Hello,
    Message,
    Removed,
    Returned,
    decode,
    decode_hello,
    encode,
)
from raftstore.raft.greeting import decode_confirm, encode_confirm

FIRST_BYTE = b"R"
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 5, 1, 4
USER_TIMEOUT_MS = 5000
"""A silent peer whose acknowledgements stop is noticed after this; heartbeats notice sooner."""
NONCE_BITS = 62


class Network(Protocol):
    """What decides for its links; each may ask, and tells what happened to it."""

    config: RaftConfig

    @property
    def dropped(self) -> Counter[str]:
        """What was turned away or dropped, by reason."""

    def welcome(self, link: PeerLink) -> bool:
        """May one more connection begin?"""

    def certificate_refusal(
        self, link: PeerLink, node_id: str | None = None, *, encrypted: bool = True
    ) -> str:
        """Why the holder of this certificate is not let in; empty if it is."""

    def refusal(self, link: PeerLink, hello: Hello) -> str:
        """Why this peer is not let in; empty if it is."""

    def hello(self, link: PeerLink, to: str) -> Hello:
        """Our side of the introduction."""

    def farewell(self) -> Removed:
        """What a removed server is told."""

    def opened(self, link: PeerLink, hello: Hello) -> None:
        """The introduction is complete."""

    def received(self, link: PeerLink, message: Message | Returned, size: int) -> None:
        """A message came in."""

    def count(self, reason: str, link: PeerLink, detail: str = "") -> None:
        """The link was closed by us, or not taken."""

    def lost(self, link: PeerLink) -> None:
        """The connection has ended, for whatever reason."""


class PeerLink(asyncio.Protocol):
    """One connection. ``peer`` is empty until the introduction is complete."""

    def __init__(self, network: Network, dialled: str | None) -> None:
        self._network = network
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._blocked_timer: asyncio.TimerHandle | None = None
        self._introduced: Hello | None = None
        self.nonce = secrets.randbits(NONCE_BITS)
        self.dialled = dialled
        self.host = ""
        self.certificate: bytes | None = None
        self.claims = ""
        self.peer = ""
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
                self.close("malformed frame", detail=str(error))
                return
        del buffer[:position]

    def _frame(self, body: bytes) -> None:
        if self.peer:
            self._network.received(self, decode(body), len(body))
            return
        if self._introduced is not None:
            self._confirmed(decode_confirm(body))
            return
        hello = decode_hello(body)
        self.claims = hello.node_id
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
        self._introduced = hello

    def _confirmed(self, nonce: int) -> None:
        """The other side has heard us on this connection, unless it is a recording."""
        if nonce != self.nonce:
            self.close("replayed hello")
            return
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        assert self._introduced is not None
        self.peer = self.claims
        self._network.opened(self, self._introduced)

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

    def close(self, reason: str, *, abort: bool = True, detail: str = "") -> None:
        """Cut the link and count why; at once, or when what was written has left."""
        transport, self._transport = self._transport, None
        if transport is not None:
            self._network.count(reason, self, detail)
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
