"""The HTTP end of a stream: bytes that came in wait here for a coroutine, bounded both ways."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Protocol

from proxy import certificate
from proxy.certificate import PeerCertificate
from proxy.errors import HttpViolation, IdentityError, PipeClosed
from proxy.http1 import head
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import Servant
from proxy.relay import Stream

#: A head that is not whole is looked at again after so many bytes, for it may be too long already.
_HEAD_LOOK_BYTES = 1024
#: Why a pipe ends whose connection turned out to be a tunnel.
TUNNELLED = "tunnelled"


class Taker(Protocol):
    """Whoever takes what comes at once, before a coroutine is woken for it."""

    def take(self, data: bytes) -> bool:
        """Bytes have come; False leaves them to the coroutine."""
        ...

    def ended(self) -> None:
        """No more will come: the peer has ended, or the connection is lost."""
        ...

    def paused(self) -> None:
        """The peer takes no more for now."""
        ...

    def resumed(self) -> None:
        """The peer takes more again."""
        ...


class Pipe:
    """One connection. It is the owner of its stream and the half that the stream relays to."""

    def __init__(self, limits: HttpLimits, *, accepted: bool = False) -> None:
        self._limits = limits
        self._accepted = accepted
        self._stream: Stream = None  # type: ignore[assignment]
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.opened = asyncio.Event()
        self._over = False
        self._lost = ""
        self._paused = False
        #: Whoever works for this side: it is reset when this side is gone.
        self.servant: Servant | None = None
        self.taker: Taker | None = None
        #: Whether the coroutine waits for the first byte of a request.
        self.between = False
        #: Whether it is kept for another request: once the peer has ended, there will be none.
        self.kept = False
        #: Up to which size the buffer is known to hold no whole head, while one is waited for; -1
        #: while none is.
        self._no_head_to = -1
        #: What comes waits until the answer that the taker passes on is complete.
        self.held_up = False
        self._touched_at = -math.inf
        self._timer: asyncio.TimerHandle = None  # type: ignore[assignment]
        #: Resets a stream that was to end in order and does not.
        self._ending: asyncio.TimerHandle | None = None
        #: Takes no more streams, where there are some.
        self.leave: Callable[[], None] = lambda: None
        #: Told once, when the stream is lost.
        self.on_lost: Callable[[Pipe], None] | None = None
        #: Whether the connection turned out to be a tunnel.
        self.tunnelled = False
        #: Of the other side, once it is known.
        self.peer: PeerCertificate | None = None
        #: The version of TLS that its stream speaks, "" in clear.
        self.tls = ""
        self.secured: asyncio.Future[PeerCertificate] = asyncio.get_running_loop().create_future()

    # What the stream reports.

    def stream_opened(self, stream: Stream) -> None:
        self._stream = stream
        self.opened.set()

    def stream_secured(self, stream: Stream, der: bytes | None) -> None:
        if self.secured.done():
            return
        self.tls = stream.version
        try:
            peer = certificate.read(der, client=self._accepted)
        except IdentityError as error:
            self._insecure(f"bad_san: {error}")
        else:
            self.peer = peer
            self.secured.set_result(peer)

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None:
        self._insecure(f"{reason}: {detail}")
        self._fail(reason)

    def stream_over(self, stream: Stream) -> None:
        self._over = True
        if self.taker is not None:
            self.taker.ended()
        if self.servant is not None:
            # Whoever closes while an answer is due is taken to have gone, as other proxies do.
            self._fail("client_closed")
        self._wake()
        if self.kept:
            self.finish()

    def stream_lost(self, stream: Stream, reason: str) -> None:
        self._insecure(reason)
        self._fail(reason)
        if self.on_lost is not None:
            self.on_lost(self)
            self.on_lost = None
        if self._ending is not None:  # it would hold all that is here for its time
            self._ending.cancel()
            self._ending = None

    def _insecure(self, reason: str) -> None:
        if not self.secured.done():
            self.secured.set_exception(PipeClosed(reason))
            self.secured.exception()  # nobody has to ask: streams in clear are never secured

    def _fail(self, reason: str) -> None:
        self._lost = self._lost or reason
        if self.taker is not None:
            self.taker.ended()
        if self.servant is not None:
            self.servant.abort()
        self._writable.set()
        self._wake()

    def joined_to(self, stream: Stream, peer: PeerCertificate) -> None:
        """It is a stream of a tunnel, whose other end is known already."""
        self.stream_opened(stream)
        self.peer, self.tls = peer, stream.version
        self.secured.set_result(peer)

    def handed_over(self) -> None:
        """The connection is a tunnel: its streams have pipes of their own."""
        self.tunnelled = True
        self._stream = None  # type: ignore[assignment]
        self._insecure(TUNNELLED)

    # What the stream hands over.

    def send(self, data: bytes) -> None:
        if self.taker is not None and self.taker.take(data):
            return
        self._buffer += data
        if len(self._buffer) > self._limits.buffer_bytes and not self._paused:
            self._paused = True
            self._stream.pause_reading()
        if not self.held_up and not (self._no_head_to >= 0 and self._goes_on()):
            self._wake()

    def _goes_on(self) -> bool:
        """Whether the head that is waited for is still not whole: who sends it byte by byte wakes
        nobody with each of them."""
        size = len(self._buffer)
        if size - self._no_head_to >= _HEAD_LOOK_BYTES:
            return False
        return self._buffer.find(b"\r\n\r\n", max(0, self._no_head_to - 3)) < 0

    def send_all(self, chunks: list[bytes]) -> None:
        for each in chunks:
            self.send(each)

    def pause_reading(self) -> None:
        self._writable.clear()
        if self.taker is not None:
            self.taker.paused()

    def resume_reading(self) -> None:
        self._writable.set()
        if self.taker is not None:
            self.taker.resumed()

    # What a coroutine does.

    def begin(self) -> None:
        """From now on take what comes."""
        self._stream.relay_to(self)  # type: ignore[arg-type]

    @property
    def peer_address(self) -> str:
        """Where the peer is, as ``address:port``; "" for a unix socket."""
        return self._stream.peer_address

    @property
    def open(self) -> bool:
        """Whether both directions still stand."""
        return not self._over and not self._lost

    @property
    def gone(self) -> bool:
        """Whether the connection is lost."""
        return bool(self._lost)

    @property
    def untouched(self) -> bool:
        """Whether nothing came that nobody asked for: a kept connection that can be used."""
        return self.open and not self._buffer

    @property
    def has_more(self) -> bool:
        """Whether bytes wait to be read."""
        return bool(self._buffer)

    @property
    def writable(self) -> bool:
        """Whether the peer takes what is written."""
        return self._writable.is_set() and not self._lost

    def hold_back(self, held: bool) -> None:
        """Read no more from this side's peer until the other side has taken what came."""
        if not self._lost and self._stream is not None:
            (self._stream.pause_reading if held else self._stream.resume_reading)()

    def served(self, now: float) -> None:
        """The taker is done with a request: what came meanwhile is next."""
        self.held_up = False
        self._touched_at = now
        if self._buffer:
            data = self.take()
            if self.taker is None or not self.taker.take(data):
                self.give_back(data)
                self._wake()

    def served_last(self) -> None:
        """The taker is done with the last request: what came after it is let drop."""
        self.held_up = False
        self._buffer.clear()
        self.finish()

    def leave_to_coroutine(self, data: bytes) -> None:
        """The taker gives back the request that it took."""
        self.held_up = False
        self.give_back(data)
        self._wake()

    async def read(self, timeout_s: float) -> bytes:
        """What has come; waits for it. b"" at the end. Raises TimeoutError and PipeClosed."""
        if not self._buffer:
            await self._more(timeout_s)
        return self.take()

    def take(self) -> bytes:
        """All that has come so far."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._read_on()
        return data

    def give_back(self, data: bytes) -> None:
        """What was read too far."""
        self._buffer[:0] = data

    async def read_head(self, first_s: float, rest_s: float) -> bytes:
        """A whole head; b"" when the peer ended before one began.

        ``first_s`` for its first byte, ``rest_s`` from there to its end. Raises TimeoutError,
        PipeClosed and HttpViolation.
        """
        self.between = True
        try:
            while not self._buffer:
                if not await self._more(first_s):
                    return b""
        finally:
            self.between = False
        # An empty line before a request is let pass (RFC 9112, section 2.2).
        if self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
        end = head.end_of_head(self._buffer)
        if end < 0:  # seldom: most heads come whole, and need no second clock
            try:
                async with asyncio.timeout(rest_s):
                    while (end := head.end_of_head(self._buffer)) < 0:
                        self._no_head_to = len(self._buffer)
                        if not await self._more(rest_s):
                            raise HttpViolation(400, "the head was cut short")
            finally:
                self._no_head_to = -1
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._read_on()
        return raw

    async def _more(self, timeout_s: float) -> bool:
        """Wait for more; False at the end."""
        size = len(self._buffer)
        while len(self._buffer) == size:
            if self._lost:
                raise PipeClosed(self._lost)
            if self._over:
                return False
            loop = asyncio.get_running_loop()
            self._waiter = waiter = loop.create_future()
            # A timer that fails the future costs a fraction of `asyncio.timeout`, and every
            # request waits here several times.
            self._timer = loop.call_later(timeout_s, self._expire, waiter, timeout_s)
            try:
                await waiter
            finally:
                if self._waiter is waiter:  # else it was ended while the next one waits already
                    self._timer.cancel()
                    self._waiter = None
        return True

    def _expire(self, waiter: asyncio.Future[None], timeout_s: float) -> None:
        if waiter.done():
            return
        loop = asyncio.get_running_loop()
        # Requests that a taker served woke nobody.
        left_s = timeout_s if self.held_up else self._touched_at + timeout_s - loop.time()
        if left_s > 0:
            self._timer = loop.call_later(left_s, self._expire, waiter, timeout_s)
        else:
            waiter.set_exception(TimeoutError())

    async def write(self, data: bytes, stall_s: float) -> None:
        """Write and wait while the peer takes no more. Raises TimeoutError and PipeClosed."""
        if self._lost:
            raise PipeClosed(self._lost)
        if data:
            self._stream.send(data)
        await self.drained(stall_s)

    def push(self, data: bytes) -> None:
        """Write without waiting: only for what its writer bounds by itself."""
        if data and not self._lost:
            self._stream.send(data)

    async def drained(self, stall_s: float) -> None:
        """Wait while the peer takes no more. Raises TimeoutError and PipeClosed."""
        if not self._writable.is_set():
            async with asyncio.timeout(stall_s):
                await self._writable.wait()
        if self._lost:
            raise PipeClosed(self._lost)

    def finish(self) -> None:
        """End in order."""
        if self._stream is not None and not self._stream.lost:
            self._stream.finish()
            if self._ending is None:
                with contextlib.suppress(RuntimeError):
                    loop = asyncio.get_running_loop()
                    self._ending = loop.call_later(self._limits.head_timeout_s, self.abort)

    def abort(self) -> None:
        """Reset."""
        if self._stream is not None and not self._stream.lost:
            self._stream.abort()

    def cut(self, reason: str) -> None:
        """Reset, and from now on it counts as lost."""
        self.abort()
        self._fail(reason)

    def end_writing(self) -> None:
        """Tell the peer that no more will come."""
        if not self._lost:
            self._stream.send_eof()

    def _read_on(self) -> None:
        if self._paused and len(self._buffer) <= self._limits.buffer_bytes // 2:
            self._paused = False
            self._stream.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
