"""Local rate limit of a service: token buckets, one for the instance and one for each route
(contract C.3, ``RateLimits``). Pure; ``now`` is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.permissions import FullMatch


class Bucket:
    """Tokens that come at a rate, up to a burst."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second = per_second
        self.burst = max(1.0, burst or per_second)
        self._tokens = self.burst
        self._at = 0.0

    def take(self, now: float) -> float:
        """Take one; 0.0 when there was one, else the seconds until there is."""
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.per_second)
            self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.per_second


@dataclass(frozen=True, slots=True)
class _Route:
    form: str
    path: str
    bucket: Bucket


class RateLimit:
    """The buckets of one instance. A route's bucket counts instead of the instance's."""

    def __init__(self, given: Mapping[str, Any] | None) -> None:
        level = (given or {}).get("InstanceLevel") or {}
        self._whole = _bucket(level)
        self._routes: list[_Route] = []
        for each in level.get("Routes") or ():
            bucket = _bucket(each)
            form = next((f for f in ("Exact", "Prefix", "Regex") if each.get(f"Path{f}")), "")
            if bucket is not None and form:
                self._routes.append(_Route(form, str(each[f"Path{form}"]), bucket))
        #: How many were refused, by the route's path; "" is the bucket of the instance.
        self.refused: Counter[str] = Counter({each.path: 0 for each in self._routes})
        self.refused[""] = 0

    @property
    def is_set(self) -> bool:
        """Whether anything is limited."""
        return self._whole is not None or bool(self._routes)

    def wait_s(self, path: str, now: float, full_match: FullMatch) -> float:
        """0.0 for a request that may pass, else the seconds after which it might."""
        bucket, name = self._whole, ""
        for route in self._routes:
            if _fits(route, path, full_match):
                bucket, name = route.bucket, route.path
                break
        left_s = bucket.take(now) if bucket is not None else 0.0
        if left_s > 0:
            self.refused[name] += 1
        return left_s


def _fits(route: _Route, path: str, full_match: FullMatch) -> bool:
    match route.form:
        case "Exact":
            return path == route.path
        case "Prefix":
            return path.startswith(route.path)
        case _:
            return full_match(route.path, path)


def _bucket(given: Mapping[str, Any]) -> Bucket | None:
    rate, burst = given.get("RequestsPerSecond") or 0, given.get("RequestsMaxBurst") or 0
    return Bucket(float(rate), float(burst)) if rate > 0 else None
