"""Connections to hosts that speak HTTP/2: each carries many requests (contract D.10).

A host has as many connections as its streams need, within a bound; they are dialled one after
another, so that many requests at once do not dial as many connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from proxy.config import ProxyConfig
from proxy.errors import HttpViolation, PipeClosed
from proxy.http1.head import Request
from proxy.http2 import fields
from proxy.http2.core import CANCEL, NO_ERROR, Core
from proxy.http2.session import Session, Stream, StreamReset
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import Answer
from proxy.l7.pipe import Pipe
from proxy.l7.pool import Peer, Pool
from proxy.l7.relaying import Began, Outgoing, Replay
from proxy.l7.retries import Failure
from proxy.revocations import NONE, Revocations
from proxy.source import AppAddress
from proxy.telemetry.greetings import Greetings
from proxy.tls import Contexts

Place = Peer | AppAddress
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Exchange:
    """One request on one connection."""

    def __init__(self, link: Link, limits: HttpLimits) -> None:
        self._link = link
        self._limits = limits
        self._stream: Stream | None = None
        self._sending: asyncio.Task[None] | None = None
        self._wrong: HttpViolation | None = None
        self._reserved = True
        link.reserved += 1

    @property
    def tls(self) -> str:
        """The version of TLS that the connection speaks."""
        return self._link.tls

    async def ask(
        self, outgoing: Outgoing, request: Request, body: Replay, timeout_s: float
    ) -> Began | Failure:
        """Send a request and wait for the head of its response; its body may still be on its way.

        Raises HttpViolation for what the client did wrong.
        """
        self._release()
        self._must_switch(outgoing, request, body)
        if body.client.gone or self._link.room <= 0:
            return Failure(sent=False, reset=body.client.gone)
        wanted = fields.request_fields(
            outgoing.method, outgoing.target, outgoing.headers, scheme=self._link.scheme,
            upgrade=outgoing.upgrade,
        )  # fmt: skip
        stream = self._stream = self._link.open(wanted, ended=body.framing.empty)
        mine = body.client.servant is None
        if mine:
            body.client.servant = self
        try:
            async with asyncio.timeout(timeout_s or None):
                await self._link.session.sent()
                if not body.framing.empty:
                    self._sending = asyncio.get_running_loop().create_task(self._send(stream, body))
                head, ended = await stream.response()
            framing = fields.framing(head.headers, ended=ended or request.method == "HEAD")
            return Began(head, framing)
        except TimeoutError:
            self.abort()
            return Failure(timed_out=True)
        except HttpViolation:
            self.abort()
            return Failure(status=502)
        except StreamReset as error:
            self.abort()
            if self._wrong is not None:
                raise self._wrong from error
            return Failure(sent=not error.refused, reset=True)
        except PipeClosed:
            self.abort()
            return Failure(reset=True)
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            if mine:
                body.client.servant = None

    def _must_switch(self, outgoing: Outgoing, request: Request, body: Replay) -> None:
        """What wants to switch to a protocol is carried as that or not at all."""
        streams = not body.framing.empty
        if outgoing.upgrade:
            if not streams or not self._link.session.core.switches:
                raise HttpViolation(501, "the other side takes no upgrade over HTTP/2")
        elif streams and request.get("upgrade") is not None:
            raise HttpViolation(501, "the other side takes no upgrade to this protocol")

    async def _send(self, stream: Stream, body: Replay) -> None:
        try:
            reading = body.reading()
            while piece := await reading.read():
                await stream.send(piece)
            if body.trailers:
                await stream.headers(body.trailers, ended=True)
            else:
                await stream.send(b"", ended=True)
        except HttpViolation as error:
            self._wrong = error
            stream.abort()
        except (PipeClosed, TimeoutError):
            stream.abort()

    async def give(self, began: Began, answer: Answer, headers: Sequence[tuple[str, str]]) -> bool:
        """Pass the response on. Raises TimeoutError, StreamReset and PipeClosed."""
        stream = self._stream
        assert stream is not None, "it was asked"
        try:
            await answer.begin(began.head, headers, began.framing)
            while piece := await stream.read(self._limits.downstream_idle_s):
                await answer.send(piece)
            await answer.end(stream.trailers)
        except BaseException:
            self.abort()
            raise
        self.finish()
        return True

    def abort(self) -> None:
        """Nobody wants the response any more."""
        self._end(CANCEL)

    def finish(self) -> None:
        """The response is over; what was not sent of the request is not wanted."""
        self._end(NO_ERROR)

    def _end(self, code: int) -> None:
        self._release()
        sending, self._sending = self._sending, None
        stream, self._stream = self._stream, None
        unsent = sending is not None and not sending.done()
        if unsent and sending is not None:
            sending.cancel()
        if stream is None:
            return
        if not stream.gone and (code != NO_ERROR or unsent or not stream.done):
            stream.abort(code)
        stream.close()

    def _release(self) -> None:
        if self._reserved:
            self._reserved = False
            self._link.reserved -= 1


class Link:
    """A connection that we dialled."""

    def __init__(
        self, pipe: Pipe, limits: HttpLimits, now: Callable[[], float], scheme: str
    ) -> None:
        self.session = Session(pipe, Core(limits.http2, client=True), limits, now)
        self.scheme = scheme
        self.reserved = 0
        self._pipe = pipe

    @property
    def tls(self) -> str:
        """The version of TLS that it speaks, "" in clear."""
        return self._pipe.tls

    @property
    def room(self) -> int:
        """How many more requests it may carry."""
        if self.session.ended or self.session.leaving or not self._pipe.open:
            return 0
        return self.session.core.room - self.reserved

    def open(self, wanted: fields.Fields, *, ended: bool) -> Stream:
        """A new stream; only when there is room."""
        stream = Stream(self.session, self.session.core.ask(wanted, ended=ended))
        self.session.streams[stream.id] = stream
        return stream

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            await self.session.run()
        finally:
            self._pipe.finish()


class Links:
    """Connections by where they lead."""

    def __init__(
        self,
        config: ProxyConfig,
        limits: HttpLimits,
        *,
        now: Callable[[], float],
        spawn: Spawn,
        revoked: Callable[[], Revocations] = lambda: NONE,
        greetings: Greetings | None = None,
    ) -> None:
        self._dialler = Pool(config, limits, http2=True, revoked=revoked, greetings=greetings)
        self._limits = limits
        self._now = now
        self._spawn = spawn
        self._links: dict[Place, list[Link]] = {}
        self._dialling: dict[Place, asyncio.Lock] = {}

    def cut_revoked(self) -> int:
        """Reset connections to holders of certificates that count no more; gives how many."""
        return self._dialler.cut_revoked()

    def kept(self, to: Place, now: float) -> Exchange | None:
        """A connection that can carry one more request: the fullest, so that others can end."""
        links = self._links.get(to)
        if not links:
            return None
        for gone in [each for each in links if each.session.ended]:
            links.remove(gone)
        fitting = [each for each in links if each.room > 0]
        if not fitting:
            return None
        return Exchange(min(fitting, key=lambda link: link.room), self._limits)

    def keep(self, to: Place, pipe: object, now: float) -> None:
        """A request is over: its connection was never away."""

    def forget(self, to: Place | None = None) -> None:
        """Send no more requests over the connections to one place, or to all."""
        for key in list(self._links) if to is None else [to]:
            for link in self._links.pop(key, ()):
                link.session.leave()

    def forget_place(self, address: str, port: int) -> None:
        """A host is gone: no more requests go there."""
        for key in [key for key in self._links if (key.address, key.port) == (address, port)]:
            self.forget(key)

    def close(self) -> None:
        """End all connections at once."""
        for links in self._links.values():
            for link in links:
                for stream in list(link.session.streams.values()):
                    stream.abort()
        self.forget()

    async def dial(self, to: Place, contexts: Contexts | None, timeout_s: float) -> Exchange:
        """A request's place on some connection, a new one if need be. Raises OSError (PipeClosed
        for a wrong identity or too many connections) and TimeoutError."""
        async with asyncio.timeout(timeout_s), self._dialling.setdefault(to, asyncio.Lock()):
            found = self.kept(to, self._now())
            if found is not None:
                return found
            links = self._links.setdefault(to, [])
            if len(links) >= self._limits.http2_connections_max:
                raise PipeClosed("overflow: too many connections to one host")
            pipe = await self._dialler.dial(to, contexts, timeout_s)
            scheme = "https" if isinstance(to, Peer) or to.tls is not None else "http"
            link = Link(pipe, self._limits, self._now, scheme)
            self._spawn(link.run(), "proxy http2 link")
            try:
                await link.session.ready.wait()
            except asyncio.CancelledError:
                pipe.abort()
                raise
            if link.session.ended:
                raise PipeClosed("not_http2: the host ended the connection at once")
            self._links.setdefault(to, []).append(link)
            return Exchange(link, self._limits)

    def sweep(self, wanted: Callable[[Place], bool]) -> None:
        """Forget the places that are wanted no more."""
        for place in [each for each in self._links if not wanted(each)]:
            self.forget(place)
        with contextlib.suppress(KeyError):
            for place in [p for p, lock in self._dialling.items() if not lock.locked()]:
                if place not in self._links:
                    del self._dialling[place]
