"""The server's side of an HTTP/2 connection: every request in a task of its own."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence

from proxy.errors import HttpViolation, PipeClosed
from proxy.http1 import forward
from proxy.http1.body import Framing
from proxy.http1.head import Headers, Request, Response
from proxy.http2 import fields, grpc
from proxy.http2.core import INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, Core
from proxy.http2.events import Asked
from proxy.http2.session import Session, Stream, StreamReset
from proxy.http2.turns import Turns
from proxy.l7.limits import HttpLimits
from proxy.l7.pipe import Pipe
from proxy.l7.serve import Handler
from proxy.telemetry.entry import Notes

log = logging.getLogger("lictor.proxy.http2")


class StreamBody:
    """The body of a request that came on a stream."""

    def __init__(self, stream: Stream, framing: Framing, limits: HttpLimits) -> None:
        self.framing = framing
        self._stream = stream
        self._limits = limits

    @property
    def trailers(self) -> Headers:
        """What came after it."""
        return self._stream.trailers

    @property
    def size(self) -> int:
        """What came of it so far."""
        return self._stream.rx_bytes

    @property
    def client(self) -> Stream:
        """Whose request it is."""
        return self._stream

    @property
    def done(self) -> bool:
        """Whether all of it was read."""
        return self._stream.done

    async def read(self) -> bytes:
        """The next piece; b"" once it is done. Raises TimeoutError and StreamReset."""
        return await self._stream.read(self._limits.downstream_idle_s)


class StreamAnswer:
    """The answer to the request of one stream."""

    def __init__(self, stream: Stream, request: Request) -> None:
        self._stream = stream
        self._request = request
        self._of_grpc = grpc.asks(request)
        self.keep = True
        self.begun = False
        self.ended = False
        self.status = 0
        self.grpc_status = ""
        self.notes = Notes()

    async def begin(
        self, head: Response, headers: Sequence[tuple[str, str]], framing: Framing
    ) -> None:
        """Send the head."""
        self.begun, self.status, self.ended = True, head.status, framing.empty
        self.notes.answered()
        self._heard(headers)
        await self._stream.headers(
            fields.response_fields(head.status, headers), ended=framing.empty
        )

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        self.notes.tx_bytes += len(data)
        await self._stream.send(data)

    async def end(self, trailers: Headers = ()) -> None:
        """The body is complete."""
        if self.ended:
            return
        self.ended = True
        self._heard(trailers)
        kept = forward.passed_on(trailers)
        if kept:
            await self._stream.headers([(n.lower(), v) for n, v in kept], ended=True)
        else:
            await self._stream.send(b"", ended=True)

    async def whole(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """A short answer of our own; to a call of gRPC, its status and no body."""
        if self._of_grpc:
            told = grpc.answer(status, text)
            await self.begin(Response(200, "", 1, ()), [*told, *headers], Framing())
            return
        body = b"" if self._request.method == "HEAD" else text.encode()
        told = [
            ("content-type", "text/plain"),
            ("server", "lictor"),
            ("content-length", str(len(text.encode()))),
        ]
        framing = Framing(length=len(body))
        await self.begin(Response(status, "", 1, ()), [*told, *headers], framing)
        if body:
            await self.send(body)
            await self.end()

    def _heard(self, headers: Sequence[tuple[str, str]]) -> None:
        if self._of_grpc:
            found = next((v for n, v in headers if n.lower() == "grpc-status"), "")
            self.grpc_status = found or self.grpc_status


class Server:
    """Serves one accepted connection."""

    def __init__(
        self,
        pipe: Pipe,
        handle: Handler,
        limits: HttpLimits,
        *,
        on_violation: Callable[[str], None],
        now: Callable[[], float],
        turns: Turns | None = None,
    ) -> None:
        self._pipe = pipe
        self._handle = handle
        self._limits = limits
        self._on_violation = on_violation
        self._group = asyncio.TaskGroup()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.session = Session(
            pipe, Core(limits.http2, client=False), limits, now, self._asked, on_violation, turns
        )
        pipe.leave = self.session.leave

    async def run(self) -> None:
        """Serve until either side ends. Never raises for what the peer did."""
        try:
            async with self._group:
                wrong = await self.session.run()
                if wrong:
                    self._on_violation(wrong)
                for task in self._tasks.values():
                    task.cancel()
        finally:
            self._pipe.finish()

    def _asked(self, stream: Stream, asked: Asked) -> None:
        task = self._group.create_task(self._one(stream, asked))
        self._tasks[stream.id] = task
        stream.servant = _Work(task)
        # Not at the end of the task: of a stream that is reset at once it never begins.
        task.add_done_callback(functools.partial(self._over, stream))

    def _over(self, stream: Stream, _: object) -> None:
        self._tasks.pop(stream.id, None)
        stream.servant = None
        stream.close()

    async def _one(self, stream: Stream, asked: Asked) -> None:
        request = asked.request
        framing = fields.framing(request.headers, ended=asked.ended)
        answer = StreamAnswer(stream, request)
        code = INTERNAL_ERROR
        try:
            await self._handle(request, StreamBody(stream, framing, self._limits), answer)
        except HttpViolation as error:
            self._on_violation(str(error))
            code = PROTOCOL_ERROR
            await self._sorry(answer, error.status, str(error))
        except StreamReset as error:
            code = error.code
            await self._sorry(answer, 502, "the other side broke off")
        except (PipeClosed, TimeoutError) as error:
            log.debug("request ends reason=%s", error or "timeout")
            await self._sorry(answer, 504, "nothing came in time")
        except Exception:
            log.exception("a request failed")
        finally:
            stream.servant = None
            if not stream.gone:
                if not answer.ended:
                    stream.abort(code)
                elif not stream.done:  # nobody wants the rest of it
                    stream.abort(NO_ERROR)

    async def _sorry(self, answer: StreamAnswer, status: int, text: str) -> None:
        if answer.begun:
            return
        try:
            await answer.whole(status, text)
        except (PipeClosed, TimeoutError):
            return


class _Work:
    """The task that serves a stream; ended with it."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def abort(self) -> None:
        """Nobody waits for the answer any more."""
        self._task.cancel()
