"""`/v1/agent/connect/feed/`: what a proxy must be told, and what it makes of it (ours)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from agent.acl.authorizer import WRITE
from agent.acl.caller import Need
from agent.connect import terminating
from agent.connect.feed import Delta, Standing
from agent.connect.sidecar_metrics import asked
from agent.connect.upstreams import EndpointView, ProxyView, UpstreamView
from agent.errors import RequestError
from agent.http import render
from agent.http.call import Call, text
from agent.http.context import ProxyFeeds
from agent.http.decode import DecodeFailure, Shape, integer, load, string
from agent.http.params import wait
from agent.http.reply import Reply
from raftstore.places import Locality
from raftstore.queries import CARootsAnswer
from raftstore.records import ExposePath, Json, Upstream

HEARD = Shape(
    "Heard",
    {
        "Version": ("version", string),
        "Error": ("error", string),
        "AdminPort": ("admin_port", integer),
    },
)


def _feeds(call: Call) -> ProxyFeeds:
    feeds = call.context.feeds
    if feeds is None:
        raise RequestError(404, "this agent feeds no proxies")
    return feeds


def _require(call: Call, proxy_id: str) -> None:
    """Who asks for a proxy must be allowed to be the service that it stands for."""
    service = terminating.registration(call.context.local.services(), proxy_id)
    name = proxy_id
    if service is not None:
        name = service.proxy.destination_service_name or service.name
    call.require(Need("service", WRITE, name))


async def next_(call: Call) -> Reply:
    """What is new since `?version=`, held up to `?wait=` until there is something."""
    proxy_id, version = unquote(call.rest), call.params.get("version") or ""
    if not proxy_id:
        raise RequestError(400, "Missing proxy ID")
    _require(call, proxy_id)
    with call.waiting.place():
        try:
            found = await _feeds(call).next(proxy_id, version, _wait_s(call))
        except asyncio.CancelledError:
            call.waiting.raise_if_stopping()
            raise
    return call.json(_delta(found))


def _wait_s(call: Call) -> float:
    """How long the request is held: as blocking queries are, without a version not at all."""
    if not call.params.get("version"):
        return 0.0
    config = call.context.config
    _, wait_s = wait(
        call.params, default_s=config.default_query_time_s, max_s=config.max_query_time_s
    )
    return wait_s


async def heard(call: Call) -> Reply:
    """What the proxy made of a version: `{"Version": ..., "Error": ""}`."""
    try:
        given = HEARD.read("", load(call.body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Request decode failed: {error}") from None
    _require(call, unquote(call.rest))
    port = given.get("admin_port", 0)
    if not 0 <= port < 65_536:
        raise RequestError(400, "AdminPort is no port")
    known = _feeds(call).heard(
        unquote(call.rest), given.get("version", ""), given.get("error", ""), port
    )
    if not known:
        raise RequestError(404, "this proxy or version is not known here")
    return call.json(True)


async def standings(call: Call) -> Reply:
    """For each proxy of this agent what it was told and what it works by."""
    shown = {name: _standing(found) for name, found in _feeds(call).standings().items()}
    return call.json(shown)


async def metrics(call: Call) -> Reply:
    """What a sidecar counts, in the Prometheus text format."""
    return text(await _asked(call, "/metrics"))


async def edges(call: Call) -> Reply:
    """Who asked the service of a sidecar how often, and with what result."""
    return call.json(json.loads(await _asked(call, "/edges")))


async def _asked(call: Call, path: str) -> str:
    found = _feeds(call).standings().get(unquote(call.rest))
    if found is None:
        raise RequestError(404, "this agent knows no such proxy")
    answer = await asked(found.admin_port, path) if found.admin_port else None
    if answer is None:
        raise RequestError(503, "the proxy does not tell what it counts")
    return answer


def _standing(found: Standing) -> Json:
    return {
        "Version": found.version,
        "Missing": list(found.missing),
        "AskedAt": found.asked_at,
        "Accepted": found.accepted,
        "AcceptedAt": found.accepted_at,
        "Rejected": found.rejected,
        "RejectedAt": found.rejected_at,
        "Reason": found.reason,
        "AdminPort": found.admin_port,
    }


def _delta(found: Delta) -> Json:
    return {
        "Version": found.version,
        "Full": found.full,
        "Complete": found.complete,
        "Resources": [
            {"Name": name, "Value": _value(name.partition("/")[0], value)}
            for name, value in found.resources
        ],
        "Removed": list(found.removed),
    }


def _value(kind: str, value: Any) -> Json:
    """A resource as JSON; what has no form of its own is JSON already."""
    match value:
        case _ if kind == "revocations":
            return [
                {"SerialNumber": each.serial, "ServiceURI": each.uri, "Before": each.before}
                for each in value
            ]
        case CARootsAnswer():
            return render.ca_roots(value)
        case ProxyView():
            return _proxy(value)
        case UpstreamView():
            return _upstream(value)
        case _ if kind == "leaf":
            return render.leaf(value)
        case _ if kind == "intentions":
            return [render.intention(item) for item in value]
        case _ if kind == "endpoints":
            return [_endpoint(item) for item in value]
        case _:
            return value


def _proxy(value: ProxyView) -> Json:
    service = value.service
    proxy = service.proxy
    return {
        "ID": service.id,
        "Service": service.name,
        "DestinationServiceName": proxy.destination_service_name,
        "DestinationServiceID": proxy.destination_service_id,
        "Address": service.address,
        "Port": service.port,
        "SocketPath": service.socket_path,
        "LocalServiceAddress": proxy.local_service_address,
        "LocalServicePort": proxy.local_service_port,
        "LocalServiceSocketPath": proxy.local_service_socket_path,
        "Mode": proxy.mode,
        "TransparentProxy": {
            "OutboundListenerPort": proxy.outbound_listener_port,
            "DialedDirectly": proxy.dialed_directly,
        },
        "Expose": {
            "Checks": proxy.expose_checks,
            "Paths": [_expose_path(path) for path in proxy.expose_paths]
            + [_expose_path(path) | {"ParsedFromCheck": True} for path in value.checks],
        },
        "Protocol": value.protocol,
        "MutualTLSMode": value.mutual_tls,
        "RateLimits": value.rate_limits,
        "Locality": _locality(service.locality),
        "Config": _json_map(value.config),
        "PreparedQueries": [
            _local_end(one) | {"Name": one.destination_name, "Config": dict(one.config or {})}
            for one in proxy.upstreams
            if one.destination_type == "prepared_query"
        ],
    }


def _expose_path(path: ExposePath) -> dict[str, Json]:
    return {
        "Path": path.path,
        "ListenerPort": path.listener_port,
        "LocalPathPort": path.local_path_port,
        "Protocol": path.protocol,
    }


def _local_end(upstream: Upstream) -> dict[str, Json]:
    """Where the application finds an upstream."""
    return {
        "LocalBindAddress": upstream.local_bind_address or "127.0.0.1",
        "LocalBindPort": upstream.local_bind_port,
        "LocalBindSocketPath": upstream.local_bind_socket_path,
        "LocalBindSocketMode": upstream.local_bind_socket_mode,
    }


def _upstream(value: UpstreamView) -> Json:
    upstream = value.upstream
    return {
        "Key": value.key,
        "DestinationName": value.name,
        "Datacenter": upstream.datacenter,
        **_local_end(upstream),
        "MeshGateway": {"Mode": upstream.mesh_gateway_mode},
        "VirtualIP": value.virtual_ip,
        "DialedDirectly": value.dialed_directly,
        "Destinations": list(value.destinations),
        "DestinationPort": value.destination_port,
        "Config": _json_map(value.config),
    }


def _endpoint(value: EndpointView) -> Json:
    return {
        "Node": value.node,
        "ID": value.id,
        "Address": value.address,
        "Port": value.port,
        "Weight": value.weight,
        "Status": value.status,
        "Datacenter": value.datacenter,
        "Meta": dict(value.meta),
        "Locality": _locality(value.locality),
    }


def _locality(value: Locality | None) -> Json:
    return None if value is None else {"Region": value.region, "Zone": value.zone}


def _json_map(value: Mapping[str, Json]) -> dict[str, Json]:
    return dict(value)
