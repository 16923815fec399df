"""What a token may be: its expiry, what an update may change, and how clients see it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.acl.definitions import stamp
from agent.acl.grants import fields
from agent.durations import format_s
from agent.errors import RequestError
from raftstore.definitions import ACLToken
from raftstore.records import Json

#: How far in the future a token may expire, in seconds (Consul's bounds).
EXPIRES_MIN_S = 60.0
EXPIRES_MAX_S = 24 * 3600.0


def expiry(given: Mapping[str, Any], now: float) -> float | None:
    """When a new token expires, in Unix seconds; None for never. Raises RequestError."""
    ttl_s, at = given.get("ttl_s", 0.0), given.get("expires_at")
    if ttl_s and at is not None:
        raise RequestError(500, "Token Expiration TTL and Expiration Time cannot both be set")
    if ttl_s < 0:
        raise RequestError(500, f"Token Expiration TTL '{format_s(ttl_s)}' should be > 0")
    if ttl_s:
        at = now + ttl_s
    if at is None:
        return None
    left = at - now
    if left < 0:
        raise RequestError(500, "ExpirationTime cannot be before CreateTime")
    shown = format_s(ttl_s or round(left, 3))
    if left > EXPIRES_MAX_S:
        most = format_s(EXPIRES_MAX_S)
        reason = f"ExpirationTime cannot be more than {most} in the future (was {shown})"
        raise RequestError(500, reason)
    if left < EXPIRES_MIN_S:
        least = format_s(EXPIRES_MIN_S)
        reason = f"ExpirationTime cannot be less than {least} in the future (was {shown})"
        raise RequestError(500, reason)
    return float(at)


def check_update(given: Mapping[str, Any], stored: ACLToken) -> None:
    """What an update may not change. Raises RequestError."""
    accessor = stored.accessor
    if given.get("secret") and given["secret"] != stored.secret:
        raise RequestError(500, "Changing a tokens SecretID is not permitted")
    if bool(given.get("local", False)) != bool(fields(stored.content).get("Local", False)):
        raise RequestError(500, f"cannot toggle local mode of {accessor}")
    if given.get("auth_method", "") not in {"", stored.auth_method}:
        raise RequestError(500, f"Cannot change AuthMethod of {accessor}")
    at = given.get("expires_at")
    if given.get("ttl_s") or (at is not None and not _same(at, stored.expires_at)):
        raise RequestError(500, f"Cannot change expiration time of {accessor}")


def _same(given: float, stored: float | None) -> bool:
    """Clients send back the text that they were shown."""
    return stored is not None and abs(given - stored) < 0.001


def shown(
    token: ACLToken,
    *,
    secret: str,
    policies: list[Json],
    roles: list[Json],
    identities: Mapping[str, Json],
) -> dict[str, Json]:
    """A token as clients see it."""
    kept = fields(token.content)
    found: dict[str, Json] = {
        "AccessorID": token.accessor,
        "SecretID": secret,
        "Description": kept.get("Description", ""),
    }
    if policies:
        found["Policies"] = policies
    if roles:
        found["Roles"] = roles
    found |= identities
    found["Local"] = bool(kept.get("Local", False))
    if token.auth_method:
        found["AuthMethod"] = token.auth_method
    if token.expires_at is not None:
        found["ExpirationTime"] = stamp(token.expires_at)
    return found | {
        "CreateTime": kept.get("CreateTime", ""),
        "Hash": kept.get("Hash", ""),
        "CreateIndex": token.create_index,
        "ModifyIndex": token.modify_index,
    }
