"""What a route asks of whoever calls it, before its handler and after (http-api contract 1.4).

A route's permission is a word of this table. Those that speak of one thing are checked here; those
that speak of something named are met by what the handler asks the state for, or requires itself. A
handler that did neither is a defect, and its reply is not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from agent.acl.authorizer import VERBS, Authorizer
from agent.acl.builtin import ANONYMOUS_ID
from agent.acl.caller import DENIED, Caller, Need
from agent.acl.rules import NAMED, SCALARS
from agent.errors import AgentError
from agent.http.call import FAILED_READ, Call
from agent.http.reply import Reply

if TYPE_CHECKING:
    from agent.http.routes.table import Endpoint, Route

#: Nothing is needed, and no token is looked at.
OPEN = ""
#: A token that is known (or none), whatever it may do; answers are filtered.
ANY_TOKEN = "token"  # noqa: S105  # a word of the table
#: Resources of named things whose need the handler finds out.
_NAMED = frozenset({*NAMED, "intentions"} - {"agent"})
WORDS = frozenset(
    {
        OPEN,
        ANY_TOKEN,
        *(f"{name}:{verb}" for name in (*_NAMED, *SCALARS, "agent") for verb in VERBS),
    }
)
#: Whoever calls a route that looks at no token.
NOBODY = Caller(ANONYMOUS_ID, Authorizer((), default_allow=False))
_TEXTS: Mapping[str, tuple[int, str]] = {
    "keyring:read": (500, "Reading keyring denied by ACLs"),
    "keyring:write": (500, "Modifying keyring denied due to ACLs"),
}
_AUTOPILOT = "/v1/operator/autopilot/"


class Undeclared(AgentError):
    """A route has no permission, or one that means nothing."""


def check_routes(routes: Iterable[Route]) -> None:
    """Refuse a table with a route of which nobody has said who may call it. Raises Undeclared."""
    wrong = [
        f"{endpoint.method} {route.path}: {endpoint.permission!r}"
        for route in routes
        for endpoint in route.endpoints
        if endpoint.permission not in WORDS
    ]
    if wrong:
        raise Undeclared(f"routes without a permission: {', '.join(wrong)}")


def route_need(route: Route, endpoint: Endpoint, node: str) -> Need | None:
    """What is checked before the handler; None where the handler finds it out."""
    resource, _, verb = endpoint.permission.partition(":")
    if resource not in SCALARS and resource != "agent":
        return None
    status, text = _TEXTS.get(endpoint.permission, (403, DENIED))
    if route.path.startswith(_AUTOPILOT):
        text = f"{DENIED}: Missing {endpoint.permission} permissions"
    name = node if resource == "agent" else ""
    return Need(resource, VERBS[verb], name, text=text, status=status)


async def admit(call: Call, route: Route, endpoint: Endpoint) -> None:
    """Find out who calls, and check what the route asks for. Raises RequestError."""
    if endpoint.permission == OPEN:
        call.caller = NOBODY
        return
    if endpoint.permission == "acl:read":
        call.failure_headers = FAILED_READ
    call.caller = await call.access.caller(call.secret)
    need = route_need(route, endpoint, call.context.config.node_name)
    if need is not None:
        call.require(need)
    call.failure_headers = ()


def check_consulted(call: Call, endpoint: Endpoint, reply: Reply) -> None:
    """Hold back what was answered without anybody having looked at permissions."""
    if call.consulted or reply.status >= 300 or endpoint.permission in {OPEN, ANY_TOKEN}:
        return
    raise AssertionError(f"{endpoint.method} {call.rest!r} was answered without a permission")
