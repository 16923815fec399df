"""Two threads that move the bytes of one big stream between an application and a TLS connection.

Why threads: OpenSSL and system calls let others run, so Python's part of a block of 256 KiB is some
ten microseconds, each block stays in the processor's cache between its copies, and the event loop
has nothing to do with it. Decides nothing. The sockets stay non-blocking (they are the loop's as
well), so a thread waits for its socket and for the word to stop at once.

TLS state is one object for both directions and OpenSSL does not guard it: a lock is held for each
call, never while a socket is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Protocol

from proxy.handshakes import failure

#: The largest plaintext of a TLS record (RFC 8446, section 5.1): what one SSL_read can give.
_RECORD_BYTES = 16_384


class Told(Protocol):
    """Who hears of the ends; called by the loop."""

    def moved_all(self, *, from_app: bool) -> None:
        """One direction is over, and said so to the other side."""
        ...

    def broke(self, reason: str) -> None:
        """A connection broke."""
        ...


class _Stopped(Exception):
    """Somebody wants an end of it."""


class Mover:
    """The two directions. Sockets are its own; they are closed when it stops."""

    def __init__(
        self,
        told: Told,
        app: socket.socket,
        wire: socket.socket,
        keys: tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO],
        block_bytes: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._told = told
        self._app, self._wire = app, wire
        self._tls, self._incoming, self._outgoing = keys
        self._block_bytes = max(block_bytes, 4 * _RECORD_BYTES)
        self._lock = threading.Lock()
        self._stopped = False
        self._running = 0
        self._word, self._say = os.pipe()
        self._app_in = self._poller(app, select.POLLIN)
        self._app_out = self._poller(app, select.POLLOUT)
        self._wire_in = self._poller(wire, select.POLLIN)
        self._wire_out = self._poller(wire, select.POLLOUT)
        #: Bytes that were read so far.
        self.from_app = 0
        self.from_wire = 0

    def _poller(self, sock: socket.socket, mask: int) -> select.poll:
        poller = select.poll()
        poller.register(sock, mask)
        poller.register(self._word, select.POLLIN)
        return poller

    # What the loop asks for.

    def start_out(self) -> None:
        """Move what the application sends."""
        self._start(self._encrypting, "lictor bulk out")

    def start_in(self) -> None:
        """Move what comes for the application."""
        self._start(self._decrypting, "lictor bulk in")

    def _start(self, work: Callable[[], None], name: str) -> None:
        if self._stopped:
            return
        self._running += 1
        threading.Thread(target=self._run, args=(work,), name=name, daemon=True).start()

    def stop(self) -> None:
        """End both directions where they are, within one block."""
        if not self._stopped:
            self._stopped = True
            os.write(self._say, b".")
            self._close_if_ended()

    def _ended(self) -> None:
        self._running -= 1
        self._close_if_ended()

    def _close_if_ended(self) -> None:
        if self._stopped and not self._running:
            self._app.close()
            self._wire.close()
            os.close(self._word)
            os.close(self._say)

    # The threads.

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _Stopped:
            pass
        except ssl.SSLError as error:
            self._tell(self._told.broke, failure(error))
        except OSError:
            self._tell(self._told.broke, "connection_reset")
        finally:
            self._tell(self._ended)

    def _tell(self, call: Callable[..., None], *values: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(call, *values)

    def _encrypting(self) -> None:
        block = memoryview(bytearray(self._block_bytes))
        tls, outgoing, lock = self._tls, self._outgoing, self._lock
        while size := self._receive(self._app, block, self._app_in):
            self.from_app += size
            at = 0
            with lock:
                while at < size:
                    at += tls.write(block[at:size])
                data = outgoing.read()
            self._send(self._wire, data, self._wire_out)
        with lock:
            with contextlib.suppress(ssl.SSLError):  # the peer's own close_notify may come later
                tls.unwrap()
            data = outgoing.read()
        self._send(self._wire, data, self._wire_out)
        self._tell(lambda: self._told.moved_all(from_app=True))

    def _decrypting(self) -> None:
        block = memoryview(bytearray(self._block_bytes))
        clear = memoryview(bytearray(self._block_bytes))
        while True:
            size, over = self._decrypted(clear)
            if size:
                self.from_wire += size
                self._send(self._app, clear[:size], self._app_out)
            if over:
                break
            if len(clear) - size >= _RECORD_BYTES:  # else there may be more of what has come
                got = self._receive(self._wire, block, self._wire_in)
                if not got:  # without a close_notify it may have been cut short
                    self._tell(self._told.broke, "tls_truncated")
                    return
                with self._lock:
                    self._incoming.write(block[:got])
        with contextlib.suppress(OSError):  # the application is gone, which its reading tells
            self._app.shutdown(socket.SHUT_WR)
        self._tell(lambda: self._told.moved_all(from_app=False))

    def _decrypted(self, into: memoryview) -> tuple[int, bool]:
        """How much came out of what has come, and whether the peer said that this is all."""
        read, incoming, at, last = self._tls.read, self._incoming, 0, len(into) - _RECORD_BYTES
        with self._lock:
            try:
                while at <= last and incoming.pending:
                    got = read(_RECORD_BYTES, into[at:])
                    if not got:
                        return at, True
                    at += got  # type: ignore[operator]  # with a buffer it is a number
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return at, True
        return at, False

    def _receive(self, sock: socket.socket, into: memoryview, poller: select.poll) -> int:
        while not self._stopped:
            try:
                return sock.recv_into(into)
            except BlockingIOError:
                poller.poll()
        raise _Stopped

    def _send(self, sock: socket.socket, data: bytes | memoryview, poller: select.poll) -> None:
        rest = memoryview(data)
        while rest:
            if self._stopped:
                raise _Stopped
            try:
                rest = rest[sock.send(rest) :]
            except BlockingIOError:
                poller.poll()
