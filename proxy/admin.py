"""The listener of a proxy for people and for Prometheus: metrics, explain, a look at requests.

On loopback only; reads, never changes. Served by the proxy's own HTTP (contract D.14).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl

from proxy.config import ProxyConfig
from proxy.http1.body import Framing
from proxy.http1.head import Request, Response
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import Answer, Body
from proxy.l7.pipe import Pipe
from proxy.l7.serve import Handler, serve
from proxy.relay import PlainStream
from proxy.siblings import Siblings
from proxy.telemetry import merged, tap
from proxy.telemetry.observer import TAPS_MAX, Observer, Tap
from proxy.workers import Place, socket_of

log = logging.getLogger("lictor.proxy.admin")

PORT = 19_100
CONNECTIONS_MAX = 32
_COUNT_MAX, _SECONDS_MAX = 100_000, 3600.0
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Admin:
    """One listener; ``port`` is 0 while it is not open."""

    def __init__(
        self,
        observer: Observer,
        *,
        config: ProxyConfig,
        spawn: Spawn,
        explain: Callable[[], dict[str, Any]],
        metrics: Callable[[], str],
        place: Place | None = None,
    ) -> None:
        """``place`` is which of several workers we are: then the figures told are those of all."""
        self._observer = observer
        self._config = config
        self._spawn = spawn
        self._explain = explain
        self._metrics = metrics
        self._limits = HttpLimits()
        self._server: asyncio.AbstractServer | None = None
        self._pipes: set[Pipe] = set()
        self._place = place
        self._siblings = Siblings(place, config.workers) if place is not None else None
        self._own: asyncio.AbstractServer | None = None
        self.port = 0

    async def open(self, host: str = "127.0.0.1", port: int = PORT) -> None:
        """Listen; on any port when the usual one is taken (another proxy of this host has it)."""
        loop = asyncio.get_running_loop()
        if self._place is not None:
            await self._open_shared(self._place, loop)
            return
        try:
            self._server = await loop.create_server(self._accept, host, port)
        except OSError as error:
            log.info("admin port is taken, using another port=%d error=%s", port, error)
            try:
                self._server = await loop.create_server(self._accept, host, 0)
            except OSError as again:
                log.warning("no admin listener error=%s", again)
                return
        self.port = int(self._server.sockets[0].getsockname()[1])
        log.info("admin listener on=%s:%d", host, self.port)

    async def _open_shared(self, place: Place, loop: asyncio.AbstractEventLoop) -> None:
        """Listen at the port of all workers, and where the others ask for our own part."""
        own = socket_of(place.folder, place.index)
        own.unlink(missing_ok=True)  # of a worker before us; one system call
        self._own = await loop.create_unix_server(self._accept_own, str(own))
        if place.admin < 0:
            return
        with socket.socket(fileno=os.dup(place.admin)) as held:
            host, port = held.getsockname()[:2]
        self._server = await loop.create_server(self._accept, host, port, reuse_port=True)
        self.port = port

    def close(self) -> None:
        """Listen no more."""
        for each in (self._server, self._own):
            if each is not None:
                each.close()
        for pipe in list(self._pipes):
            pipe.abort()

    def _accept(self) -> asyncio.Protocol:
        return self._begin(self._handle)

    def _accept_own(self) -> asyncio.Protocol:
        return self._begin(functools.partial(self._handle, own=True))

    def _begin(self, handle: Handler) -> asyncio.Protocol:
        pipe = Pipe(self._limits)
        stream = PlainStream(pipe, self._config)
        self._spawn(self._serve(pipe, handle), "proxy admin")
        return stream

    async def _serve(self, pipe: Pipe, handle: Handler) -> None:
        await pipe.opened.wait()
        pipe.begin()
        if len(self._pipes) >= CONNECTIONS_MAX:
            pipe.abort()
            return
        self._pipes.add(pipe)
        try:
            await serve(pipe, handle, self._limits, on_violation=lambda _: None)
        finally:
            self._pipes.discard(pipe)

    async def _handle(
        self, request: Request, body: Body, answer: Answer, *, own: bool = False
    ) -> None:
        """``own``: of this worker alone."""
        path, _, query = request.target.partition("?")
        # A page of somebody's browser may reach loopback by a name of its own: only by address.
        host = (request.get("host") or "").rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost", "[::1]"):
            await answer.whole(403, "only by address")
            return
        if request.method not in ("GET", "HEAD"):
            await answer.whole(405, "only GET")
            return
        others: list[str] = []
        if self._siblings is not None and not own and path in ("/metrics", "/explain", "/edges"):
            others = await self._siblings.ask(path)
        match path:
            case "/metrics":
                await answer.whole(200, merged.metrics([self._metrics(), *others]))
            case "/explain":
                told = merged.explain([self._explain(), *map(json.loads, others)])
                await answer.whole(200, json.dumps(told, default=str, indent=1))
            case "/edges":
                rows = merged.edges([self._observer.metrics.edges(), *map(json.loads, others)])
                await answer.whole(200, json.dumps(rows))
            case "/ready":
                await answer.whole(200, "ready")
            case "/tap":
                await self._tap(dict(parse_qsl(query)), answer)
            case _:
                await answer.whole(404, "/metrics /explain /edges /ready /tap?count=&seconds=")

    async def _tap(self, query: dict[str, str], answer: Answer) -> None:
        if len(self._observer.taps) >= TAPS_MAX:
            await answer.whole(429, "too many look on")
            return
        left = min(_number(query.get("count"), _COUNT_MAX), _COUNT_MAX)
        seconds = min(float(_number(query.get("seconds"), 60)), _SECONDS_MAX)
        looking = Tap()
        self._observer.taps.add(looking)
        try:
            head = Response(200, "OK", 1, ())
            await answer.begin(
                head, [("Content-Type", "application/x-ndjson")], Framing(chunked=True)
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while left > 0:
                        left -= await self._pass(looking, left, answer)
            await answer.end()
        finally:
            self._observer.taps.discard(looking)

    async def _pass(self, looking: Tap, most: int, answer: Answer) -> int:
        """Pass on what is there, at least one; how many."""
        while not looking.entries:
            looking.news.clear()
            await looking.news.wait()
        lines: list[str] = []
        while looking.entries and len(lines) < min(most, 100):
            lines.append(tap.line(looking.entries.popleft()))
        if looking.missed:
            lines.append(json.dumps({"missed": looking.missed}))
            looking.missed = 0
        await answer.send(("\n".join(lines) + "\n").encode())
        return len(lines)


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else default
