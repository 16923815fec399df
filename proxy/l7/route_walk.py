"""All ways that a request may take through a chain, and why it took no other.

Pure. It runs the conditions of ``routes`` and makes its choices of them; a property holds the two
together: what a proxy chooses is one of these ways, and as often as the way's share says.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from urllib.parse import parse_qsl

from proxy.errors import UnreadablePattern
from proxy.http1.forward import HeaderChanges
from proxy.http1.head import Request
from proxy.l7.routes import (
    NO_ROUTE,
    Chain,
    Choice,
    Condition,
    Route,
    chosen,
    condition_fits,
    path_fits,
    some,
)
from proxy.permissions import FullMatch

#: Ways that are told of one request: more than people read, few enough to decide about all of them
#: in one go. Splits of splits multiply.
WAYS_MAX = 32
_HOPS_MAX = 64
_WHOLE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One route of a router; ``misfits`` says what of it the request does not meet."""

    router: str
    place: int
    next: str
    misfits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One leg of a split. ``weight`` in hundredths of a percent."""

    splitter: str
    next: str
    weight: int
    sticky: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to a resolver, its share of such requests, and what becomes of them there."""

    share: Fraction
    tried: tuple[Tried, ...]
    drawn: tuple[Drawn, ...]
    choice: Choice


@dataclass(frozen=True, slots=True)
class _At:
    node: str
    share: Fraction
    hops: int = 0
    route: Route = NO_ROUTE
    tried: tuple[Tried, ...] = ()
    drawn: tuple[Drawn, ...] = ()
    request_headers: tuple[HeaderChanges, ...] = ()
    response_headers: tuple[HeaderChanges, ...] = ()


def walk(chain: Chain, request: Request, path: str, full_match: FullMatch) -> tuple[Way, ...]:
    """The ways of a request with this canonical path, the likeliest first, at most WAYS_MAX: what
    their shares do not add up to is left out."""
    number = itertools.count()  # of two that are as likely the first found goes first
    start = _At(chain.start, Fraction(1))
    waiting = [(-start.share, next(number), start)]
    found: list[Way] = []
    while waiting and len(found) < WAYS_MAX:
        _, _, at = heapq.heappop(waiting)
        if at.node in chain.resolvers:
            found.append(_way(chain, at, path))
        elif at.hops < _HOPS_MAX:
            for each in _onward(chain, at, request, path, full_match):
                heapq.heappush(waiting, (-each.share, next(number), each))
    return tuple(found)


def _onward(
    chain: Chain, at: _At, request: Request, path: str, full_match: FullMatch
) -> Iterator[_At]:
    if at.node in chain.routes:
        tried, route = _routed(at.node, chain.routes[at.node], request, path, full_match)
        yield replace(
            at,
            node=route.node,
            hops=at.hops + 1,
            route=route,
            tried=(*at.tried, *tried),
            request_headers=(*at.request_headers, *some(route.request_headers)),
            response_headers=(*at.response_headers, *some(route.response_headers)),
        )
        return
    legs = [leg for leg in chain.splits[at.node] if leg.weight > 0]
    for leg in legs:
        drawn = Drawn(
            splitter=at.node, next=leg.node, weight=leg.weight, sticky=at.node in chain.sticky
        )
        yield replace(
            at,
            node=leg.node,
            share=at.share * Fraction(leg.weight, _WHOLE),
            hops=at.hops + 1,
            drawn=(*at.drawn, drawn),
            request_headers=(*at.request_headers, *some(leg.request_headers)),
            response_headers=(*at.response_headers, *some(leg.response_headers)),
        )


def _routed(
    router: str, routes: tuple[Route, ...], request: Request, path: str, full_match: FullMatch
) -> tuple[list[Tried], Route]:
    """The routes that were tried, up to the one that fits; the last is for all that is left."""
    tried = []
    for place, route in enumerate(routes):
        last = place == len(routes) - 1
        why = () if last else tuple(misfits(route, request, path, full_match))
        tried.append(Tried(router=router, place=place, next=route.node, misfits=why))
        if not why:
            return tried, route
    raise AssertionError("a router has a last route")


def _way(chain: Chain, at: _At, path: str) -> Way:
    choice = chosen(
        chain.resolvers[at.node],
        at.route,
        path,
        at.request_headers,
        at.response_headers,
        at.tried[-1].place if at.tried else -1,
        tuple(leg.next for leg in at.drawn),
    )
    return Way(share=at.share, tried=at.tried, drawn=at.drawn, choice=choice)


def misfits(route: Route, request: Request, path: str, full_match: FullMatch) -> Iterator[str]:
    """What of a route a request does not meet; nothing where ``routes.matches`` says that it is
    about it."""
    if route.methods and request.method not in route.methods:
        yield f"method {request.method} is not one of {', '.join(sorted(route.methods))}"
    try:
        if route.path_form and not path_fits(route, path, full_match):
            yield f"path {path} is not {route.path_form} {route.path}"
        for each in route.headers:
            if not condition_fits(each, request.get(each.name), full_match):
                yield f"header {_said(each, request.get(each.name))}"
        if route.query:
            given = dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
            for each in route.query:
                if not condition_fits(each, given.get(each.name), full_match):
                    yield f"query parameter {_said(each, given.get(each.name))}"
    except UnreadablePattern as error:
        yield f"a pattern cannot be read: {error}"


def _said(wanted: Condition, value: str | None) -> str:
    """A condition that is not met. Values of requests are not repeated: they may be secrets."""
    form = "present" if wanted.form == "present" else f"{wanted.form} {wanted.value}"
    if value is None:
        return f"{wanted.name} is missing, wanted is {form}"
    return f"{wanted.name} is{'' if wanted.invert else ' not'} {form}"
