"""The byte path: asyncio protocols that hand what they read straight to the other half.

Decides nothing: it reports to its owner (`session.Session`) that a half is secured, over or lost,
and otherwise writes. Back-pressure goes from a full write buffer to the other half's reading.

TLS is driven over memory BIOs here and not by asyncio's own TLS transport, for two reasons: that
one cannot half-close (its write_eof raises and an end of stream from the peer tears down both
directions), and a memory BIO costs fewer calls a chunk. A half-close is a close_notify without
closing the socket, which TLS 1.3 (RFC 8446, section 6.1) defines and OpenSSL allows in 1.2 as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Protocol

from proxy.config import ProxyConfig
from proxy.handshakes import failure
from proxy.sockets import address_of, reset, reset_when_closed, tune, write_eof
from proxy.telemetry.greetings import GIVEN_UP, OK, Greetings

#: The largest plaintext of a TLS record (RFC 8446, section 5.1): what one SSL_read can give.
_RECORD_BYTES = 16_384


class Owner(Protocol):
    """Whoever reacts to what happens on a stream."""

    def stream_opened(self, stream: Stream) -> None:
        """The socket is connected."""
        ...

    def stream_secured(self, stream: Stream, der: bytes | None) -> None:
        """The TLS handshake is complete; ``der`` is the peer's certificate."""
        ...

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None:
        """The TLS handshake failed."""
        ...

    def stream_over(self, stream: Stream) -> None:
        """The peer sends no more."""
        ...

    def stream_lost(self, stream: Stream, reason: str) -> None:
        """The connection is gone, after an error or because we closed it."""
        ...


class _Half(asyncio.Protocol):
    """What halves over a socket of their own share."""

    __slots__ = (
        "_config",
        "_emptied",
        "_lent",
        "_over",
        "_reading",
        "_relaying",
        "_thrown_away",
        "lost",
        "owner",
        "peer",
        "rx_bytes",
        "transport",
    )

    def __init__(self, owner: Owner, config: ProxyConfig) -> None:
        self.owner = owner
        self.peer: Stream | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.rx_bytes = 0
        self.lost = False
        self._config = config
        self._over = False
        self._relaying = False
        self._reading = True
        self._thrown_away = False
        self._lent = False
        self._emptied: Callable[[], None] | None = None

    @property
    def peer_address(self) -> str:
        """Where the peer is, as ``address:port``; "" for a unix socket."""
        return address_of(self.transport)

    def abort(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            reset(self.transport)

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.pause_reading()

    def resume_writing(self) -> None:
        if self._emptied is not None:
            self.when_written(self._emptied)
        elif self.peer is not None:
            self.peer.resume_reading()

    def pause_reading(self) -> None:
        """Stop reading: the other half cannot take more."""
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self._reading and not self._lent and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def lend(self) -> socket.socket:
        """Read no more here: threads do, from a socket of their own to the same connection. Should
        the process die meanwhile, the connection is reset: a long stream must not look whole.
        Raises OSError."""
        self.pause_reading()
        self._lent = True
        raw: socket.socket = self.transport.get_extra_info("socket")
        lent = socket.socket(fileno=os.dup(raw.fileno()))
        reset_when_closed(lent, True)
        return lent

    def ends_whole(self) -> None:
        """What was to be sent is sent: closing it is an end in order again."""
        if self._lent and not self.transport.is_closing():
            reset_when_closed(self.transport.get_extra_info("socket"), False)

    def when_written(self, then: Callable[[], None]) -> None:
        """Call ``then`` once nothing waits to be written; nothing more may be sent meanwhile."""
        self._emptied = None
        if not self.transport.get_write_buffer_size():
            then()
            return
        self._emptied = then
        self.transport.set_write_buffer_limits(high=0)

    @property
    def is_over(self) -> bool:
        """Whether the peer sends no more."""
        return self._over

    def was_over(self) -> None:
        """Whoever reads in our place has seen the peer's end."""
        self._over = True
        self.owner.stream_over(self)  # type: ignore[arg-type]  # each of the two is a Stream


class PlainStream(_Half):
    """A half in clear: the local application."""

    __slots__ = ("_accepted", "_held")

    def __init__(self, owner: Owner, config: ProxyConfig, *, accepted: bool = False) -> None:
        """``accepted`` by one of the listeners of `listeners`, else dialled."""
        super().__init__(owner, config)
        self._accepted = accepted
        self._held: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        tune(self.transport, self._config, accepted=self._accepted)
        self.owner.stream_opened(self)

    @property
    def version(self) -> str:
        """No TLS is spoken."""
        return ""

    def relay_to(self, peer: Stream) -> None:
        """From now on what is read goes to ``peer``; what came before goes first."""
        self.peer = peer
        self._relaying = True
        self.resume_reading()
        if self._held:
            held, self._held = self._held, []
            peer.send_all(held)
        if self._over:
            self.owner.stream_over(self)

    def data_received(self, data: bytes) -> None:
        self.rx_bytes += len(data)
        if self._relaying:
            self.peer.send(data)  # type: ignore[union-attr]
        elif not self._thrown_away:
            self._held.append(data)
            self.pause_reading()

    def eof_received(self) -> bool:
        self._over = True
        if self._relaying:
            self.owner.stream_over(self)
        elif self._thrown_away:
            self.transport.close()
        return True

    def send(self, data: bytes) -> None:
        """Write to this half's peer."""
        self.transport.write(data)

    def send_all(self, chunks: list[bytes]) -> None:
        """Write several chunks with one system call where the loop can."""
        if len(chunks) == 1:
            self.transport.write(chunks[0])
        else:
            self.transport.writelines(chunks)

    def send_eof(self) -> None:
        """Tell the peer that we send no more."""
        write_eof(self.transport)

    def finish(self) -> None:
        """End in order: flush, say so, and throw away input until the peer has ended as well."""
        self._relaying = False
        self._thrown_away = True
        self._held.clear()
        if self.transport is None or self.transport.is_closing():
            return
        self.ends_whole()
        self.resume_reading()
        write_eof(self.transport)
        if self._over:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.owner.stream_lost(self, "connection_reset" if exc else "closed")


class TlsStream(_Half):
    """A half over mutual TLS: another sidecar."""

    __slots__ = (
        "_cut",
        "_greeting_at",
        "_incoming",
        "_outgoing",
        "_secured",
        "_tls",
        "greetings",
        "on_greeted",
        "tunnelled",
    )

    def __init__(
        self,
        owner: Owner,
        config: ProxyConfig,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> None:
        super().__init__(owner, config)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self._secured = False
        self._cut = False
        #: Where it is counted until its handshake is over.
        self.greetings: Greetings | None = None
        self._greeting_at = 0.0
        #: Hears that the handshake is over.
        self.on_greeted: Callable[[], None] | None = None
        #: Takes the connection over where both sides speak the tunnel's protocol; False: it does
        #: not, and the owner goes on.
        self.tunnelled: Callable[[TlsStream, bytes | None], bool] | None = None

    @property
    def keys(self) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
        """For whoever reads and writes in our place: the TLS state, and the encrypted bytes that
        have come and that are to be sent."""
        return self._tls, self._incoming, self._outgoing

    @property
    def alpn(self) -> str:
        """The protocol that both sides agreed on, "" for none."""
        return self._tls.selected_alpn_protocol() or ""

    @property
    def version(self) -> str:
        """The version of TLS that is spoken, "" before the handshake."""
        return self._tls.version() or ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        tune(self.transport, self._config, accepted=self._tls.server_side)
        if self.greetings is not None:
            self.greetings.open += 1
            self._greeting_at = time.monotonic()
        self.owner.stream_opened(self)
        self._handshake()

    def relay_to(self, peer: Stream) -> None:
        """From now on what is read goes to ``peer``; what came with the handshake goes first."""
        self.peer = peer
        self._relaying = True
        self.resume_reading()
        if self._incoming.pending:
            self._decrypt()
        if self._cut and not self._over:
            self.owner.stream_lost(self, "tls_truncated")

    def data_received(self, data: bytes) -> None:
        if self._relaying:
            self._incoming.write(data)
            self._decrypt()
        elif self._thrown_away:
            return
        elif self._secured:
            self._incoming.write(data)
            self.pause_reading()
        else:
            self._incoming.write(data)
            self._handshake()

    def eof_received(self) -> bool:
        """The TCP stream ended. Without a close_notify before it, it may have been cut short."""
        self._cut = not self._over
        if self._thrown_away:
            self.transport.close()
        elif not self._secured:
            self._greeted(failure(None))
            self.owner.stream_insecure(self, "peer_gone", "peer left during the handshake")
        elif self._cut and (self._relaying or not self._incoming.pending):
            self.owner.stream_lost(self, "tls_truncated")
        return True

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()  # the alert that tells the peer why
            self._greeted(failure(error))
            self.owner.stream_insecure(self, failure(error), str(error))
            return
        self._flush()
        self._secured = True
        self._greeted(OK)
        self.pause_reading()
        der = self._tls.getpeercert(True)
        if self.tunnelled is None or not self.tunnelled(self, der):
            self.owner.stream_secured(self, der)

    def _greeted(self, result: str) -> None:
        greetings, self.greetings = self.greetings, None
        told, self.on_greeted = self.on_greeted, None
        if told is not None:
            told()
        if greetings is not None and self._greeting_at:
            took_s = time.monotonic() - self._greeting_at
            version = self.version if result == OK else ""
            greetings.over(result, version, result == OK and bool(self._tls.session_reused), took_s)

    def _decrypt(self) -> None:
        """Pass on what has come: one record at a time comes out, all of them go on together."""
        read, incoming = self._tls.read, self._incoming
        chunks: list[bytes] = []
        over, broken = False, None
        try:
            while True:
                chunk = read(_RECORD_BYTES)
                if not chunk:
                    over = True
                    break
                chunks.append(chunk)
                self.rx_bytes += len(chunk)
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            over = True
        except ssl.SSLError as error:
            broken = error
        if chunks:
            self.peer.send_all(chunks)  # type: ignore[union-attr]
        if self._outgoing.pending:
            self._flush()
        if broken is not None:
            self.owner.stream_lost(self, failure(broken))
        elif over and not self._over:
            self._over = True
            self.owner.stream_over(self)

    def send(self, data: bytes) -> None:
        """Encrypt and write to this half's peer."""
        try:
            sent = self._tls.write(data)
            if sent < len(data):
                rest = memoryview(data)[sent:]
                while rest:
                    rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            self.owner.stream_lost(self, failure(error))
            return
        self.transport.write(self._outgoing.read())

    def send_all(self, chunks: list[bytes]) -> None:
        """Encrypt and write several chunks."""
        for chunk in chunks:
            self.send(chunk)

    def send_eof(self) -> None:
        """Tell the peer that we send no more: a close_notify, the socket stays."""
        with contextlib.suppress(ssl.SSLError):  # the peer's own close_notify may come much later
            self._tls.unwrap()
        self._flush()

    def finish(self) -> None:
        """End in order: flush, say so, and throw away input until the peer has ended as well."""
        self._relaying = False
        self._thrown_away = True
        if self.transport is None or self.transport.is_closing():
            return
        self.resume_reading()
        self.send_eof()
        write_eof(self.transport)
        if self._over or self._cut:
            self.transport.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._greeted(GIVEN_UP if self._thrown_away or exc is None else failure(None))
        self.owner.stream_lost(self, "connection_reset" if exc else "closed")


class Stream(Protocol):
    """A half of a relayed connection: in clear, over TLS, or one of many in a tunnel."""

    owner: Owner
    peer: Stream | None
    rx_bytes: int
    lost: bool

    @property
    def peer_address(self) -> str: ...
    @property
    def version(self) -> str: ...
    def relay_to(self, peer: Stream) -> None: ...
    def send(self, data: bytes) -> None: ...
    def send_all(self, chunks: list[bytes]) -> None: ...
    def send_eof(self) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
