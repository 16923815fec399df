"""Whether a request that failed is tried again (contract D.7).

A retry may never make a request happen twice that must not, never outlasts the request's time, and
never costs more than a share of the traffic: a service in trouble must not drown in second tries.
Pure; ``now`` and dice are given.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, replace

from proxy.http1.head import Response
from proxy.http2 import grpc

#: A body is kept for another try up to this size.
REPLAY_MAX_BYTES = 65_536
RATIO, PER_SECOND_MIN, WINDOW_S = 0.2, 10.0, 10.0
CONCURRENT_SHARE, CONCURRENT_MIN = 0.2, 3
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.025, 0.25
PER_TRY_MIN_S, RETRY_AFTER_MAX_S = 0.25, 3600
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_GATEWAY = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What a route says. ``conditions`` are Envoy's names; retries without any condition are for
    failures in which the request certainly did not happen."""

    retries: int = 0
    conditions: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    non_idempotent: bool = False

    def for_all_methods(self) -> RetryPolicy:
        """The same also for requests that change something."""
        return replace(self, non_idempotent=True)


NO_RETRIES = RetryPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How one try ended. ``status`` 0: no response came; ``sent``: some of the request may have
    reached the host; ``reset``: the connection broke after that."""

    status: int = 0
    sent: bool = True
    reset: bool = False
    timed_out: bool = False
    #: Of a gRPC call that ended with its head: its status.
    grpc: int | None = None
    #: What the answer asked for, at most RETRY_AFTER_MAX_S.
    retry_after_s: float = 0.0


def wanted(policy: RetryPolicy, method: str, failure: Failure) -> bool:
    """Whether the route asks for another try after such an end, and the method allows it."""
    return bool(condition(policy, method, failure))


def condition(policy: RetryPolicy, method: str, failure: Failure) -> str:
    """By which condition it asks for one, in Envoy's words; "" where it does not."""
    if not failure.sent and not failure.status:  # it certainly did not happen
        return "connect-failure" if policy.retries > 0 else ""
    if failure.grpc and (wants_grpc(policy, failure.grpc)):
        # Calls are all POST: whoever names a status knows that they may be repeated.
        return next(name for name, code in grpc.CONDITIONS.items() if code == failure.grpc)
    if method not in _IDEMPOTENT and not policy.non_idempotent:
        return ""
    status = failure.status
    if status in policy.statuses:
        return "retriable-status-codes"
    if status:
        fits = {
            "5xx": status >= 500,
            "gateway-error": status in _GATEWAY,
            "retriable-4xx": status == 409,
            "envoy-ratelimited": status == 429,
        }
    else:
        last = "deadline-exceeded" if failure.timed_out else "reset"
        fits = dict.fromkeys(("5xx", "gateway-error", last), True)
    return next((name for name, does in fits.items() if does and name in policy.conditions), "")


def wants_grpc(policy: RetryPolicy, status: int) -> bool:
    """Whether a route asks for another try after this gRPC status; after ``unavailable`` also a
    route that names nothing (contract D.7)."""
    if not policy.conditions and not policy.statuses:
        return policy.retries > 0 and status == grpc.UNAVAILABLE
    return any(grpc.CONDITIONS.get(name) == status for name in policy.conditions)


def per_try_s(
    policy: RetryPolicy, method: str, total_s: float, set_s: float | None, *, last: bool
) -> float:
    """How long one try may take; 0 for as long as the request has left.

    Half of the whole where another try would follow a timeout, so that it has time for it.
    """
    if set_s is not None:
        return set_s
    if last or not total_s or not wanted(policy, method, Failure(timed_out=True)):
        return 0.0
    return max(PER_TRY_MIN_S, total_s / 2)


def retry_after_s(head: Response) -> float:
    """The pause that an answer asks for, in whole seconds (RFC 9110, section 10.2.3); dates are
    not read."""
    given = (head.get("retry-after") or "").strip()
    if not given.isascii() or not given.isdigit() or len(given) > 6:
        return 0.0
    return float(min(int(given), RETRY_AFTER_MAX_S))


def backoff_s(attempt: int, rng: random.Random) -> float:
    """The pause before try ``attempt`` (1 for the first retry): full jitter."""
    return rng.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (attempt - 1)))


class Budget:
    """What retries one group of hosts may cost: a share of the first tries of the last seconds and
    a floor, and a share of what is under way."""

    def __init__(self) -> None:
        self._firsts: deque[float] = deque()
        self._retries: deque[float] = deque()
        self.active = 0
        self.retrying = 0
        self.exhausted = 0

    def first(self, now: float) -> None:
        """A request is tried for the first time."""
        self._firsts.append(now)
        self._forget(now)

    def left(self, now: float) -> float:
        """How many retries the share of the last seconds still allows."""
        self._forget(now)
        return RATIO * len(self._firsts) + PER_SECOND_MIN * WINDOW_S - len(self._retries)

    def take(self, now: float) -> bool:
        """Whether one more retry may be made; it then counts."""
        most = max(CONCURRENT_MIN, CONCURRENT_SHARE * self.active)
        if self.left(now) < 1 or self.retrying + 1 > most:
            self.exhausted += 1
            return False
        self._retries.append(now)
        return True

    def _forget(self, now: float) -> None:
        for times in (self._firsts, self._retries):
            while times and times[0] < now - WINDOW_S:
                times.popleft()
