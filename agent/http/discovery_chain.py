"""`/v1/discovery-chain/`: what a service name leads to (mesh contract C.9, C.10)."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import RequestError
from agent.http import chain_form, parse_config
from agent.http.call import Call, text
from agent.http.reply import Reply
from raftstore.entries.shape import Shape, Undecodable, duration, read, record
from raftstore.entries.shape import text as text_field
from raftstore.mesh_queries import DiscoveryChain
from raftstore.records import ServiceName

_MODES = frozenset({"", "none", "local", "remote"})
_OVERRIDES = Shape(
    (
        duration("OverrideConnectTimeout"),
        text_field("OverrideProtocol"),
        record("OverrideMeshGateway", text_field("Mode")),
    )
)


@dataclass(frozen=True, slots=True)
class _Wish:
    """Overrides as they were asked for."""

    protocol: str = ""
    connect_timeout_ns: int = 0
    mesh_gateway: str = ""


async def chain(call: Call) -> Reply:
    """The compiled chain of a service, with overrides in the body of a POST."""
    options = call.options()
    service = call.rest
    if not service:
        raise RequestError(400, "Bad request: Missing chain name")
    wish = _wish(call.body) if call.method == "POST" else _Wish()
    if wish.mesh_gateway not in _MODES:
        return text("Invalid OverrideMeshGateway.Mode parameter", status=400)
    query = DiscoveryChain(
        service=ServiceName(service),
        datacenter=call.params.get("compile-dc") or call.context.config.datacenter,
        protocol=wish.protocol,
        connect_timeout_ns=wish.connect_timeout_ns,
        mesh_gateway=wish.mesh_gateway,
    )
    found = await call.ask(query, options)
    if found.value.problem:
        raise RequestError(500, found.value.problem)
    shown = found.value.chain
    if call.params.get("version") == "2":
        shown = chain_form.newer(shown)
    headers = (*call.read_headers(found), *call.cache_headers())
    return call.json({"Chain": shown}, headers=headers)


def _wish(body: bytes) -> _Wish:
    """What a body overrides; what it does not know means nothing."""
    try:
        given = parse_config.body(body)
        known = {key: value for key, value in given.items() if key.lower() in _OVERRIDES.by_key}
        found = read(_OVERRIDES, known)
    except Undecodable as error:
        raise RequestError(400, f"Bad request: Request decoding failed: {error}") from None
    return _Wish(
        protocol=found.get("OverrideProtocol", "").lower(),
        connect_timeout_ns=max(0, found.get("OverrideConnectTimeout", 0)),
        mesh_gateway=found.get("OverrideMeshGateway", {}).get("Mode", ""),
    )
