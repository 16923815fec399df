"""The hash of a request, by which it finds the same host and the same leg of a split again.

Pure. A cookie that is wanted and missing is made here; the caller sets it with the answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from proxy.balance.xxh64 import rotl, xxh64
from proxy.durations import seconds
from proxy.http1.head import Request

_MASK = (1 << 64) - 1


class RequestHash:
    """The hashes of one request. All policies of the request see the same made cookies."""

    def __init__(self, request: Request, source_ip: str, rng: random.Random) -> None:
        self._request = request
        self._source_ip = source_ip
        self._rng = rng
        self._made: dict[str, str] = {}
        #: ``Set-Cookie`` values for the answer.
        self.cookies: list[str] = []

    def by(self, load_balancer: Mapping[str, Any]) -> int | None:
        """The hash by a resolver's hash policies; None when none of them finds anything."""
        if load_balancer.get("Policy") == "source_ip_hash":
            return xxh64(self._source_ip.encode())
        made: int | None = None
        for policy in load_balancer.get("HashPolicies") or ():
            value = self._value(policy)
            if value is not None:
                one = xxh64(value.encode())
                made = one if made is None else (rotl(made, 1) ^ one) & _MASK
                if policy.get("Terminal"):
                    break
        return made

    def draw(self, load_balancer: Mapping[str, Any], node: str, size: int) -> int | None:
        """A number below ``size`` that the request draws again each time, for a split by name.

        The hash goes through another one with the split's name, so that neither two splits nor
        split and choice of host hang together.
        """
        found = self.by(load_balancer)
        return None if found is None else xxh64(node.encode(), found) % size

    def _value(self, policy: Mapping[str, Any]) -> str | None:
        if policy.get("SourceIP"):
            return self._source_ip
        name = str(policy.get("FieldValue") or "")
        match policy.get("Field"):
            case "header":
                return self._request.get(name)
            case "query_parameter":
                pairs = self._request.target.partition("?")[2].split("&")
                return next((v for k, _, v in (p.partition("=") for p in pairs) if k == name), None)
            case "cookie":
                return self._cookie(name, policy.get("CookieConfig") or {})
            case _:
                return None

    def _cookie(self, name: str, config: Mapping[str, Any]) -> str | None:
        pairs = (self._request.get("cookie") or "").replace(",", ";").split(";")
        found = (p.strip().partition("=") for p in pairs)
        value = next((v.strip('"') for k, _, v in found if k == name), None) or self._made.get(name)
        if value is not None:
            return value
        session, ttl_s = bool(config.get("Session")), seconds(config.get("TTL"), 0.0)
        if not session and ttl_s <= 0:
            return None
        value = self._made[name] = f"{self._rng.getrandbits(64):016x}"
        parts = [f'{name}="{value}"']
        if not session:
            parts.append(f"Max-Age={max(1, round(ttl_s))}")
        if config.get("Path"):
            parts.append(f"Path={config['Path']}")
        parts.append("HttpOnly")
        self.cookies.append("; ".join(parts))
        return value
