"""One HTTP/2 connection in motion: its socket, its core, and what its streams wait for.

Decides nothing about frames (``core``) or requests. What came for a stream waits here until it is
read, which is what its window bounds; what goes to it waits until the peer has room.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from proxy.errors import PipeClosed
from proxy.http1.head import Headers, Response
from proxy.http2.core import CANCEL, Core, Ended
from proxy.http2.events import Answered, Asked, Broken, Event, Leaving, Over, Piece, Room
from proxy.http2.fields import Fields
from proxy.http2.turns import Turns
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import Servant
from proxy.l7.pipe import Pipe


class StreamReset(PipeClosed):
    """A stream has ended before its time. ``refused``: nothing was done with its request."""

    def __init__(self, text: str, code: int = CANCEL, *, refused: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.refused = refused


class Stream:
    """One request and its response, on one connection."""

    __slots__ = (
        "_answered",
        "_chunks",
        "_failure",
        "_over",
        "_session",
        "_waiter",
        "id",
        "rx_bytes",
        "servant",
        "trailers",
        "tx_bytes",
    )

    def __init__(self, session: Session, stream_id: int) -> None:
        self.id = stream_id
        self.trailers: Headers = ()
        #: Whoever works for the peer: ended when the stream is.
        self.servant: Servant | None = None
        self.rx_bytes = self.tx_bytes = 0
        self._session = session
        self._chunks: deque[tuple[bytes, int]] = deque()
        self._over = False
        self._failure: StreamReset | None = None
        self._answered: tuple[Response, bool] | None = None
        self._waiter: asyncio.Future[None] | None = None

    # What the connection reports.

    def got(self, data: bytes, credit: int) -> None:
        self._chunks.append((data, credit))
        self.rx_bytes += len(data)
        self._wake()

    def answered(self, response: Response, *, ended: bool) -> None:
        self._answered = (response, ended)
        self._wake()

    def over(self, trailers: Headers = ()) -> None:
        if not self._over:
            self._over, self.trailers = True, trailers
            self._wake()

    def broken(self, failure: StreamReset) -> None:
        self._failure = self._failure or failure
        if self.servant is not None:
            self.servant.abort()
        self._wake()

    # What a coroutine does.

    @property
    def gone(self) -> bool:
        """Whether the stream ended before its time."""
        return self._failure is not None

    @property
    def done(self) -> bool:
        """Whether all that the peer sends was read."""
        return self._over and not self._chunks

    async def read(self, idle_s: float) -> bytes:
        """The next piece; b"" at the end. Raises TimeoutError and StreamReset."""
        while True:
            while self._chunks:
                data, credit = self._chunks.popleft()
                self._session.credit(self.id, credit)
                if data:
                    return data
            if self._failure is not None:
                raise self._failure
            if self._over:
                return b""
            await self._wait(idle_s)

    async def response(self) -> tuple[Response, bool]:
        """The head of the response, and whether nothing follows. Raises StreamReset."""
        while self._answered is None:
            if self._failure is not None:
                raise self._failure
            if self._over:
                raise StreamReset("ended without a response")
            await self._wait(None)
        return self._answered

    async def _wait(self, idle_s: float | None) -> None:
        async with asyncio.timeout(idle_s):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def headers(self, fields: Fields, *, ended: bool) -> None:
        """Send headers or trailers. Raises StreamReset."""
        if self._failure is not None or not self._session.core.headers(
            self.id, fields, ended=ended
        ):
            raise self._failure or StreamReset("the stream is over")
        await self._session.sent()

    async def send(self, data: bytes, *, ended: bool = False) -> None:
        """Send a piece of a body as there is room. Raises TimeoutError and StreamReset."""
        session, rest = self._session, memoryview(data)
        self.tx_bytes += len(data)
        while True:
            room = session.core.window(self.id)
            if self._failure is not None or room < 0:
                raise self._failure or StreamReset("the stream is over")
            if not room and rest:
                await session.more_room()
                continue
            piece, rest = rest[:room], rest[room:]
            if not session.core.data(self.id, piece, ended=ended and not rest):
                raise self._failure or StreamReset("the stream is over")
            await session.sent()
            if not rest:
                return

    def abort(self, code: int = CANCEL) -> None:
        """End the stream at once."""
        self._session.reset(self, code)

    def close(self) -> None:
        """Nobody looks at the stream any more; what was not read is given back."""
        for _, credit in self._chunks:
            self._session.credit(self.id, credit)
        self._chunks.clear()
        self._session.close(self)


class Session:
    """A connection and its streams; ``asked`` is called for each request of the peer."""

    def __init__(
        self,
        pipe: Pipe,
        core: Core,
        limits: HttpLimits,
        now: Callable[[], float],
        asked: Callable[[Stream, Asked], None] | None = None,
        on_violation: Callable[[str], None] = lambda _: None,
        turns: Turns | None = None,
    ) -> None:
        """``turns`` are shared by connections of which each may send many frames at once."""
        self.core = core
        self._turns = turns or Turns()
        self.streams: dict[int, Stream] = {}
        #: Whether the peer was heard at all.
        self.ready = asyncio.Event()
        self.ended = False
        self.leaving = False
        self._pipe = pipe
        self._limits = limits
        self._now = now
        self._asked = asked
        self._on_violation = on_violation
        self._room = asyncio.Event()

    async def run(self) -> str:
        """Serve the connection to its end; what was wrong with the peer, "" if nothing."""
        wrong = ""
        self._flush()
        try:
            while not (self.leaving and not self.streams):
                data = await self._next()
                if not data:
                    break
                await self._take(data)
        except Ended as error:
            wrong = str(error)
            self._flush()
        except (PipeClosed, TimeoutError):
            pass
        finally:
            self.ended = True
            self.ready.set()
            for stream in list(self.streams.values()):
                stream.broken(StreamReset("the connection ended"))
            self._room.set()
        return wrong

    async def _take(self, data: bytes) -> None:
        while True:
            for event in self.core.receive(data, self._now()):
                self._event(event)
            if self.core.heard:
                self.ready.set()
            self._flush()
            if not self.core.more:
                return
            data = b""
            await self._turns.turn()

    async def _next(self) -> bytes:
        """What comes next; b"" at the end, or when nobody needs the connection any more."""
        while True:
            try:
                return await self._pipe.read(self._limits.downstream_idle_s)
            except TimeoutError:
                if not self.streams:
                    return b""

    def _event(self, event: Event) -> None:
        match event:
            case Asked():
                stream = self.streams[event.stream_id] = Stream(self, event.stream_id)
                if event.ended:
                    stream.over()
                if self._asked is not None:
                    self._asked(stream, event)
            case Room():
                self._room.set()
            case Leaving():
                self.leaving = True
            case _:
                self._of_stream(event)

    def _of_stream(self, event: Answered | Piece | Over | Broken) -> None:
        if isinstance(event, Broken) and event.by_us:
            self._on_violation(event.by_us)
        stream = self.streams.get(event.stream_id)
        if stream is None:
            if isinstance(event, Piece):
                self.credit(event.stream_id, event.credit)
            return
        match event:
            case Answered():
                stream.answered(event.response, ended=event.ended)
            case Piece():
                stream.got(event.data, event.credit)
            case Over():
                stream.over(event.trailers)
            case Broken():
                text = event.by_us or f"reset by the peer, code {event.code}"
                stream.broken(StreamReset(text, event.code, refused=event.refused))
                self._room.set()

    # What streams do.

    def credit(self, stream_id: int, size: int) -> None:
        """These bytes were read."""
        self.core.credit(stream_id, size)
        self._flush()

    async def sent(self) -> None:
        """Something is to be sent: do it, and wait while the peer takes no more."""
        self._flush()
        await self._pipe.drained(self._limits.write_stall_s)

    async def more_room(self) -> None:
        """Wait until some stream may send more. Raises TimeoutError."""
        self._room.clear()
        async with asyncio.timeout(self._limits.downstream_idle_s):
            await self._room.wait()

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream at once."""
        self.core.reset(stream.id, code)
        stream.broken(StreamReset("ended by us", code))
        self._flush()

    def close(self, stream: Stream) -> None:
        """A stream is over and forgotten."""
        self.core.finished(stream.id)
        self.streams.pop(stream.id, None)
        if self.leaving and not self.streams:
            self._pipe.finish()

    def leave(self) -> None:
        """Take no more streams, and end when those under way have ended."""
        if not self.leaving and not self.ended:
            self.leaving = True
            self.core.leave()
            self._flush()
            if not self.streams:
                self._pipe.finish()

    def _flush(self) -> None:
        self._pipe.push(self.core.taken())
