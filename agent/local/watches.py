"""Carries out the watches of the configuration: asks this agent's own HTTP API, runs handlers.

A watch sees what everybody sees who asks the agent, with the rights of its own token. Its handler
runs once at a time: what changes meanwhile is news afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import yarl

from agent.local.checks.output import Tail
from agent.local.programs import Programs
from agent.tasks import TaskOwner
from agent.watches.plan import HttpHandler, ScriptHandler, Watch
from agent.watches.progress import News, Progress
from agent.watches.shapes import encoded
from raftstore.records import Json

log = logging.getLogger("lictor.agent.watch")

#: Bytes of a handler's output that are logged (Consul's).
OUTPUT_MAX = 4096
#: Longer than the agent holds a request by itself.
ANSWER_MAX_S = 660.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024
#: JSON of more bytes is read and written in a thread.
THREAD_BYTES = 64 * 1024
#: The shortest time between two requests of one watch: a bound on answers that never block.
PAUSE_MIN_S = 0.05
#: The first requests of many watches are spread over so many seconds.
SPREAD_S = 0.5


class _FailedError(Exception):
    """A request or a handler failed; the message says how."""


@dataclass(slots=True)
class WatchStats:
    """Counters since start, and how many there are now."""

    watches_current: int = 0
    asked: int = 0
    failed: int = 0
    handled: int = 0
    handlers_failed: int = 0


@dataclass(slots=True)
class _Told:
    """What is known of one watch, for those who ask why a handler did (not) run."""

    watch: Watch
    index: int = 0
    handled_at: float = 0.0
    handled: int = 0
    outcome: str = ""
    error: str = ""


class Watches:
    """All watches of this agent. ``configure`` may be called again at any time."""

    def __init__(self, api: str, *, rng: random.Random) -> None:
        """``api`` is where the own HTTP API is: a URL, "unix:///path", or "" where it is off."""
        self._socket_path = api.removeprefix("unix://") if api.startswith("unix://") else ""
        self._url = yarl.URL("http://localhost" if self._socket_path else api)
        self._rng = rng
        self._owner = TaskOwner()
        self._programs = Programs()
        self._running: list[tuple[_Told, asyncio.Task[None]]] = []
        self._to_agent: aiohttp.ClientSession | None = None
        self._to_others: aiohttp.ClientSession | None = None
        self._stats = WatchStats()

    def configure(self, watches: Sequence[Watch]) -> None:
        """These are the watches now. One that was there before goes on where it was."""
        wanted = list(watches)
        kept = []
        for told, task in self._running:
            if told.watch in wanted and not task.done():
                wanted.remove(told.watch)
                kept.append((told, task))
            else:
                task.cancel()
        for watch in wanted:
            told = _Told(watch)
            name = f"watch {watch.plan.kind}"
            kept.append((told, self._owner.spawn(self._follow(told), name=name)))
        self._running = kept

    async def close(self) -> None:
        """End all watches and their handlers."""
        await self._owner.close()
        await self._programs.close()
        for session in (self._to_agent, self._to_others):
            if session is not None:
                await session.close()

    def stats(self) -> WatchStats:
        """Counters up to now."""
        self._stats.watches_current = len(self._running)
        return self._stats

    def explain(self) -> Json:
        """Each watch: what it asks, how far it has come, what became of its handler."""
        return [
            {
                "Type": told.watch.plan.kind,
                "Asks": told.watch.plan.path,
                "Index": told.index,
                "Handler": _named(told.watch.handler),
                "Handled": told.handled,
                "LastHandledAt": _date(told.handled_at),
                "LastOutcome": told.outcome,
                "LastError": told.error,
            }
            for told, _ in self._running
        ]

    # ---- one watch ----

    async def _follow(self, told: _Told) -> None:
        progress = Progress(told.watch.plan)
        await asyncio.sleep(self._rng.random() * SPREAD_S)
        while True:
            try:
                news = await self._ask(told, progress)
            except _FailedError as error:
                self._stats.failed += 1
                told.error = str(error)
                pause_s = progress.failed()
                log.error(
                    "watch failed type=%s error=%s retry=%.0fs",
                    told.watch.plan.kind,
                    error,
                    pause_s,
                )
                await asyncio.sleep(pause_s)
                continue
            told.error = ""
            if news is not None:
                await self._handle(told, news)
            await asyncio.sleep(PAUSE_MIN_S)

    async def _ask(self, told: _Told, progress: Progress) -> News | None:
        """The next answer's news. Raises _FailedError."""
        plan = told.watch.plan
        self._stats.asked += 1
        status, index, body = await self._request(plan.path, progress.query, plan.token)
        if status == 404 and plan.may_be_absent:
            body = b"null"
        elif status != 200:
            text = body[:OUTPUT_MAX].decode("utf-8", "replace")
            raise _FailedError(f"Unexpected response code: {status} ({text})")
        told.index = index
        if len(body) <= THREAD_BYTES:
            return progress.answered(_read(body), index=index)
        # The loop does not wait for long work.
        return await asyncio.to_thread(lambda: progress.answered(_read(body), index=index))

    async def _request(
        self, path: str, query: Sequence[tuple[str, str]], token: str
    ) -> tuple[int, int, bytes]:
        """Status, index and body. Raises _FailedError."""
        if not self._url.host:
            raise _FailedError(
                "the agent's HTTP API is off (ports.http), so there is nobody to ask"
            )
        url = self._url.with_path(path).with_query(list(query))
        headers = {"X-Consul-Token": token} if token else {}
        try:
            async with self._own().get(url, headers=headers) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise _FailedError(f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
                index = response.headers.get("X-Consul-Index", "")
                return response.status, int(index) if index.isdecimal() else 0, bytes(body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _FailedError(str(error) or type(error).__name__) from None

    def _own(self) -> aiohttp.ClientSession:
        """Connections to this agent."""
        if self._to_agent is None:
            path = self._socket_path
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(path, limit=0) if path else aiohttp.TCPConnector(limit=0)
            )
            self._to_agent = _session(connector)
        return self._to_agent

    def _others(self) -> aiohttp.ClientSession:
        """Connections to HTTP handlers."""
        if self._to_others is None:
            self._to_others = _session(aiohttp.TCPConnector(limit=0))
        return self._to_others

    # ---- handlers ----

    async def _handle(self, told: _Told, news: News) -> None:
        handler = told.watch.handler
        body = await asyncio.to_thread(_written, news.data)
        try:
            if isinstance(handler, ScriptHandler):
                told.outcome = await _run(handler, news, body, self._programs)
            else:
                told.outcome = await self._post(handler, news, body)
        except _FailedError as error:
            self._stats.handlers_failed += 1
            told.outcome = str(error)
            log.error("watch handler failed watch=%s error=%s", _named(handler), error)
        else:
            log.debug("watch handler done watch=%s output=%s", _named(handler), told.outcome)
        self._stats.handled += 1
        told.handled += 1
        told.handled_at = time.time()

    async def _post(self, handler: HttpHandler, news: News, body: bytes) -> str:
        """Tell by HTTP. Raises _FailedError."""
        headers = [("Content-Type", "application/json"), ("X-Consul-Index", str(news.index))]
        headers += [(name, value) for name, values in handler.header.items() for value in values]
        output = Tail(OUTPUT_MAX)
        try:
            async with (
                asyncio.timeout(handler.timeout_s),
                self._others().request(
                    handler.method,
                    yarl.URL(handler.path),
                    data=body,
                    headers=headers,
                    ssl=not handler.tls_skip_verify,
                ) as response,
            ):
                async for chunk in response.content.iter_any():
                    output.write(chunk)
                status = response.status
        except TimeoutError:
            raise _FailedError(f"no answer within {handler.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _FailedError(str(error) or type(error).__name__) from None
        if not 200 <= status <= 299:
            raise _FailedError(f"status {status}: {output.text()}")
        return output.text()


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=ANSWER_MAX_S),
    )


async def _run(handler: ScriptHandler, news: News, body: bytes, programs: Programs) -> str:
    """Run the program with the news on its standard input. Raises _FailedError."""
    output = Tail(OUTPUT_MAX)
    as_of = {"CONSUL_HASH": news.hash} if news.hash else {"CONSUL_INDEX": str(news.index)}
    try:
        async with programs.run(
            *handler.args, with_input=True, env={**os.environ, **as_of}
        ) as process:
            async with asyncio.TaskGroup() as group:
                group.create_task(_feed(process, body))
                group.create_task(_read_all(process, output))
            code = await process.wait()
    except (OSError, ValueError) as error:
        raise _FailedError(str(error)) from None
    if code:
        ended = f"exit status {code}" if code > 0 else f"signal {-code}"
        raise _FailedError(f"{ended}: {output.noted()}")
    return output.noted()


async def _feed(process: asyncio.subprocess.Process, body: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read
        process.stdin.write(body)
        await process.stdin.drain()
    process.stdin.close()


async def _read_all(process: asyncio.subprocess.Process, output: Tail) -> None:
    assert process.stdout is not None
    while chunk := await process.stdout.read(THREAD_BYTES):
        output.write(chunk)


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise _FailedError(f"invalid JSON: {error}") from None


def _written(data: Any) -> bytes:
    return (encoded(data) + "\n").encode("utf-8", "surrogatepass")


def _named(handler: HttpHandler | ScriptHandler) -> str:
    """A handler in a text: without what may be secret, such as headers and arguments."""
    if isinstance(handler, HttpHandler):
        url = yarl.URL(handler.path)
        return f"{handler.method} {url.with_user(None).with_query(None)}"
    return handler.args[0]


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) if at else ""
