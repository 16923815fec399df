"""Tells the audit log of each request: when it begins, and what became of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from agent.audit import events
from agent.http.call import Call
from agent.http.connections import address_of
from agent.http.reply import Reply

#: Where a request keeps what became of it, for the event at its end.
CALL = web.RequestKey("call", Call)


class HttpAudit:
    """Between the server and its routes."""

    __slots__ = ("_put",)

    def __init__(self, put: Callable[[bytes], None]) -> None:
        """``put`` takes an event and never waits."""
        self._put = put

    async def around(
        self, request: web.BaseRequest, answer: Callable[[], Awaitable[Reply]]
    ) -> Reply:
        """Answer a request between two events. Who asked is known at its end."""
        transport, headers = request.transport, request.headers
        asked = events.Request(
            id=str(uuid.uuid4()),
            operation=request.method,
            endpoint=request.raw_path,
            address=address_of(transport.get_extra_info("peername") if transport else None),
            user_agent=headers.get("User-Agent", ""),
            host=headers.get("Host", ""),
        )
        self._put(events.line(asked, now=time.time(), accessor=""))
        reply = await answer()
        accessor, reason = "", ""
        call = request.get(CALL)
        if call is not None:
            accessor = call.actor.accessor
            reason = call.refusal
        self._put(
            events.line(
                asked, now=time.time(), accessor=accessor, status=reply.status, reason=reason
            )
        )
        return reply
