"""One request carried to one connection, and its response back. What went wrong is a value.

Decides nothing about retries: it says how a try ended, and whether anything was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from proxy.errors import HttpViolation, PipeClosed
from proxy.http1 import body as framing
from proxy.http1 import forward
from proxy.http1.body import LAST_CHUNK, Framing, chunk
from proxy.http1.head import Headers as Trailers
from proxy.http1.head import Request, Response, read_response
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import Answer, Body, Client, PipeBody
from proxy.l7.pipe import Pipe
from proxy.l7.retries import REPLAY_MAX_BYTES, Failure

Headers = Sequence[tuple[str, str]]
T = TypeVar("T")


class Replay:
    """A request's body that may be sent more than once while it is short."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._kept: list[bytes] = []
        self._size = 0
        self._whole = body.framing.empty

    @property
    def framing(self) -> Framing:
        return self._body.framing

    @property
    def client(self) -> Client:
        """Whose request it is."""
        return self._body.client

    @property
    def repeatable(self) -> bool:
        """Whether all that was read so far can be sent again."""
        return self._size <= REPLAY_MAX_BYTES

    @property
    def whole(self) -> bool:
        """Whether all of it was read and is still there."""
        return (self._whole or self._body.done) and self.repeatable

    @property
    def kept(self) -> list[bytes]:
        """What can be sent again."""
        return list(self._kept)

    @property
    def trailers(self) -> Trailers:
        """What came after the body, once all of it was read."""
        return self._body.trailers

    def passed(self, size: int) -> None:
        """So many bytes of it have gone another way."""
        self._size += size

    def reading(self) -> Reading:
        """All of it from its beginning."""
        return Reading(self, list(self._kept))

    async def more(self) -> bytes:
        """The next piece that nobody has read yet; b"" at the end. Raises what reading raises."""
        if self._whole:
            return b""
        piece = await self._body.read()
        if not piece:
            self._whole = True
            return b""
        self._size += len(piece)
        if self.repeatable:
            self._kept.append(piece)
        else:
            self._kept.clear()
        return piece

    async def send(self, pipe: Pipe, stall_s: float) -> None:
        """Write all of it. Raises what reading and writing raise."""
        wrap: Callable[[bytes], bytes] = chunk if self.framing.chunked else bytes
        reading = self.reading()
        while piece := await reading.read():
            await pipe.write(wrap(piece), stall_s)
        if self.framing.chunked:
            await pipe.write(LAST_CHUNK, stall_s)


class Reading:
    """One reading of a body: what is kept of it, then what comes."""

    def __init__(self, body: Replay, kept: list[bytes]) -> None:
        self._body = body
        self._kept = kept
        self._at = 0

    async def read(self) -> bytes:
        """The next piece; b"" at the end. Raises what reading raises."""
        if self._at < len(self._kept):
            self._at += 1
            return self._kept[self._at - 1]
        return await self._body.more()


@dataclass(frozen=True, slots=True)
class Began:
    """A response has come: its head and where its body ends. ``sent``: the whole request had gone
    out by then; else the connection is in the middle of it, and good for nothing more."""

    head: Response
    framing: Framing
    sent: bool = True

    @property
    def grpc_status(self) -> str:
        """The status of a gRPC call that ended with its head; "" for anything else."""
        return self.head.get("grpc-status") or ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent on, in whatever protocol the next hop speaks."""

    method: str
    target: str
    headers: Headers
    #: What it asks to switch to, "" for nothing; its headers say so, too.
    upgrade: str = ""


class Exchange(Protocol):
    """One request on a connection that carries several."""

    @property
    def tls(self) -> str: ...

    async def ask(
        self, outgoing: Outgoing, request: Request, body: Replay, timeout_s: float
    ) -> Began | Failure: ...

    async def give(self, began: Began, answer: Answer, headers: Headers) -> bool: ...

    def abort(self) -> None: ...

    def finish(self) -> None: ...


async def ask(
    pipe: Pipe | Exchange,
    outgoing: Outgoing,
    request: Request,
    body: Replay,
    limits: HttpLimits,
    timeout_s: float,
) -> Began | Failure:
    """Send a request and wait for the head of its response, for so long in all.

    When the client goes away meanwhile, the connection is reset: nobody waits for the answer.
    """
    if not isinstance(pipe, Pipe):
        return await pipe.ask(outgoing, request, body, timeout_s)
    raw = forward.request_bytes(outgoing.method, outgoing.target, outgoing.headers, body.framing)
    if body.client.gone:
        return Failure(reset=True, sent=False)
    sending: asyncio.Task[None] | None = None
    body.client.servant = pipe
    try:
        async with asyncio.timeout(timeout_s or None):
            await pipe.write(raw, limits.write_stall_s)
            if not body.framing.empty:
                sending = _task(body.send(pipe, limits.write_stall_s))
            head = await _head(pipe, outgoing, limits, sending)
            frame = framing.of_response(head, to_method=request.method)
            return Began(head, frame, sent=_is_sent(sending))
    except TimeoutError:
        return Failure(timed_out=True)
    except HttpViolation as error:
        if error.status < 500:
            pipe.abort()
            raise  # the client's body broke the rules
        return Failure(status=502)
    except PipeClosed:
        return Failure(reset=True)
    except asyncio.CancelledError:
        pipe.abort()
        raise
    finally:
        body.client.servant = None
        if sending is not None:
            if not sending.done():
                sending.cancel()
            elif not sending.cancelled():
                sending.exception()  # a response that came first is what counts


def _is_sent(sending: asyncio.Task[None] | None) -> bool:
    """Whether all of the body has gone out."""
    if sending is None:
        return True
    return sending.done() and not sending.cancelled() and sending.exception() is None


async def _head(
    pipe: Pipe, outgoing: Outgoing, limits: HttpLimits, sending: asyncio.Task[None] | None
) -> Response:
    """The head of the final response; interim ones are left out (101 is final)."""
    while True:
        raw = await _raw_head(pipe, limits, sending)
        if not raw:
            raise PipeClosed("closed without a response")
        head = read_response(raw)
        if head.status == 101 and not outgoing.upgrade:
            raise HttpViolation(502, "nobody asked for another protocol")
        if head.status >= 200 or head.status == 101:
            if sending is not None and not sending.done() and head.status < 300:
                await sending
            return head


async def _raw_head(pipe: Pipe, limits: HttpLimits, sending: asyncio.Task[None] | None) -> bytes:
    """The next head, while the request's body is still being sent."""
    if sending is None or sending.done():
        if sending is not None:
            sending.result()
        return await pipe.read_head(limits.downstream_idle_s, limits.head_timeout_s)
    reading = _task(pipe.read_head(limits.downstream_idle_s, limits.head_timeout_s))
    try:
        await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            sending.result()  # raises what the client did wrong
        return await reading
    finally:
        reading.cancel()


def _task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that its caller ends with itself."""
    return asyncio.get_running_loop().create_task(work)


async def give(
    pipe: Pipe | Exchange, began: Began, answer: Answer, headers: Headers, limits: HttpLimits
) -> bool:
    """Pass a response on; whether its connection is whole and can be kept."""
    if not isinstance(pipe, Pipe):
        return await pipe.give(began, answer, headers)
    body = PipeBody(pipe, began.framing, limits)
    await answer.begin(began.head, headers, began.framing)
    while piece := await body.read():
        await answer.send(piece)
    await answer.end()
    words = (began.head.get("connection") or "").lower()
    kept = not began.framing.until_close and began.head.minor >= 1 and "close" not in words
    return kept and began.sent


def upgrade_wanted(request: Request, allowed: Collection[str]) -> str:
    """The protocol that a request wants to switch to, if it is one of those (in lower case) that
    it may; else "", and it goes on without (RFC 9110, section 7.8). What is spoken after a switch
    nobody decides about: requests of HTTP/2 would pass every rule."""
    words = {each.strip().lower() for each in (request.get("connection") or "").split(",")}
    if "upgrade" not in words:
        return ""
    wanted = [each.strip() for each in (request.get("upgrade") or "").split(",")]
    return next((each for each in wanted if each.lower() in allowed), "")


async def switch(
    downstream: Pipe, upstream: Pipe | Exchange, began: Began, headers: Headers, limits: HttpLimits
) -> None:
    """After 101 both sides speak another protocol: bytes both ways until either ends."""
    if not isinstance(upstream, Pipe):
        raise HttpViolation(502, "HTTP/2 does not switch protocols")
    upgrade = began.head.get("upgrade") or ""
    kept = [(n, v) for n, v in headers if n.lower() not in ("connection", "upgrade")]
    kept += [("Connection", "Upgrade"), ("Upgrade", upgrade)]
    raw = forward.response_bytes(began.head, kept, Framing(), close=False)
    await downstream.write(raw, limits.write_stall_s)
    ways = [
        _task(_copy(downstream, upstream, limits)),
        _task(_copy(upstream, downstream, limits)),
    ]
    try:
        await asyncio.wait(ways)
    finally:
        for way in ways:
            way.cancel()


async def _copy(source: Pipe, target: Pipe, limits: HttpLimits) -> None:
    try:
        while data := await source.read(limits.downstream_idle_s):
            await target.write(data, limits.write_stall_s)
        target.end_writing()
    except (PipeClosed, TimeoutError):
        source.abort()
        target.abort()
