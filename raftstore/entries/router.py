"""service-router (mesh contract C.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raftstore.entries.errors import Invalid
from raftstore.entries.rules import (
    MATCH_HEADER,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    check_headers,
    check_meta,
    check_methods,
    check_path,
    need_name,
    quoted,
    upper_methods,
)
from raftstore.entries.shape import (
    Shape,
    boolean,
    duration,
    numbers,
    record,
    records,
    text,
    texts,
    unsigned,
)

_RETRY_ON = frozenset(
    {
        "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure",
        "envoy-ratelimited", "retriable-4xx", "refused-stream", "retriable-status-codes",
        "retriable-headers", "cancelled", "deadline-exceeded", "internal", "resource-exhausted",
        "unavailable",
    }
)  # fmt: skip

ROUTES = records(
    "Routes",
    record(
        "Match",
        record(
            "HTTP",
            text("PathExact"),
            text("PathPrefix"),
            text("PathRegex"),
            boolean("CaseInsensitive"),
            MATCH_HEADER,
            records(
                "QueryParam",
                text("Name", always=True),
                boolean("Present"),
                text("Exact"),
                text("Regex"),
            ),
            texts("Methods"),
        ),
    ),
    record(
        "Destination",
        duration("RequestTimeout"),
        duration("IdleTimeout"),
        text("Service"),
        text("ServiceSubset"),
        text("Namespace"),
        text("Partition"),
        text("PrefixRewrite"),
        unsigned("NumRetries"),
        boolean("RetryOnConnectFailure"),
        texts("RetryOn"),
        numbers("RetryOnStatusCodes"),
        REQUEST_HEADERS,
        RESPONSE_HEADERS,
    ),
    always=True,
)
SHAPE = Shape((ROUTES,))


def normalise(_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Methods in upper case."""
    found = dict(content)
    if "Routes" in found:
        found["Routes"] = [_normal_route(route) for route in found["Routes"]]
    return found


def _normal_route(route: Mapping[str, Any]) -> dict[str, Any]:
    http = route.get("Match", {}).get("HTTP")
    if http is None:
        return dict(route)
    return {**route, "Match": {"HTTP": upper_methods(http)}}


def check(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse a router that cannot be."""
    need_name(name)
    check_meta(meta)
    for at, route in enumerate(content.get("Routes", ())):
        http = route.get("Match", {}).get("HTTP", {})
        label = f"Route[{at}] "
        check_path(http, label=label, one_of=label.rstrip())
        check_headers(http.get("Header", ()), label)
        _check_query(http.get("QueryParam", ()), label)
        check_methods(http.get("Methods", ()), label)
        _check_destination(route.get("Destination", {}), http, label)


def _check_query(params: Any, label: str) -> None:
    for at, param in enumerate(params):
        if not param.get("Name"):
            raise Invalid(f"{label}QueryParam[{at}] missing required Name field")
        if sum(1 for form in ("Present", "Exact", "Regex") if param.get(form)) != 1:
            raise Invalid(
                f"{label}QueryParam[{at}] should only contain one of Present, Exact, or Regex"
            )


def _check_destination(given: Mapping[str, Any], http: Mapping[str, Any], label: str) -> None:
    if given.get("PrefixRewrite") and not (http.get("PathExact") or http.get("PathPrefix")):
        raise Invalid(
            f"{label}cannot make use of PrefixRewrite without configuring either "
            "PathExact or PathPrefix"
        )
    for condition in given.get("RetryOn", ()):
        if condition not in _RETRY_ON:
            raise Invalid(f"{label}contains an invalid retry condition: {quoted(condition)}")


def names(name: str, content: Mapping[str, Any]) -> Iterator[str]:
    """The services that routes lead to."""
    for route in content.get("Routes", ()):
        yield route.get("Destination", {}).get("Service") or name
    yield name


def warnings(content: Mapping[str, Any]) -> list[str]:
    """What is allowed, and does perhaps not mean what it seems to."""
    return [
        f'Route[{at}] PathPrefix "{prefix}" also matches paths that go on without a slash'
        for at, route in enumerate(content.get("Routes", ()))
        if (prefix := route.get("Match", {}).get("HTTP", {}).get("PathPrefix", ""))
        and not prefix.endswith("/")
    ]
