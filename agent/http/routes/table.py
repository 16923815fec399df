"""What a line of the table of the HTTP API says: path, methods, permission, body limit, handler.

Everything a request goes through before its handler is decided by its line: a route without a
permission or a body limit cannot be written. A path that ends in "/" takes everything below it.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from agent.config.bounds import Limits
from agent.errors import RequestError
from agent.http.call import Call, Change, Read
from agent.http.reply import Reply

Handler = Callable[[Call], Awaitable[Reply]]
#: Turns a request into the one thing it asks of the state, None if it is more than that. Raises
#: RequestError; changes nothing.
Plan = Callable[[Call], Read | Change | None]


class Body(enum.Enum):
    """Which limit a request body has; the value is the limit's name in ``Limits``.

    A body of STREAM is not read before the handler is called, but by it.
    """

    NONE = ""
    JSON = "http_body_max"
    KV = "kv_max_value_size"
    TXN = "txn_max_req_len"
    STREAM = "archive_max_size"

    def limit(self, limits: Limits) -> int:
        """The limit in bytes. A transaction may be as long as a value if that is more."""
        if self is Body.TXN:
            return max(limits.txn_max_req_len, limits.kv_max_value_size)
        return int(getattr(limits, self.value)) if self.value else 0


class Class(enum.Enum):
    """What a request touches: this agent alone, or the replicated state, reading or writing."""

    LOCAL_READ = "local read"
    LOCAL_WRITE = "local write"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of a route. ``permission`` is the rule a token will need ("" = none).

    With a ``plan`` the request is one read or one change and nothing else: it can then be carried
    out without a task (prompt.py).
    """

    method: str
    handler: Handler
    permission: str
    body: Body
    kind: Class
    plan: Plan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path with its methods, in the order in which `Allow` names them.

    ``own_options`` routes answer OPTIONS with `{}` and leave that word out of a 405's `Allow`.
    With a ``suffix`` the route takes, of what is below its path, only what ends so.
    """

    path: str
    endpoints: tuple[Endpoint, ...]
    own_options: bool = False
    suffix: str = ""

    @property
    def name(self) -> str:
        """The path with ":name" where a suffix follows: no two routes have the same."""
        return f"{self.path}:name{self.suffix}" if self.suffix else self.path

    @property
    def allow(self) -> str:
        """The value of `Allow`."""
        return ",".join(["OPTIONS", *(endpoint.method for endpoint in self.endpoints)])

    def endpoint(self, method: str) -> Endpoint | None:
        """What a method does here."""
        for endpoint in self.endpoints:
            if endpoint.method == method:
                return endpoint
        return None


def get(handler: Handler, permission: str, kind: Class = Class.READ) -> Endpoint:
    """A GET without a body."""
    return Endpoint(method="GET", handler=handler, permission=permission, body=Body.NONE, kind=kind)


def write(
    method: str,
    handler: Handler,
    permission: str,
    body: Body = Body.NONE,
    kind: Class = Class.WRITE,
) -> Endpoint:
    """Any other method."""
    return Endpoint(method=method, handler=handler, permission=permission, body=body, kind=kind)


def planned(
    method: str,
    plan: Plan,
    permission: str,
    body: Body = Body.NONE,
    *,
    longer: Handler | None = None,
) -> Endpoint:
    """An endpoint with a plan; ``longer`` answers what is more than one read or change."""

    async def handler(call: Call) -> Reply:
        planned = plan(call)
        if planned is None:
            assert longer is not None, "a plan without an alternative always plans"
            return await longer(call)
        return await call.carry_out(planned)

    handler.__doc__ = plan.__doc__
    kind = Class.READ if method == "GET" else Class.WRITE
    return Endpoint(
        method=method, handler=handler, permission=permission, body=body, kind=kind, plan=plan
    )


def with_mesh(endpoint: Endpoint) -> Endpoint:
    """The same, where the mesh is enabled: without it there is no authority to ask."""

    async def handler(call: Call) -> Reply:
        if not call.context.config.connect_enabled:
            raise RequestError(500, "Connect must be enabled in order to use this endpoint")
        return await endpoint.handler(call)

    assert endpoint.plan is None, "a plan would go past it"
    handler.__doc__ = endpoint.handler.__doc__
    return replace(endpoint, handler=handler)


def local_put(handler: Handler, permission: str, body: Body = Body.NONE) -> Endpoint:
    """A PUT that concerns this agent alone."""
    return write("PUT", handler, permission, body, Class.LOCAL_WRITE)


def route(path: str, *endpoints: Endpoint, own_options: bool = False, suffix: str = "") -> Route:
    """A path below `/v1` with its methods."""
    return Route(path=f"/v1{path}", endpoints=endpoints, own_options=own_options, suffix=suffix)


LOCAL = Class.LOCAL_READ
