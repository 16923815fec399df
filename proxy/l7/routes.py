"""Where a request goes: a compiled discovery chain as a proxy carries it out (contract C.10, D.6).

Pure: chain and request in, choice out; dice decide splits. Conditions on paths see the canonical
path (``proxy.paths``), the one that is forwarded.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from proxy.durations import seconds
from proxy.errors import SourceError, UnreadablePattern
from proxy.http1.forward import NO_CHANGES, HeaderChanges
from proxy.http1.head import Request
from proxy.l7.hashing import RequestHash
from proxy.l7.retries import NO_RETRIES, RetryPolicy
from proxy.permissions import FullMatch

CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S = 5.0, 15.0
_SPLIT_WHOLE = 10_000
_HOPS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A group of hosts. ``expected`` are the services whose identity a host may have."""

    id: str
    service: str
    datacenter: str
    subset: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """One target and those that stand in for it, in order."""

    target: Target
    failover: tuple[Target, ...] = ()
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    request_timeout_s: float = REQUEST_TIMEOUT_S
    load_balancer: Mapping[str, Any] = field(default_factory=dict)
    by_locality: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One leg of a split; weight in hundredths of a percent."""

    weight: int
    node: str
    request_headers: HeaderChanges = NO_CHANGES
    response_headers: HeaderChanges = NO_CHANGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition on a header or a query parameter."""

    name: str
    form: str
    value: str = ""
    invert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route: what it matches and what it says about the request."""

    node: str
    path_form: str = ""
    path: str = ""
    ignore_case: bool = False
    methods: frozenset[str] = frozenset()
    headers: tuple[Condition, ...] = ()
    query: tuple[Condition, ...] = ()
    prefix_rewrite: str | None = None
    request_timeout_s: float | None = None
    retry: RetryPolicy = NO_RETRIES
    request_headers: HeaderChanges = NO_CHANGES
    response_headers: HeaderChanges = NO_CHANGES


NO_ROUTE = Route(node="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What becomes of one request. ``path`` is the path to forward."""

    resolver: Resolver
    path: str
    timeout_s: float
    retry: RetryPolicy
    request_headers: tuple[HeaderChanges, ...] = ()
    response_headers: tuple[HeaderChanges, ...] = ()
    #: Which route of the last router on the way it was, from 0; -1 where there was none.
    route: int = -1
    #: The legs of splits that were drawn.
    legs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain as it is carried out. Every node that a route or a leg names is there."""

    protocol: str
    start: str
    routes: Mapping[str, tuple[Route, ...]] = field(default_factory=dict)
    splits: Mapping[str, tuple[Leg, ...]] = field(default_factory=dict)
    resolvers: Mapping[str, Resolver] = field(default_factory=dict)
    #: Balancing of split nodes whose requests stay on their leg by hash policies.
    sticky: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def targets(self) -> frozenset[str]:
        """The ids of all groups of hosts."""
        return frozenset(
            target.id
            for each in self.resolvers.values()
            for target in (each.target, *each.failover)
        )

    def choose(
        self,
        request: Request,
        path: str,
        rng: random.Random,
        full_match: FullMatch,
        hashes: RequestHash | None = None,
    ) -> Choice:
        """The way of one request with this canonical path. The last route matches everything.

        ``hashes`` draw the legs of sticky splits; without them dice do.
        """
        node, route, at = self.start, NO_ROUTE, -1
        legs: tuple[str, ...] = ()
        request_headers: list[HeaderChanges] = []
        response_headers: list[HeaderChanges] = []
        for _ in range(_HOPS_MAX):
            if node in self.resolvers:
                break
            if node in self.routes:
                routes = self.routes[node]
                # The last one is for all that is left, also for "*", which no prefix begins.
                last = len(routes) - 1
                at = next(
                    (n for n, r in enumerate(routes) if matches(r, request, path, full_match)), last
                )
                route = routes[at]
                request_headers += some(route.request_headers)
                response_headers += some(route.response_headers)
                node = route.node
            else:
                drawn = None
                if hashes is not None and node in self.sticky:
                    drawn = hashes.draw(self.sticky[node], node, _SPLIT_WHOLE)
                leg = _drawn(
                    self.splits[node], rng.randrange(_SPLIT_WHOLE) if drawn is None else drawn
                )
                request_headers += some(leg.request_headers)
                response_headers += some(leg.response_headers)
                node = leg.node
                legs = (*legs, node)
        return chosen(
            self.resolvers[node], route, path, request_headers, response_headers, at, legs
        )


def chosen(
    resolver: Resolver,
    route: Route,
    path: str,
    request_headers: Sequence[HeaderChanges],
    response_headers: Sequence[HeaderChanges],
    at: int,
    legs: tuple[str, ...],
) -> Choice:
    """What a request comes to at the end of its way: ``route`` is the last one on it, the
    ``at``-th of its router, or NO_ROUTE."""
    own_s = route.request_timeout_s
    return Choice(
        resolver=resolver,
        path=rewritten(route, path),
        timeout_s=resolver.request_timeout_s if own_s is None else own_s,
        retry=route.retry,
        request_headers=tuple(request_headers),
        response_headers=tuple(response_headers),
        route=at,
        legs=legs,
    )


def some(changes: HeaderChanges) -> tuple[HeaderChanges, ...]:
    """Changes, unless they change nothing."""
    return () if changes is NO_CHANGES or changes == NO_CHANGES else (changes,)


def _drawn(legs: Sequence[Leg], draw: int) -> Leg:
    for leg in legs:
        draw -= leg.weight
        if draw < 0:
            return leg
    return legs[-1]


def matches(route: Route, request: Request, path: str, full_match: FullMatch) -> bool:
    """Whether a route is about a request. A pattern that cannot be read matches nothing."""
    if route.methods and request.method not in route.methods:
        return False
    try:
        if route.path_form and not path_fits(route, path, full_match):
            return False
        if not all(
            condition_fits(each, request.get(each.name), full_match) for each in route.headers
        ):
            return False
        if route.query:
            given = dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
            return all(
                condition_fits(each, given.get(each.name), full_match) for each in route.query
            )
    except UnreadablePattern:
        return False
    return True


def path_fits(route: Route, path: str, full_match: FullMatch) -> bool:
    """Whether a route is about this path. Raises UnreadablePattern."""
    wanted = route.path
    if route.ignore_case:
        path, wanted = path.lower(), wanted.lower()
    if route.path_form == "regex":
        return full_match(wanted, path)
    return path == wanted if route.path_form == "exact" else path.startswith(wanted)


def condition_fits(condition: Condition, value: str | None, full_match: FullMatch) -> bool:
    """Whether a value, None for none, is as wanted. Raises UnreadablePattern."""
    fits = value is not None and _value_fits(condition, value, full_match)
    return fits != condition.invert


def _value_fits(condition: Condition, value: str, full_match: FullMatch) -> bool:
    match condition.form:
        case "exact":
            return value == condition.value
        case "prefix":
            return value.startswith(condition.value)
        case "suffix":
            return value.endswith(condition.value)
        case "contains":
            return condition.value in value
        case "regex":
            return full_match(condition.value, value)
        case _:
            return True


def rewritten(route: Route, path: str) -> str:
    """The path to forward: a prefix replaced, or an exact path as a whole."""
    if route.prefix_rewrite is None or route.path_form not in ("exact", "prefix"):
        return path
    rest = path[len(route.path) :] if route.path_form == "prefix" else ""
    made = route.prefix_rewrite + rest
    return made if made.startswith("/") else f"/{made}"


def read_chain(given: Mapping[str, Any]) -> Chain:
    """A chain as the API shows it (``Chain`` of ``/v1/discovery-chain``). Raises SourceError."""
    try:
        targets = {
            id_: Target(
                id=id_,
                service=str(each["Service"]),
                datacenter=str(each["Datacenter"]),
                subset=str(each.get("ServiceSubset") or ""),
            )
            for id_, each in (given.get("Targets") or {}).items()
        }
        nodes = given.get("Nodes") or {}
        chain = Chain(
            protocol=str(given.get("Protocol") or "tcp"),
            start=str(given["StartNode"]),
            routes={
                name: tuple(_route(each) for each in node["Routes"])
                for name, node in nodes.items()
                if node["Type"] == "router"
            },
            splits={
                name: tuple(_leg(each) for each in node["Splits"])
                for name, node in nodes.items()
                if node["Type"] == "splitter"
            },
            resolvers={
                name: _resolver(node, targets)
                for name, node in nodes.items()
                if node["Type"] == "resolver"
            },
            sticky={
                name: node["LoadBalancer"]
                for name, node in nodes.items()
                if node["Type"] == "splitter" and node.get("LoadBalancer")
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"the discovery chain cannot be read: {error!r}") from error
    _must_be_closed(chain)
    return chain


def _must_be_closed(chain: Chain) -> None:
    named = [chain.start]
    named += [route.node for routes in chain.routes.values() for route in routes]
    named += [leg.node for legs in chain.splits.values() for leg in legs]
    for node in named:
        if node not in chain.routes and node not in chain.splits and node not in chain.resolvers:
            raise SourceError(f"the discovery chain has no node {node}")
    for name, routes in chain.routes.items():
        last = routes[-1] if routes else None
        if last is None or last.methods or last.headers or last.query or last.path != "/":
            raise SourceError(f"the last route of {name} does not match everything")


def _route(given: Mapping[str, Any]) -> Route:
    definition = given.get("Definition") or {}
    http = (definition.get("Match") or {}).get("HTTP") or {}
    destination = definition.get("Destination") or {}
    forms = {form: http.get(f"Path{form.capitalize()}") for form in ("exact", "prefix", "regex")}
    form = next((form for form, value in forms.items() if value), "")
    timeout_s = seconds(destination.get("RequestTimeout"), 0.0)
    return Route(
        node=str(given["NextNode"]),
        path_form=form,
        path=str(forms.get(form) or "") if form else "/",
        ignore_case=bool(http.get("CaseInsensitive")),
        methods=frozenset(str(each).upper() for each in http.get("Methods") or ()),
        headers=tuple(_condition(each, lower=True) for each in http.get("Header") or ()),
        query=tuple(_condition(each, lower=False) for each in http.get("QueryParam") or ()),
        prefix_rewrite=destination.get("PrefixRewrite") or None,
        request_timeout_s=timeout_s or None,
        retry=_retry(destination),
        request_headers=_changes(destination.get("RequestHeaders")),
        response_headers=_changes(destination.get("ResponseHeaders")),
    )


def _condition(given: Mapping[str, Any], *, lower: bool) -> Condition:
    name = str(given["Name"])
    form = next(
        (f for f in ("Exact", "Prefix", "Suffix", "Contains", "Regex") if given.get(f)), "Present"
    )
    return Condition(
        name=name.lower() if lower else name,
        form=form.lower(),
        value=str(given.get(form) or "") if form != "Present" else "",
        invert=bool(given.get("Invert")),
    )


def _retry(destination: Mapping[str, Any]) -> RetryPolicy:
    conditions = {str(each) for each in destination.get("RetryOn") or ()}
    statuses = frozenset(int(each) for each in destination.get("RetryOnStatusCodes") or ())
    connect = bool(destination.get("RetryOnConnectFailure"))
    given = int(destination.get("NumRetries") or 0)
    wants = connect or bool(conditions) or bool(statuses)
    return RetryPolicy(
        retries=given or (1 if wants else 0),
        conditions=frozenset(conditions),
        statuses=statuses,
        non_idempotent=bool(destination.get("LictorRetryNonIdempotent")),
    )


def _changes(given: Mapping[str, Any] | None) -> HeaderChanges:
    if not given:
        return NO_CHANGES
    return HeaderChanges(
        remove=tuple(str(each) for each in given.get("Remove") or ()),
        set={str(k): str(v) for k, v in (given.get("Set") or {}).items()},
        add={str(k): str(v) for k, v in (given.get("Add") or {}).items()},
    )


def _leg(given: Mapping[str, Any]) -> Leg:
    definition = given.get("Definition") or {}
    return Leg(
        weight=round(float(given["Weight"]) * 100),
        node=str(given["NextNode"]),
        request_headers=_changes(definition.get("RequestHeaders") or given.get("RequestHeaders")),
        response_headers=_changes(
            definition.get("ResponseHeaders") or given.get("ResponseHeaders")
        ),
    )


def _resolver(node: Mapping[str, Any], targets: Mapping[str, Target]) -> Resolver:
    given = node["Resolver"]
    failover = (given.get("Failover") or {}).get("Targets") or ()
    return Resolver(
        target=targets[given["Target"]],
        failover=tuple(targets[each] for each in failover),
        connect_timeout_s=seconds(given.get("ConnectTimeout"), CONNECT_TIMEOUT_S),
        request_timeout_s=seconds(given.get("RequestTimeout"), REQUEST_TIMEOUT_S),
        load_balancer=node.get("LoadBalancer") or {},
        by_locality=(given.get("PrioritizeByLocality") or {}).get("Mode") == "failover",
    )
