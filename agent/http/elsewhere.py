"""Requests that are for another datacenter: which ones, and how they are sent there.

`?dc=` names it. What concerns one agent alone stays here whatever `?dc=` says, as in the reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from agent.archive_bounds import archive_config
from agent.backend.acting import ACTING
from agent.backend.rpc import calls
from agent.errors import RequestError
from agent.http.call import Call
from agent.http.reply import Reply
from agent.http.routes import Body, Class, Endpoint, Route
from agent.wan.relayed import HEADERS, RelayedReply, RelayedRequest
from agent.wan.ways import NoPath

#: What every datacenter answers alike, or what this agent alone can say.
_HERE = ("/v1/agent/", "/v1/explain/", "/v1/watch", "/v1/snapshot", "/v1/catalog/datacenters",
         "/v1/coordinate/datacenters")  # fmt: skip
#: Requests whose body may name a datacenter, as in the reference.
_BODY_NAMES = frozenset({"/v1/catalog/register", "/v1/catalog/deregister", "/v1/coordinate/update"})
_DATACENTER = re.compile(rb'"datacenter"', re.IGNORECASE)
SNAPSHOT = "/v1/snapshot"
#: What only servers know of all datacenters: a client agent asks one of its own.
_SERVERS_KNOW = frozenset({"/v1/catalog/datacenters", "/v1/coordinate/datacenters"})
#: What concerns both pools, of which a client agent is in one.
_KEYRING = "/v1/operator/keyring"
#: A query of each pool's members, one after the other.
_KEYRING_MAX_S = 60.0
#: Added to the time that a request may take elsewhere, in seconds: the way there and back.
_SLACK_S = 2.0


def may_be_elsewhere(route: Route, endpoint: Endpoint) -> bool:
    """Whether another datacenter can answer this."""
    return (
        endpoint.kind in {Class.READ, Class.WRITE}
        and endpoint.body is not Body.STREAM
        and not route.path.startswith(_HERE)
    )


def servers_know(route: Route) -> bool:
    """Whether a client agent asks its servers for this."""
    return route.path in _SERVERS_KNOW or route.path == _KEYRING


def wanted_datacenter(call: Call, route: Route, endpoint: Endpoint) -> str:
    """The datacenter that is to answer; "" for this agent."""
    context = call.context
    own = context.config.datacenter.lower()
    if context.way is None or call.relayed:
        return ""
    if route.path in _SERVERS_KNOW and endpoint.method == "GET":
        return "" if context.config.server else own
    if route.path == _KEYRING:
        local_only = "local-only" in call.params
        return "" if context.config.server or local_only else own
    wanted = _named(call, route).lower()
    if not wanted or wanted == own or not may_be_elsewhere(route, endpoint):
        return ""
    return wanted if context.way.may_lead_to(wanted) else ""


def _named(call: Call, route: Route) -> str:
    """The datacenter that a request names: in its body, where that has a place for it."""
    if route.path in _BODY_NAMES and _DATACENTER.search(call.body):
        try:
            found = json.loads(call.body)
        except (ValueError, RecursionError):
            found = None  # the handler says what is wrong with it
        for key, value in found.items() if isinstance(found, dict) else ():
            if key.lower() == "datacenter" and isinstance(value, str) and value:
                return value
    return call.params.get("dc") if "dc" in call.params else ""


async def _archive(call: Call, route: Route, endpoint: Endpoint) -> Reply | None:
    """A snapshot of another datacenter, where the token is looked at; None for one of ours."""
    wanted = call.params.get("dc").lower() if "dc" in call.params else ""
    own = call.context.config.datacenter.lower()
    if route.path != SNAPSHOT or not wanted or wanted == own or call.context.way is None:
        return None
    acting = ACTING.set(call.secret or call.access.tokens.default)
    try:
        config = archive_config(call.context.config)
        call.archives = await call.context.way.archives(wanted, config)
        return await endpoint.handler(call)
    finally:
        ACTING.reset(acting)


async def answer_of_another(
    call: Call, route: Route, endpoint: Endpoint, target: str
) -> Reply | None:
    """The answer of whoever has to give it; None where that is this agent. Raises ForwardError."""
    archive = await _archive(call, route, endpoint)
    if archive is not None:
        return archive
    datacenter = wanted_datacenter(call, route, endpoint)
    if not datacenter:
        return None
    slow_s = _KEYRING_MAX_S if route.path == _KEYRING else 0.0
    return await _asked_there(call, datacenter, target, slow_s)


async def _asked_there(call: Call, datacenter: str, target: str, slow_s: float) -> Reply | None:
    way = call.context.way
    assert way is not None, "somebody knew a way"
    config = call.context.config
    request = RelayedRequest(
        method=call.method,
        target=target,
        headers=_passed_on(call.headers),
        secret=call.secret or call.access.tokens.default,
        body=call.body,
    )
    blocking = call.method == "GET" and "index" in call.params
    timeout_s = calls.HOLD_MAX_S if blocking else config.rpc_hold_timeout_s + _SLACK_S
    timeout_s = max(timeout_s, slow_s)
    repeatable = call.method == "GET"
    try:
        if not blocking:
            found = await way.http(datacenter, request, timeout_s=timeout_s, repeatable=repeatable)
        else:
            with call.waiting.place():
                found = await way.http(
                    datacenter, request, timeout_s=timeout_s, repeatable=repeatable
                )
    except NoPath:
        return None
    return Reply(found.body, found.content_type, found.status, found.lines)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    found = {name: headers.get(name, "") for name in HEADERS}
    return {name: value for name, value in found.items() if value}


async def as_relayed(reply: Reply, *, bytes_max: int) -> RelayedReply:
    """An answer of ours for another datacenter. Raises RequestError for one that is too long."""
    body = b"".join((reply.body, *reply.more))
    if len(body) > bytes_max:
        raise RequestError(
            500,
            f"The answer of {len(body)} bytes is too long to be sent to another datacenter (limit "
            f"{bytes_max}): ask for less, ask an agent there, or raise limits.rpc_frame_max",
        )
    return RelayedReply(
        status=reply.status, content_type=reply.content_type, lines=reply.headers, body=body
    )


class RelayedHeaders:
    """The request that a call stands for where it is carried out."""

    __slots__ = ("headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        """``headers`` have names in lower case."""
        self.headers: Mapping[str, str] = _Caseless(headers)


class _Caseless(dict[str, str]):
    """Names without regard to case."""

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return super().get(key.lower(), default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and super().__contains__(key.lower())

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(key.lower())
