"""The connections of the HTTP server: counted, bounded per client, with a short way for the usual.

aiohttp owns a connection and parses what is not plain. A request that lane.py recognises whole goes
to prompt.py instead, which answers it without parser, request object and task. While such an answer
is on its way the connection reads nothing further, so answers leave in the order of the questions.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from agent.config.bounds import Limits
from agent.http.lane import Heads, Lane, Seen
from agent.http.methods import unknown_method
from agent.http.prompt import PromptAnswers
from agent.http.reply import UNSENT_MAX_BYTES, Reply

log = logging.getLogger("lictor.agent.http")

#: Answers a method (the first) that no path has; None if it is no matter of methods.
OtherMethod = Callable[[str, str], Reply | None]

_TOO_MANY = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 63\r\nConnection: close\r\n\r\n"
    b"Your IP is issuing too many concurrent connections, please rate"
)


def address_of(peer: Any) -> str:
    """A socket's peer as "ip:port"; "" for one that has no address."""
    if not isinstance(peer, tuple) or len(peer) < 2:
        return ""
    host = f"[{peer[0]}]" if ":" in str(peer[0]) else peer[0]
    return f"{host}:{peer[1]}"


class Pace:
    """How fast what nobody wants is read, whoever sends it: a token bucket. ``burst`` bytes are
    read at once, so that a single client that sends too much still reads why."""

    __slots__ = ("_burst_s", "_free_at", "_per_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst_s = burst / per_s
        self._free_at = 0.0

    def after(self, size: int, now: float) -> float:
        """So many bytes were read: for how many seconds to read no more."""
        self._free_at = max(self._free_at, now - self._burst_s) + size / self._per_s
        return max(0.0, self._free_at - now)


class Connection(RequestHandler):
    """aiohttp's connection, quiet about what strangers send, with a lane beside it."""

    __slots__ = ("_address", "_answers", "_ended", "_give_up", "_head_timer", "_idle_max_s",
                 "_lane", "_later", "_left", "_limits", "_on_malformed", "_other_method", "_pace",
                 "_pending", "_slowed", "_stumbled_at")  # fmt: skip

    def __init__(
        self,
        manager: web.Server,
        heads: Heads,
        answers: PromptAnswers | None,
        on_malformed: Callable[[], None],
        other_method: OtherMethod,
        limits: Limits,
        pace: Pace,
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._answers = answers
        self._on_malformed = on_malformed
        self._other_method = other_method
        self._stumbled_at = b""
        self._lane = Lane(heads)
        self._pending: Seen | None = None
        self._address: str | None = None
        self._later: list[bytes] = []
        self._ended: asyncio.Future[None] | None = None
        self._give_up: Callable[[], None] | None = None
        self._limits = limits
        self._idle_max_s = limits.http_idle_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        #: The body of an answered request that was still coming.
        self._left: StreamReader | None = None
        self._pace = pace
        self._slowed = False

    @property
    def send_max_s(self) -> float:
        """A client that takes nothing for so long is dropped."""
        return self._limits.http_send_timeout_s

    @property
    def address(self) -> str:
        """The client as "ip:port"."""
        if self._address is None:
            self._address = address_of(self.peername)
        return self._address

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Malformed requests are answered with 400 and are no news."""
        log.debug("malformed request from=%s", self.peername)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp could not read as HTTP ends here, and the connection with it."""
        if isinstance(exc, BadHttpMethod) and (asked := unknown_method(self._stumbled_at)):
            reply = self._other_method(*asked)
            if reply is not None:
                reply.keep_alive = False  # where the next request begins nobody knows
                return cast(web.StreamResponse, reply)
        if status == 400:
            self._on_malformed()
        return super().handle_error(request, status, exc, message)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        transport = self.transport
        if self._answers is None or transport is None:
            self._feed(data)
            return
        if self._pending is not None:
            self._later.append(data)
            transport.pause_reading()
            return
        seen = self._lane.take(data)
        if seen is None or transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
            self._pass_on(data)
            return
        self._pending = seen
        self._next_keepalive_close_time = self._loop.time() + self._idle_max_s
        if not self._answers.begin(self, seen):
            self._pending = None
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        self._lane.passed_on(data)
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Bytes for aiohttp. If they end within a head, the rest of it has a deadline."""
        if self._left is not None:
            self._linger(self._left, len(data))
        super().data_received(data)
        if self._messages or self._current_request is not None:
            if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
                self._stumbled_at = data
            self._head_is_whole()
        elif self._head_timer is None and self.transport is not None:
            self._head_timer = self._loop.call_later(
                self._limits.http_head_timeout_s, self._head_is_late
            )

    def _linger(self, left: StreamReader, size: int) -> None:
        if left.is_eof():
            self._left = None
        elif size and not self._slowed and self.transport is not None:
            pause_s = self._pace.after(size, self._loop.time())
            if pause_s:
                self._slowed = True
                self.transport.pause_reading()
                self._loop.call_later(pause_s, self._read_on)

    def _read_on(self) -> None:
        self._slowed = False
        if not self._reading_paused:
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        # The reader of a body wants more as soon as it has had what came.
        if not self._slowed:
            super()._resume_transport_reading()

    def _head_is_whole(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._current_request is None and not self._messages:
            self._on_malformed()
            self.force_close()

    def hold(self, within_s: float, give_up: Callable[[], None]) -> None:
        """What is pending may wait so long; ``give_up`` is called when the client goes away."""
        self._give_up = give_up
        self._next_keepalive_close_time = self._loop.time() + within_s + self._idle_max_s

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client went away."""
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            self._pending = None
            give_up()
        self._head_is_whole()
        super().connection_lost(exc)

    def answer(self, data: bytes | None, *, instead: Seen | None = None) -> None:
        """Write the answer to what is pending; None leaves it to aiohttp after all, or leaves
        another request ``instead``."""
        seen, self._pending = self._pending, None
        if self._give_up is not None:
            self._give_up = None
            self._next_keepalive_close_time = self._loop.time() + self._idle_max_s
        assert seen is not None, "an answer has its question"
        seen = instead or seen
        transport = self.transport
        if transport is not None:
            if data is None:
                self._pass_on(seen.data)
            else:
                transport.write(data)
            if self._later:
                later, self._later = b"".join(self._later), []
                transport.resume_reading()
                self.data_received(later)
        if self._ended is not None and self._pending is None and not self._ended.done():
            self._ended.set_result(None)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp's own answer: the lane learns what the head meant, and may open again."""
        self._head_is_whole()
        self._lane.read(
            request.headers,
            request.content_length,
            keep_alive=request.keep_alive and resp.keep_alive is not False,
        )
        finished = await super().finish_response(request, resp, start_time)
        if not request.content.is_eof():
            self._left = request.content
        self._lane.answered()
        return finished

    def close(self) -> None:
        """No further requests."""
        self._answers = None
        super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Let what is pending end, then all the rest."""
        if self._pending is not None:
            self._ended = self._loop.create_future()
            await asyncio.wait([self._ended], timeout=timeout)
        self._answers = None
        await super().shutdown(timeout)


class Connections(web.Server):
    """The connections of one server."""

    def __init__(
        self,
        handle: Callable[[web.BaseRequest], Awaitable[Reply]],
        limits: Limits,
        answers: PromptAnswers | None,
        other_method: OtherMethod,
    ) -> None:
        super().__init__(cast(Any, handle), handler_cancellation=True)
        self._other_method = other_method
        #: Connections of one address; 0: any number. A reload may change it.
        self.limit = limits.http_max_conns_per_client
        self._max = limits.http_connections_max
        self._limits = limits
        self._answers = answers
        self._heads = Heads()
        self._pace = Pace(limits.http_refused_body_rate, limits.http_refused_body_burst)
        self._by_address: Counter[str] = Counter()
        self._counted: dict[RequestHandler, str] = {}
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": limits.http_idle_timeout_s,
            "lingering_time": limits.http_refused_body_timeout_s,
            "max_line_size": limits.http_header_max,
            "max_field_size": limits.http_header_max,
            "max_headers": limits.http_headers_max,
            "auto_decompress": False,
        }
        self.refused = 0
        #: Requests that were no HTTP; each ended its connection.
        self.malformed = 0

    def _count_malformed(self) -> None:
        self.malformed += 1

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._counted)

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            self._heads,
            self._answers,
            self._count_malformed,
            self._other_method,
            self._limits,
            self._pace,
            loop=self._loop,
            **self._options,
        )

    def may_open(self, address: str, waiting: int = 0) -> bool:
        """May this address have one more, beside so many that are not through yet?

        Who comes in on a socket of a path has no address, and no bound: its mode says who may.
        """
        if self._max and address and len(self._counted) >= self._max:
            return False
        return not (self.limit and address and self._by_address[address] + waiting >= self.limit)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection, or turn it away."""
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if not self.may_open(address):
            self.refused += 1
            log.warning("connection refused address=%s limit=%d", address, self.limit)
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._by_address[address] += 1
        self._counted[handler] = address

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        address = self._counted.pop(handler, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
