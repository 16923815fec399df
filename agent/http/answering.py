"""Calls a handler on behalf of whoever shows a token, and holds back what nobody may see."""

from __future__ import annotations

from agent.acl.caller import Denied
from agent.backend.acting import ACTING
from agent.http.call import Call
from agent.http.reply import Reply
from agent.http.routes import Endpoint, Route
from agent.http.tokens import admit, check_consulted


async def answered(route: Route, endpoint: Endpoint, call: Call) -> Reply:
    """What the handler gives, whole. Raises what ``admit`` and the handler do."""
    if call.access.enabled:
        reply = await _on_behalf(route, endpoint, call)
    else:
        reply = await endpoint.handler(call)
    if reply.parts is not None:
        await reply.assemble()
    return reply


async def _on_behalf(route: Route, endpoint: Endpoint, call: Call) -> Reply:
    """Call a handler for whoever shows a token. Raises what ``admit`` and the handler do."""
    acting = ACTING.set(call.secret or call.access.tokens.default)
    try:
        await admit(call, route, endpoint)
        reply = await endpoint.handler(call)
        check_consulted(call, endpoint, reply)
        return reply
    except Denied as denied:
        call.refusal = denied.reason
        raise
    finally:
        ACTING.reset(acting)
