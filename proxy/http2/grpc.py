"""What a proxy must know of gRPC: its statuses, its deadlines, and how an error is told. Pure.

Sources: gRPC over HTTP/2 (protocol document of the project), its table of statuses for HTTP errors.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from proxy.http1.head import Request

CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED = 1, 2, 4, 7
RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 8, 12, 13, 14, 16
#: The conditions of a retry, by their names in a route.
CONDITIONS = {
    "cancelled": CANCELLED,
    "deadline-exceeded": DEADLINE_EXCEEDED,
    "internal": INTERNAL,
    "resource-exhausted": RESOURCE_EXHAUSTED,
    "unavailable": UNAVAILABLE,
}
#: Statuses that say that the host, not the call, is in trouble.
FAILURES = frozenset({RESOURCE_EXHAUSTED, UNAVAILABLE})
_OF_HTTP = {
    400: INTERNAL, 401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: UNIMPLEMENTED,
    429: UNAVAILABLE, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: DEADLINE_EXCEEDED,
}  # fmt: skip
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def asks(request: Request) -> bool:
    """Whether a request is a call of gRPC."""
    kind = (request.get("content-type") or "").lower()
    return kind == "application/grpc" or kind.startswith(("application/grpc+", "application/grpc;"))


def answer(status: int, text: str) -> list[tuple[str, str]]:
    """The headers of an answer that is only a status, for an HTTP status of ours."""
    return [
        ("content-type", "application/grpc"),
        ("grpc-status", str(_OF_HTTP.get(status, UNKNOWN))),
        ("grpc-message", quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")),
    ]


def timeout_s(request: Request) -> float | None:
    """The time that the caller gives (``grpc-timeout``); None for none, or one that is none."""
    found = _TIMEOUT.fullmatch(request.get("grpc-timeout") or "")
    return None if found is None else int(found[1]) * _UNITS[found[2]]


def lowered(limit_s: float, request: Request) -> float:
    """A limit (0: none) that is no longer than the caller waits."""
    given = timeout_s(request) if asks(request) else None
    if given is None:
        return limit_s
    return min(limit_s, max(given, 0.001)) if limit_s else max(given, 0.001)


def number(status: str) -> int | None:
    """A status as a number; None for what is none."""
    return int(status) if status.isascii() and status.isdigit() and len(status) < 4 else None
