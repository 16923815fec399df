"""Answers requests that another datacenter or a client agent has sent over a server's port."""

from __future__ import annotations

from collections.abc import Callable

from agent.acl.builtin import ANONYMOUS_SECRET
from agent.errors import RequestError
from agent.http.answering import answered
from agent.http.call import Call, Desk
from agent.http.elsewhere import RelayedHeaders, as_relayed, may_be_elsewhere, servers_know
from agent.http.gate import token_of
from agent.http.params import parse_query, refuse_enterprise
from agent.http.paths import BadTarget, read_target
from agent.http.reply import Reply
from agent.http.routes import Endpoint, Route, Router
from agent.wan.relayed import RelayedReply, RelayedRequest

#: Of a frame, what is not the body of an answer.
ROOM_BYTES = 64 * 1024


class RelayedAnswers:
    """The same routes and handlers as clients have; each request is answered here or refused."""

    def __init__(
        self,
        desk: Desk,
        router: Router,
        failure: Callable[[Exception, Route, str, tuple[str, ...]], Reply],
    ) -> None:
        """``failure`` is the server's table of errors."""
        self._desk = desk
        self._router = router
        self._failure = failure
        limits = desk.context.config.limits
        self._limits = limits
        self._bytes_max = limits.rpc_frame_max - ROOM_BYTES

    async def answer(self, request: RelayedRequest) -> RelayedReply:
        """Answer, whatever happens."""
        try:
            target = read_target(request.target, any_char=self._desk.context.config.http_any_char)
        except BadTarget:
            return RelayedReply(status=400, content_type="")
        found = None if target.redirect else self._router.find(target.path)
        endpoint = found[0].endpoint(request.method) if found else None
        if found is None or endpoint is None:
            return RelayedReply(status=404, content_type="")
        route, rest = found
        call: Call | None = None
        try:
            call = self._call(request, route, rest, target.query)
            self._check(request, route, endpoint)
            reply = await answered(route, endpoint, call)
            return await as_relayed(reply, bytes_max=self._bytes_max)
        except Exception as error:
            headers = call.failure_headers if call is not None else ()
            reply = self._failure(error, route, request.method, headers)
            return await as_relayed(reply, bytes_max=self._bytes_max)

    def _call(self, request: RelayedRequest, route: Route, rest: str, query: str) -> Call:
        params, asked = parse_query(query), RelayedHeaders(request.headers)
        refuse_enterprise(params, asked.headers)
        call = Call(self._desk, asked, request.method, route.path, rest, params)
        # Who shows no token is nobody here, not this agent: the sender has put its own in.
        call.secret = request.secret or token_of({}, params) or ANONYMOUS_SECRET
        call.relayed, call.body = True, request.body
        return call

    def _check(self, request: RelayedRequest, route: Route, endpoint: Endpoint) -> None:
        if not (may_be_elsewhere(route, endpoint) or servers_know(route)):
            raise RequestError(400, "This is not answered for another datacenter")
        limit = endpoint.body.limit(self._limits)
        if len(request.body) > limit:
            size = len(request.body)
            raise RequestError(
                413, f"Request body({size} bytes) too large, max size: {limit} bytes."
            )
