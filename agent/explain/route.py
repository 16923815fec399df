"""Where a request from one service to another goes, and whether it may: chain, splits, hosts and
intentions in one answer.

Runs the very conditions that sidecars run (proxy/l7/routes.py through proxy/l7/route_walk.py) and
their decisions about intentions, on what is stored now. What a sidecar alone knows, hosts that it
has ejected and requests under way, it is to be asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agent.backend import Backend
from agent.connect import terminating
from agent.connect.upstreams import EndpointView, endpoints
from agent.errors import RequestError
from agent.explain.intention import request_of
from agent.full_match import full_match
from proxy import paths
from proxy.errors import AmbiguousPath, SourceError
from proxy.http1.forward import About, HeaderChanges, changed
from proxy.http1.head import Request
from proxy.l7.route_walk import Tried, Way, walk
from proxy.l7.routes import Target, read_chain
from raftstore.definition_queries import ListConfigEntries
from raftstore.definitions import ConfigEntry
from raftstore.mesh_queries import DiscoveryChain
from raftstore.queries import HealthEntry, HealthService
from raftstore.records import Json, ServiceName

#: Hosts of a target that are told by name.
HOSTS_SHOWN_MAX = 16
_HTTP = frozenset({"http", "http2", "grpc"})
#: Says which instances an expression of a subset keeps. Raises RequestError.
MakeFilter = Callable[[str], Callable[[HealthEntry], bool]]
Explainer = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]
#: Where no group of hosts has any: no name of a target has a space.
_NOBODY = "nobody: requests get 503, connections are closed"
_ASK_SIDECAR = (
    "hosts that the sidecar has ejected, and its limits, are its own: ask /explain of its admin "
    "port, which lictor explain sidecars names on its host"
)


def route_explainer(
    backend: Backend, intention: Explainer, datacenter: str, make_filter: MakeFilter
) -> Explainer:
    """The explainer for `/v1/explain/route/<source>/<destination>`.

    Method, path and headers of the request as for an intention; without them GET of "/".
    ``intention`` is the explainer of single intentions.
    """

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        source = arguments[0] if arguments else query.get("source", "")
        destination = arguments[1] if len(arguments) > 1 else query.get("destination", "")
        if not source or not destination:
            missing = "source" if not source else "destination"
            raise RequestError(400, f"required query parameter '{missing}' not set")
        found = await backend.ask(
            DiscoveryChain(service=ServiceName(destination), datacenter=datacenter)
        )
        if found.value.problem:
            raise RequestError(500, found.value.problem)
        given = found.value.chain
        try:
            chain = read_chain(given)
        except SourceError as error:
            raise RequestError(500, str(error)) from None
        head = {
            "Source": source, "Destination": destination, "Datacenter": datacenter,
            "Protocol": chain.protocol,
        }  # fmt: skip
        request = _request(query)
        http = chain.protocol in _HTTP
        try:
            path = paths.canonical(request.target)
        except AmbiguousPath as error:
            return {**head, "Allowed": False, "Refused": f"400: {error}", "Ways": []}
        hosts = _Hosts(backend, datacenter, given["Targets"], make_filter)
        ways, found_ways = [], walk(chain, request, path, full_match)
        for way in found_ways:
            asked = _forwarded(way, request, source) if http else {}
            verdict = await intention([source, way.choice.resolver.target.service], asked)
            ways.append({**_way(way, http=http), **await hosts.told(way), "Intention": verdict})
        return {
            **head,
            **({"Request": {"Method": request.method, "Path": path}} if http else {}),
            "Allowed": all(way["Intention"]["Allowed"] for way in ways),
            "Ways": ways,
            "PercentOfOtherWays": float(100 * (1 - sum(way.share for way in found_ways))),
            "NotTold": _ASK_SIDECAR,
        }

    return explain


def _request(query: Mapping[str, str]) -> Request:
    asked = request_of(query)
    if asked is None:
        return Request("GET", "/", 1, ())
    return Request(asked.method, asked.target, 1, tuple(asked.headers.items()))


def _forwarded(way: Way, request: Request, source: str) -> dict[str, str]:
    """The request as the other side gets it, and decides about it."""
    headers: list[tuple[str, str]] = list(request.headers)
    for changes in way.choice.request_headers:
        headers = changed(headers, changes, request, About(service=source))
    query = request.target.partition("?")[2]
    return {
        "method": request.method,
        "path": f"{way.choice.path}?{query}" if query else way.choice.path,
        "header": "\n".join(f"{name}: {value}" for name, value in headers),
    }


def _way(way: Way, *, http: bool) -> dict[str, Any]:
    resolver = way.choice.resolver
    shown: dict[str, Any] = {
        "Percent": float(way.share * 100),
        "Routes": [_tried(each) for each in way.tried],
        "Splits": [
            {
                "Splitter": leg.splitter, "Next": leg.next, "Percent": leg.weight / 100,
                "Sticky": leg.sticky,
            }
            for leg in way.drawn
        ],
        "Target": resolver.target.id,
        "Service": resolver.target.service,
    }  # fmt: skip
    if http:
        shown |= {
            "Path": way.choice.path,
            "Headers": _headers(way.choice.request_headers),
            "TimeoutSeconds": way.choice.timeout_s,
            "Retries": way.choice.retry.retries,
            "Balancing": str(resolver.load_balancer.get("Policy") or "adaptive"),
        }
    return shown


def _headers(changes: Sequence[HeaderChanges]) -> list[Json]:
    return [
        {"Remove": list(each.remove), "Set": dict(each.set), "Add": dict(each.add)}
        for each in changes
        if each.remove or each.set or each.add
    ]


def _tried(tried: Tried) -> Json:
    return {
        "Router": tried.router,
        "Route": tried.place,
        "Matches": not tried.misfits,
        "Why": list(tried.misfits),
        "Next": tried.next,
    }


class _Hosts:
    """The hosts of targets, each service asked for once."""

    def __init__(
        self,
        backend: Backend,
        datacenter: str,
        targets: Mapping[str, Mapping[str, Any]],
        make_filter: MakeFilter,
    ) -> None:
        self._backend = backend
        self._datacenter = datacenter
        self._targets = targets
        self._make_filter = make_filter
        self._instances: dict[str, tuple[HealthEntry, ...]] = {}
        self._linking: tuple[ConfigEntry, ...] | None = None

    async def told(self, way: Way) -> dict[str, Any]:
        """The groups of a way in the order in which they stand in, and which one serves."""
        groups = [
            await self._group(each)
            for each in (way.choice.resolver.target, *way.choice.resolver.failover)
        ]
        serving = next((each["Target"] for each in groups if each["Hosts"] != 0), _NOBODY)
        return {"Groups": groups, "Serves": serving}

    async def _group(self, target: Target) -> dict[str, Any]:
        if target.datacenter != self._datacenter:
            why = f"hosts of {target.datacenter} are known to its servers"
            return {"Target": target.id, "Hosts": None, "Why": why, "Instances": []}
        found = await self._of(target.service)
        subset = self._targets[target.id].get("Subset") or {}
        kept = found
        if subset.get("Filter"):
            fits = self._make_filter(subset["Filter"])
            kept = tuple(entry for entry in found if fits(entry))
        dialled = endpoints(kept, only_passing=bool(subset.get("OnlyPassing")))
        beside = await self._gateways(target, in_mesh=bool(found))
        return {
            "Target": target.id,
            "Hosts": len(dialled) + len(beside),
            "Why": _why(found, kept, dialled, beside),
            "Instances": [_host(each) for each in (*dialled, *beside)[:HOSTS_SHOWN_MAX]],
        }

    async def _gateways(self, target: Target, *, in_mesh: bool) -> tuple[EndpointView, ...]:
        """The terminating gateways that are dialled for a target."""
        if self._linking is None:
            asked = ListConfigEntries(terminating.KIND)
            self._linking = (await self._backend.ask(asked)).value
        names = terminating.dialled(self._linking, [target.service])
        known = {
            name: (await self._backend.ask(HealthService(service=ServiceName(name)))).value
            for name in names
        }
        wanted = {"Service": target.service}
        return terminating.standing_for(wanted, self._linking, known, in_mesh=in_mesh) or ()

    async def _of(self, service: str) -> tuple[HealthEntry, ...]:
        if service not in self._instances:
            asked = HealthService(service=ServiceName(service), connect=True)
            self._instances[service] = (await self._backend.ask(asked)).value
        return self._instances[service]


def _why(
    found: Sequence[HealthEntry],
    kept: Sequence[HealthEntry],
    dialled: Sequence[EndpointView],
    beside: Sequence[EndpointView],
) -> str:
    if not found:
        if beside:
            return f"not in the mesh: {len(beside)} instances of terminating gateways stand for it"
        return "no instance in the mesh is registered, and no terminating gateway stands for it"
    parts = [f"{len(found)} registered"]
    if beside:
        parts.append(f"{len(beside)} instances of terminating gateways")
    if len(kept) < len(found):
        parts.append(f"{len(found) - len(kept)} not of the subset")
    if len(dialled) < len(kept):
        parts.append(f"{len(kept) - len(dialled)} critical, without an address, or not passing")
    return ", ".join(parts)


def _host(host: EndpointView) -> Json:
    return {
        "Node": host.node, "ID": host.id, "Address": host.address, "Port": host.port,
        "Status": host.status, "Weight": host.weight,
    }  # fmt: skip
