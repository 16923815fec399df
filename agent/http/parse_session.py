"""The body of `session/create` (http-api contract 3)."""

from __future__ import annotations

from typing import Any

from agent.durations import DurationError, format_ns, parse_ns
from agent.errors import RequestError
from agent.http.decode import (
    DecodeFailure,
    Fields,
    Shape,
    duration_ns,
    load,
    objects,
    string,
    strings,
)
from agent.http.parse import decode_failed
from raftstore.records import SERF_HEALTH, CheckId, Json, NodeName, ServiceCheckRef, Session

_SECOND_NS = 1_000_000_000
#: Longest TTL, in nanoseconds, as in Consul; the shortest is `session_ttl_min`.
TTL_MAX_NS = 24 * 3600 * _SECOND_NS
#: A lock delay given as a number below this means seconds, as in Consul; others are nanoseconds.
_SECONDS_BELOW = 1000


def _lock_delay(name: str, value: Json) -> int:
    delay = duration_ns(name, value)
    if isinstance(value, int | float) and delay < _SECONDS_BELOW:
        delay = int(value * _SECOND_NS)
    return max(delay, 0)


_CHECK = Shape("ServiceCheck", {"ID": ("id", string), "Namespace": ("namespace", string)})
_FIELDS: Fields = {
    "LockDelay": ("lock_delay_ns", _lock_delay),
    "Node": ("node", string),
    "Name": ("name", string),
    "Checks": ("checks", strings),
    "NodeChecks": ("node_checks", strings),
    "ServiceChecks": ("service_checks", objects(_CHECK.read)),
    "Behavior": ("behavior", string),
    "TTL": ("ttl", string),
}
SESSION = Shape("Session", _FIELDS)
_KNOWN = frozenset(name.lower() for name in _FIELDS)


def session(body: bytes, *, session_id: str, node: str, ttl_min_s: float) -> Session:
    """A new session, by default of ``node``. Unknown fields mean nothing. Raises RequestError."""
    found: dict[str, Any] = {}
    if body:
        try:
            value = load(body)
            if isinstance(value, dict):
                value = {key: item for key, item in value.items() if key.lower() in _KNOWN}
            found = SESSION.read("", value)
        except DecodeFailure as error:
            raise decode_failed(error) from None
    behavior: Any = found.get("behavior") or "release"
    if behavior not in ("release", "delete"):
        raise RequestError(500, f"Invalid Behavior setting '{behavior}'")
    ttl = found.get("ttl", "")
    checks = found.get("checks")
    by_default = () if checks == () else (SERF_HEALTH,)
    services = found.get("service_checks")
    return Session(
        id=session_id,
        name=found.get("name", ""),
        node=NodeName(found.get("node") or node),
        lock_delay_ns=found.get("lock_delay_ns", 15 * _SECOND_NS),
        behavior=behavior,
        ttl=ttl,
        ttl_ns=_ttl_ns(ttl, round(ttl_min_s * _SECOND_NS)),
        node_checks=tuple(CheckId(item) for item in found.get("node_checks", by_default)),
        service_checks=None
        if services is None
        else tuple(
            ServiceCheckRef(CheckId(item.get("id", "")), item.get("namespace", ""))
            for item in services
        ),
        checks=None if checks is None else tuple(CheckId(item) for item in checks),
    )


def _ttl_ns(text: str, least: int) -> int:
    if not text:
        return 0
    try:
        ttl = parse_ns(text)
    except DurationError as error:
        raise RequestError(500, f"Session TTL '{text}' invalid: {error}") from None
    if ttl and not least <= ttl <= TTL_MAX_NS:
        between = f"[{format_ns(least)}={format_ns(TTL_MAX_NS)}]"
        raise RequestError(500, f"Invalid Session TTL '{ttl}', must be between {between}")
    return ttl
