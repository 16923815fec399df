"""What the audit log says of a request, in Consul Enterprise's form. Pure.

Secrets do not get in: a token is told by its accessor, and `?token=` is hidden.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

START, COMPLETE = "OperationStart", "OperationComplete"
#: Longer words of a client are cut: one request must not fill the file.
WORD_CHARS_MAX = 2048
_TOKEN = re.compile(r"([?&]token=)[^&]*", re.IGNORECASE)
_ESCAPED = re.compile(r"([?&](?:t|%74)(?:o|%6f)(?:k|%6b)(?:e|%65)(?:n|%6e)=)[^&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came. ``id`` is the same for its start and its end."""

    id: str
    operation: str
    endpoint: str
    address: str = ""
    user_agent: str = ""
    host: str = ""


def hidden(endpoint: str) -> str:
    """A request target without the secret that may stand in it."""
    return _cut(_ESCAPED.sub(r"\1<hidden>", _TOKEN.sub(r"\1<hidden>", endpoint)))


def line(
    request: Request,
    *,
    now: float,
    accessor: str,
    description: str = "",
    status: int | None = None,
    reason: str = "",
) -> bytes:
    """One event. ``status`` None: the request has begun. ``now`` is Unix seconds.

    ``reason`` says which rule decided, where a permission was missing.
    """
    stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")
    stamp = stamp.replace("+00:00", "Z")
    auth = {"accessor_id": accessor}
    if description:
        auth["description"] = _cut(description)
    payload: dict[str, object] = {
        "id": request.id,
        "version": "1",
        "type": "HTTPEvent",
        "timestamp": stamp,
        "auth": auth,
        "request": {
            "operation": _cut(request.operation),
            "endpoint": hidden(request.endpoint),
            "remote_addr": request.address,
            "user_agent": _cut(request.user_agent),
            "host": _cut(request.host),
        },
        "stage": START if status is None else COMPLETE,
    }
    if status is not None:
        payload["response"] = {"status": str(status)} | ({"error": _cut(reason)} if reason else {})
    event = {"created_at": stamp, "event_type": "audit", "payload": payload}
    return json.dumps(event, separators=(",", ":")).encode("ascii") + b"\n"


def _cut(text: str) -> str:
    return text if len(text) <= WORD_CHARS_MAX else text[:WORD_CHARS_MAX] + "…"
