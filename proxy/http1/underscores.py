"""Header names with underscores (contract D.5, 15): some applications take `X_Name` for `X-Name`.

Whoever is behind CGI or WSGI sees both under one name, so such a header can say what a rule about
the other has not seen. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.errors import HttpViolation
from proxy.http1.head import Request

REJECT, DROP, ALLOW = "REJECT_REQUEST", "DROP_HEADER", "ALLOW"


def action(mesh: Any) -> str:
    """What the ``mesh`` entry wants; requests with such headers are refused where it says nothing,
    or something unknown."""
    for key in ("HTTP", "Incoming", "RequestNormalization"):
        mesh = mesh.get(key) if isinstance(mesh, Mapping) else None
    found = mesh.get("HeadersWithUnderscoresAction") if isinstance(mesh, Mapping) else None
    return found if found in (DROP, ALLOW) else REJECT


def some(request: Request) -> bool:
    """Whether there are any."""
    return "_" in "".join(request.by_name)


def screened(request: Request, wanted: str) -> Request:
    """The request as it may go on. Raises HttpViolation."""
    if wanted == ALLOW or not some(request):
        return request
    if wanted == REJECT:
        raise HttpViolation(400, "a header name with an underscore")
    kept = tuple((name, value) for name, value in request.headers if "_" not in name)
    return Request(request.method, request.target, request.minor, kept)
