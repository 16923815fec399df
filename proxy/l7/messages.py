"""Bodies and answers: what whoever handles a request sees of them, and those of HTTP/1.1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from proxy.errors import HttpViolation
from proxy.http1 import forward
from proxy.http1.body import LAST_CHUNK, Decoder, Framing, chunk
from proxy.http1.head import Headers, Request, Response
from proxy.l7.limits import HttpLimits
from proxy.l7.pace import Pace
from proxy.telemetry.entry import Notes

if TYPE_CHECKING:
    from proxy.l7.pipe import Pipe

_EMPTY = Framing()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {
    400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 408: "Request Timeout",
    414: "URI Too Long", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
    501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}  # fmt: skip


class Servant(Protocol):
    """Whoever works for a client: ended when the client is gone."""

    def abort(self) -> None: ...


class Client(Protocol):
    """Whose request it is."""

    servant: Servant | None

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        ...


class Body(Protocol):
    """A body that is being read. ``trailers`` are there once it is done; ``size`` is what was read
    so far."""

    framing: Framing

    @property
    def size(self) -> int: ...

    @property
    def trailers(self) -> Headers: ...

    @property
    def client(self) -> Client: ...

    @property
    def done(self) -> bool: ...

    async def read(self) -> bytes:
        """The next piece; b"" once it is done. Raises HttpViolation, TimeoutError, PipeClosed."""
        ...


class Answer(Protocol):
    """The answer to one request. ``grpc_status`` is "" for what is none of gRPC."""

    keep: bool
    begun: bool
    status: int
    grpc_status: str
    #: What is told of the request.
    notes: Notes

    async def begin(
        self, head: Response, headers: Sequence[tuple[str, str]], framing: Framing
    ) -> None:
        """Send the head."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        ...

    async def end(self, trailers: Headers = ()) -> None:
        """The body is complete."""
        ...

    async def whole(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """A short answer of our own."""
        ...


class NoBody:
    """A body with nothing to read: there is none, or somebody else passes it on."""

    size = 0
    trailers: Headers = ()
    done = True

    def __init__(self, client: Client, framing: Framing = _EMPTY) -> None:
        self.client = client
        self.framing = framing

    async def read(self) -> bytes:
        """Nothing."""
        return b""


class PipeBody:
    """A body that is being read from a connection."""

    trailers: Headers = ()

    def __init__(
        self,
        pipe: Pipe,
        framing: Framing,
        limits: HttpLimits,
        *,
        continues: bool = False,
        pace: Pace | None = None,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``continues``: the peer waits to be asked for it; ``pace``: how slowly it may come, by
        the clock ``now``."""
        self.framing = framing
        self.size = 0
        self._pipe = pipe
        self._decoder = Decoder(framing)
        self._limits = limits
        self._continues = continues
        self._pace = pace
        self._now = now

    @property
    def client(self) -> Pipe:
        """The connection that it comes from."""
        return self._pipe

    @property
    def done(self) -> bool:
        """Whether all of it was read."""
        return self._decoder.done

    async def read(self) -> bytes:
        """The next piece; b"" once it is done. Raises HttpViolation, TimeoutError, PipeClosed."""
        if self._continues:  # the peer waits to be asked for it
            self._continues = False
            await self._pipe.write(CONTINUE, self._limits.write_stall_s)
        decoder = self._decoder
        while not decoder.done:
            data = await self._read()
            if not data:
                decoder.end()
                return b""
            piece = decoder.feed(data)
            if decoder.left:
                self._pipe.give_back(decoder.left)
                decoder.left = b""
            if piece:
                self.size += len(piece)
                return piece
        return b""

    async def _read(self) -> bytes:
        if self._pace is None:
            return await self._pipe.read(self._limits.body_idle_s)
        began_at = self._now()
        data = await self._pipe.read(self._limits.body_idle_s)
        if data and self._pace.too_slow(len(data), self._now() - began_at):
            raise HttpViolation(408, "the body came too slowly")
        return data

    async def discard(self) -> bool:
        """Read on to the end if that is near; whether the connection can be used again."""
        if self._continues:
            return False  # it may come, or never
        left = self._limits.drain_bytes
        while not self.done and left > 0:
            left -= len(await self.read()) or 1
        return self.done


class PipeAnswer:
    """The answer to one request of a connection."""

    grpc_status = ""

    def __init__(self, pipe: Pipe, request: Request, limits: HttpLimits, *, keep: bool) -> None:
        self._pipe = pipe
        self._limits = limits
        self._chunked = False
        self._request = request
        self.keep = keep
        self.begun = False
        self.status = 0
        self.notes = Notes()

    async def begin(
        self, head: Response, headers: Sequence[tuple[str, str]], framing: Framing
    ) -> None:
        """Send the head."""
        self.begun, self.status = True, head.status
        self.notes.answered()
        unsized, chunks = framing.chunked or framing.until_close, self._request.minor >= 1
        self._chunked = unsized and chunks
        if unsized and not chunks:
            self.keep = False
        raw = forward.response_bytes(head, headers, framing, close=not self.keep, chunks=chunks)
        await self._pipe.write(raw, self._limits.write_stall_s)

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        self.notes.tx_bytes += len(data)
        await self._pipe.write(chunk(data) if self._chunked else data, self._limits.write_stall_s)

    async def end(self, trailers: Headers = ()) -> None:
        """The body is complete."""
        if self._chunked:
            await self._pipe.write(LAST_CHUNK, self._limits.write_stall_s)

    async def whole(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """A short answer of our own."""
        self.begun, self.status = True, status
        body = b"" if self._request.method == "HEAD" else text.encode()
        self.notes.answered()
        self.notes.tx_bytes += len(body)
        await self._pipe.write(
            own_answer(status, text, headers, close=not self.keep) + body,
            self._limits.write_stall_s,
        )


def own_answer(
    status: int, text: str, headers: Sequence[tuple[str, str]] = (), *, close: bool
) -> bytes:
    """The head of an answer of ours with this text."""
    response = Response(status, _REASONS.get(status, "Error"), 1, ())
    all_headers = [("Content-Type", "text/plain"), ("Server", "lictor"), *headers]
    framing = Framing(length=len(text.encode()))
    return forward.response_bytes(response, all_headers, framing, close=close)
