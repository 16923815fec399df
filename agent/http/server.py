"""The HTTP server: connections, conventions of the contract, and the one table of errors.

A handler sees a request only after the path was read, the method and the body limit were checked
and the query was decoded; what it raises becomes a status here and nowhere else. aiohttp parses
requests and owns connections; routing and replies are ours, since its own cost more than a hot
read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from agent.acl.access import Access
from agent.acl.caller import Denied
from agent.backend.rpc.listener import REASONS
from agent.config.schema import AclConfig, AgentConfig
from agent.errors import AgentError, ConfigError, ForwardError, NoClusterLeader, RequestError
from agent.http import web_ui
from agent.http.answering import answered
from agent.http.auditing import CALL, HttpAudit
from agent.http.call import Asked, Call, Desk
from agent.http.connections import Connections, address_of
from agent.http.context import HttpContext
from agent.http.elsewhere import answer_of_another
from agent.http.faces import HttpFaces
from agent.http.gate import Gate, token_of
from agent.http.params import parse_query, refuse_enterprise
from agent.http.paths import BadTarget, read_target
from agent.http.prompt import PromptAnswers
from agent.http.ready import ReadyAnswers
from agent.http.relay import RelayedAnswers
from agent.http.reply import (
    API_HEADERS,
    COMPRESS_INLINE_MAX_BYTES,
    DEFAULT_INTENTIONS,
    GZIP_MIN_BYTES,
    TEXT_TYPE,
    Reply,
    gzipped,
    header,
)
from agent.http.routes import ROUTES, Body, Endpoint, Route, Router
from agent.http.tokens import check_routes
from agent.http.waiting import Waiting
from raftstore.errors import (
    LeadershipLost,
    NoLeader,
    NotInHistory,
    NotLeader,
    QueueFull,
    StoreError,
)

#: Methods whose failure leaves nothing open.
_READS = frozenset({"GET", "HEAD", "OPTIONS"})

log = logging.getLogger("lictor.agent.http")

#: Requests under way at the stop get this many seconds.
STOP_MAX_S = 2.0

#: What has no end, or is a file, cannot be part of another answer.
NEVER_INNER = frozenset(
    {"/v1/watch", "/v1/snapshot", "/v1/agent/monitor", "/v1/agent/metrics/stream"}
)


@dataclass(slots=True)
class HttpStats:
    """What this server has done so far."""

    requests: int = 0
    responses_by_class: Mapping[str, int] | None = None
    malformed: int = 0
    #: Over the limit of their endpoint.
    bodies_refused: int = 0
    internal_errors: int = 0
    connections_open: int = 0
    connections_refused: int = 0
    tls_refused: Mapping[str, int] | None = None
    blocking_queries_held: int = 0
    blocking_queries_refused: int = 0
    ready_answers_hits: int = 0
    ready_answers_misses: int = 0
    prompt_answers: int = 0


class HttpServer:
    """Serves the HTTP API on every client address."""

    def __init__(self, context: HttpContext) -> None:
        config = context.config
        self._context = context
        self._waiting = Waiting(config.limits.blocking_queries_max)
        self._ready = ReadyAnswers(config.limits.http_kept_replies_max_size)
        check_routes(ROUTES)
        access = context.access or Access(AclConfig(), context.backend)
        headers = (
            *API_HEADERS[config.acl.default_allow],
            *DEFAULT_INTENTIONS[config.acl.intention_policy],
            *config.http_rules.lines(),
        )
        self._desk = Desk(context, self._waiting, self._ready, self._inner, access, headers)
        self._router = Router(ROUTES)
        self._gate = Gate(context.quotas, config.http_rules, context.entry_quotas)
        self._audit = HttpAudit(context.audit) if context.audit is not None else None
        self._prompt: PromptAnswers | None = None
        changes = context.prompt_changes or context.prompt
        # Each request is told to the audit log, and there is one place for that.
        if changes is not None and self._audit is None:
            self._prompt = PromptAnswers(
                self._desk,
                self._router,
                self._gate,
                context.prompt,
                context.prompt_questions,
                changes,
                self._prompt_reply,
                self._failure,
            )
        self.relayed = RelayedAnswers(self._desk, self._router, self._failure)
        self._runner: web.ServerRunner | None = None
        self._connections: Connections | None = None
        self.faces: HttpFaces | None = None
        self._requests = 0
        self._malformed = 0
        self._internal_errors = 0
        self._bodies_refused = 0
        self._responses: Counter[str] = Counter()

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen everywhere. Raises OSError that names address and port, ConfigError."""
        config = self._context.config
        connections = Connections(self.handle, config.limits, self._prompt, self._unknown_method)
        runner = web.ServerRunner(connections, shutdown_timeout=STOP_MAX_S)
        await runner.setup()
        self._connections, self._runner = connections, runner
        self.faces = HttpFaces(
            runner, connections, connections.may_open, self._desk.context.sockets
        )
        try:
            await self.faces.open(config, tls_port=config.port_https)
        except (OSError, ConfigError):
            await self.stop()
            raise

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where this server speaks plain HTTP."""
        return self.faces.addresses if self.faces is not None and self._runner is not None else ()

    async def stop(self) -> None:
        """Stop listening, answer what is held, and let what is under way end."""
        if self._runner is None:
            return
        if self.faces is not None:
            await self.faces.close()
        self._waiting.stop()
        await self._runner.cleanup()
        self._runner = None

    def prepare(self, config: AgentConfig) -> Callable[[], None]:
        """Read certificates and bounds anew; what is given back puts them in force.

        Raises ConfigError.
        """
        secure = self.faces.tls if self.faces is not None else None
        certificates = secure.prepare(config.https) if secure is not None else None

        def put_in_force() -> None:
            if certificates is not None:
                certificates()
            if self._connections is not None:
                self._connections.limit = config.limits.http_max_conns_per_client

        return put_in_force

    def state_replaced(self) -> None:
        """Let go of the replies that were made of a state that is no more."""
        self._ready.drop()
        if self._prompt is not None:
            self._prompt.kept.drop()

    def stats(self) -> HttpStats:
        """Counters up to now."""
        connections, prompt = self._connections, self._prompt
        return HttpStats(
            requests=self._requests,
            responses_by_class=dict(self._responses),
            malformed=self._malformed + (connections.malformed if connections else 0),
            bodies_refused=self._bodies_refused,
            internal_errors=self._internal_errors,
            connections_open=connections.open if connections else 0,
            connections_refused=connections.refused if connections else 0,
            tls_refused=self.faces.door.counts
            if self.faces
            else Counter(dict.fromkeys(REASONS, 0)),
            blocking_queries_held=len(self._waiting),
            blocking_queries_refused=self._waiting.refused,
            ready_answers_hits=self._ready.hits + (prompt.hits if prompt else 0),
            ready_answers_misses=self._ready.misses,
            prompt_answers=prompt.answered if prompt else 0,
        )

    # -- one request ------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> Reply:
        """Answer one request, whatever happens."""
        self._requests += 1
        try:
            target = read_target(request.raw_path, any_char=self._context.config.http_any_char)
        except BadTarget:
            self._malformed += 1
            return self._outside_reply(Reply(status=400))
        if target.redirect:
            return self._outside_reply(_redirect(request.method, target.redirect))
        found = self._router.find(target.path)
        if found is None:
            return self._outside_reply(await self._outside(request.method, target.path))
        route, rest = found
        if self._audit is None:
            reply = await self._routed(request, route, rest, target.query)
        else:
            reply = await self._audit.around(
                request, lambda: self._routed(request, route, rest, target.query)
            )
        reply.headers += self._desk.api_headers
        if len(reply.body) >= GZIP_MIN_BYTES:
            await _compress(request, reply)
        return self._count(reply)

    def _unknown_method(self, method: str, raw: str) -> Reply | None:
        """The answer to a method that the parser does not know; None where there is no path."""
        self._requests += 1
        try:
            target = read_target(raw, any_char=self._context.config.http_any_char)
        except BadTarget:
            return None
        if target.redirect:
            return self._outside_reply(_redirect(method, target.redirect))
        found = self._router.find(target.path)
        if found is None:
            return self._outside_reply(Reply(status=404))
        reply = _other_method(found[0], method)
        reply.headers += self._desk.api_headers
        return self._count(reply)

    def _prompt_reply(self, status: int) -> None:
        self._requests += 1
        self._responses[f"{status // 100}xx"] += 1

    def _outside_reply(self, reply: Reply) -> Reply:
        """What is no answer of the API has the operator's headers all the same."""
        reply.headers += self._context.config.http_rules.lines()
        return self._count(reply)

    def _count(self, reply: Reply) -> Reply:
        self._responses[f"{reply.status // 100}xx"] += 1
        return reply

    async def _outside(self, method: str, path: str) -> Reply:
        """Paths that are not in the table."""
        if method not in {"GET", "HEAD"}:
            return Reply(status=404)
        ui = self._context.config.ui
        if path == "/":
            if ui.on and ui.path != "/":
                return _redirect(method, ui.path)
            if not ui.on:
                return Reply(b"Consul Agent", TEXT_TYPE)
        rest = web_ui.found_at(ui, path)
        return Reply(status=404) if rest is None else await web_ui.answer(ui, rest)

    async def _routed(self, request: web.BaseRequest, route: Route, rest: str, query: str) -> Reply:
        method = request.method
        endpoint = route.endpoint(method)
        if endpoint is None:
            return _other_method(route, method)
        call: Call | None = None
        try:
            call = self._call(request, method, route, rest, query)
            call.address = _peer(request)
            if self._audit is not None:
                request[CALL] = call
            refused = self._refusal(call, route, endpoint)
            if refused is not None:
                return refused
            if endpoint.body is Body.STREAM:
                call.stream = self._stream_body(request)
            elif request.body_exists:
                await self._read_body(request, call, endpoint)
            there = await answer_of_another(call, route, endpoint, request.raw_path)
            return there or await answered(route, endpoint, call)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            headers = call.failure_headers if call is not None else ()
            if call is not None and isinstance(error, Denied):
                call.refusal = error.reason
            return self._failure(error, route, method, headers)

    def _call(self, request: Asked, method: str, route: Route, rest: str, query: str) -> Call:
        params = parse_query(query)
        refuse_enterprise(params, request.headers)
        call = Call(self._desk, request, method, route.path, rest, params)
        call.secret = token_of(request.headers, params)
        return call

    def _refusal(self, call: Call, route: Route, endpoint: Endpoint) -> Reply | None:
        if self._gate.open:
            return None
        return self._gate.refusal(route, endpoint, call, call.address)

    async def _inner(self, outer: Call, text: str) -> Reply:
        """A read that is part of another request, with that one's headers."""
        try:
            target = read_target(text)
        except BadTarget:
            return Reply(b"This is no path", TEXT_TYPE, 400)
        found = None if target.redirect else self._router.find(target.path)
        endpoint = found[0].endpoint("GET") if found else None
        if found is None or endpoint is None or found[0].path in NEVER_INNER:
            return Reply(b"There is no such read", TEXT_TYPE, 400)
        route, rest = found
        call: Call | None = None
        try:
            call = self._call(outer.request, "GET", route, rest, target.query)
            call.address = outer.address
            call.secret = call.secret or outer.secret
            refused = self._refusal(call, route, endpoint)
            if refused is not None:
                return refused
            there = await answer_of_another(call, route, endpoint, text)
            return there or await answered(route, endpoint, call)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            headers = call.failure_headers if call is not None else ()
            return self._failure(error, route, "GET", headers)

    async def _read_body(self, request: web.BaseRequest, call: Call, endpoint: Endpoint) -> None:
        """Read the body up to the endpoint's limit. Raises RequestError 413 or 400."""
        limit = endpoint.body.limit(self._context.config.limits)
        if not limit:
            return  # whatever was sent is not for this endpoint
        declared = request.content_length
        if declared is not None and declared > limit:
            raise _too_large(declared, limit, endpoint)
        if "Expect" in request.headers and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._context.config.limits.http_body_timeout_s):
                while chunk := await request.content.readany():
                    size += len(chunk)
                    if size > limit:
                        raise _too_large(size, limit, endpoint)
                    chunks.append(chunk)
        except TimeoutError:
            raise RequestError(408, "The request body did not arrive in time") from None
        except web.RequestPayloadError as error:
            self._malformed += 1
            raise RequestError(400, f"Broken request body: {error}") from None
        call.body = b"".join(chunks)

    async def _stream_body(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The body as it comes, for a handler that bounds it. Raises RequestError 408 or 400."""
        if not request.body_exists:
            return
        if "Expect" in request.headers and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while True:
            try:
                async with asyncio.timeout(self._context.config.limits.http_body_timeout_s):
                    chunk = await request.content.readany()
            except TimeoutError:
                raise RequestError(408, "The request body did not arrive in time") from None
            except web.RequestPayloadError as error:
                self._malformed += 1
                raise RequestError(400, f"Broken request body: {error}") from None
            if not chunk:
                return
            yield chunk

    # -- errors -----------------------------------------------------------------------------------

    def _failure(
        self, error: Exception, route: Route, method: str, headers: tuple[str, ...]
    ) -> Reply:
        status, words = self._explain(error)
        if isinstance(error, Denied):
            headers += (header("X-Lictor-Acl-Reason", error.reason),)
        if status >= 500 and not isinstance(error, RequestError | AgentError | StoreError):
            self._internal_errors += 1
            log.error("request failed method=%s route=%s", method, route.path, exc_info=error)
        elif status >= 500:
            log.debug("request refused method=%s route=%s reason=%s", method, route.path, words)
        if method not in _READS and isinstance(error, ForwardError | StoreError):
            headers = (*headers, f"X-Lictor-Applied: {'no' if error.definite else 'maybe'}")
        if status == 413:
            self._bodies_refused += 1
        if status == 429:
            headers = (*headers, "Retry-After: 1")
        return Reply(words.encode("utf-8", "replace"), TEXT_TYPE if words else "", status, headers)

    def _explain(self, error: Exception) -> tuple[int, str]:
        """The table of errors: what went wrong -> status and text (http-api contract 1.3)."""
        match error:
            case RequestError():
                return error.status, error.text
            case NoClusterLeader() | NoLeader() | NotLeader():
                return 500, "No cluster leader"
            case NotInHistory():
                return 410, str(error)
            case QueueFull():
                return 429, "rate limit exceeded, try again later or against a different server"
            case LeadershipLost():
                return 500, "leadership lost while committing log"
            case StoreError():
                return 500, f"raft apply failed: {error or type(error).__name__}"
            case ForwardError():
                return 500, str(error)
            case AgentError():
                return 500, str(error)
            case TimeoutError():
                return 500, "timed out"
            case _:
                return 500, "Internal error; see the agent's log"


def _peer(request: web.BaseRequest) -> str:
    """Where a request comes from; "" for a connection that is gone, or without an address."""
    transport = request.transport
    peer = None if transport is None else transport.get_extra_info("peername")
    return address_of(peer)


def _other_method(route: Route, method: str) -> Reply:
    """OPTIONS, or a method that the route does not have."""
    if method == "OPTIONS":
        allow = (header("Allow", route.allow),)
        if route.own_options:
            return Reply(b"{}", "application/json", 200, allow)
        return Reply(headers=allow)
    allowed = route.allow.removeprefix("OPTIONS,") if route.own_options else route.allow
    words = f"method {method} not allowed".encode()
    return Reply(words, TEXT_TYPE, 405, (header("Allow", allowed),))


def _redirect(method: str, location: str) -> Reply:
    shown = location.replace("&", "&amp;").replace('"', "&#34;")
    body = f'<a href="{shown}">Moved Permanently</a>.\n\n'.encode()
    headers = (header("Location", location),)
    if method not in {"GET", "HEAD"}:
        return Reply(status=301, headers=headers)
    return Reply(body, "text/html; charset=utf-8", 301, headers)


def _too_large(size: int, limit: int, endpoint: Endpoint) -> RequestError:
    text = f"Request body({size} bytes) too large, max size: {limit} bytes."
    if endpoint.body in {Body.KV, Body.TXN}:
        # The text is the reference's; clients and their tests compare it.
        text += f" See https://www.consul.io/docs/agent/options.html#{endpoint.body.value}."
    return RequestError(413, text)


async def _compress(request: web.BaseRequest, reply: Reply) -> None:
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return
    if reply.length > COMPRESS_INLINE_MAX_BYTES:
        reply.body = await asyncio.to_thread(gzipped, reply.body, *reply.more)
        reply.more = []
    else:
        reply.body = gzipped(reply.body)
    reply.headers += ("Content-Encoding: gzip",)
