"""The hosts of each target: who may be asked, who is asked next, and what retries may cost."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from proxy.balance.adaptive import Adaptive
from proxy.balance.ewma import PeakEWMA
from proxy.balance.hashed import Maglev, RingHash
from proxy.balance.hosts import Host, Policy
from proxy.balance.least import LeastConnections, LeastRequest
from proxy.balance.turns import Random, WeightedRoundRobin
from proxy.balance.xxh64 import rotl, xxh64
from proxy.http1.head import Request
from proxy.l7.outliers import OutlierConfig, Outliers
from proxy.l7.retries import Budget
from proxy.l7.routes import Target

_MASK = (1 << 64) - 1
#: By the name in `LoadBalancer.Policy`. Without a name: the mesh's own default.
POLICIES: dict[str, Callable[[], Policy]] = {
    "": Adaptive,
    "round_robin": WeightedRoundRobin,
    "weighted_round_robin": WeightedRoundRobin,
    "random": Random,
    "least_request": LeastRequest,
    "least_connections": LeastConnections,
    "p2c_ewma": PeakEWMA,
    "adaptive": Adaptive,
    "ring_hash": RingHash,
    "maglev": Maglev,
    "source_ip_hash": Maglev,
}


class TargetHosts:
    """One target: its hosts, their standing, its retry budget."""

    def __init__(
        self, target: Target, load_balancer: Mapping[str, Any], outliers: OutlierConfig, now: float
    ) -> None:
        self.target = target
        self.load_balancer = load_balancer
        self.name = str(load_balancer.get("Policy") or "")
        choices = (load_balancer.get("LeastRequestConfig") or {}).get("ChoiceCount")
        if self.name == "least_request" and choices:
            self.policy: Policy = LeastRequest(int(choices))
        else:
            self.policy = POLICIES.get(self.name, Adaptive)()
        self.outliers = Outliers(outliers, now)
        self.budget = Budget()
        self.hosts: tuple[Host, ...] = ()
        self.ejections = 0

    def update(self, hosts: Sequence[Host], now: float) -> None:
        """These are the hosts now."""
        if tuple(hosts) != self.hosts:
            self.hosts = tuple(hosts)
            self.policy.update(hosts, now)
            self.outliers.update([host.key for host in hosts])

    def usable(self, now: float) -> bool:
        """Whether any host may be asked."""
        out = self.outliers.ejected(now)
        return any(host.weight > 0 and host.key not in out for host in self.hosts)

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None,
        tried: Collection[Host],
    ) -> Host | None:
        """The next host: one that was not tried before if there is one."""
        out = self.outliers.ejected(now)
        ejected = {host for host in self.hosts if host.key in out}
        chosen = self.policy.pick(now, rng, hash_value=hash_value, excluded={*tried, *ejected})
        if chosen is None and tried:
            chosen = self.policy.pick(now, rng, hash_value=hash_value, excluded=ejected)
        return chosen

    def started(self, host: Host, now: float) -> None:
        """A request goes to a host."""
        self.policy.started(host, now)
        self.outliers.started(host.key, now)
        self.budget.active += 1

    def finished(self, host: Host, now: float, latency_s: float, *, failed: bool) -> None:
        """It ended."""
        self.policy.finished(host, now, latency_s, failed)
        self.ejections += self.outliers.ended(host.key, now, failed=failed)
        self.budget.active -= 1


def hash_of(load_balancer: Mapping[str, Any], request: Request, source_ip: str) -> int | None:
    """The hash of a request by a resolver's hash policies; None when none finds anything."""
    if load_balancer.get("Policy") == "source_ip_hash":
        return xxh64(source_ip.encode())
    made: int | None = None
    for policy in load_balancer.get("HashPolicies") or ():
        value = _hashed_value(policy, request, source_ip)
        if value is not None:
            one = xxh64(value.encode())
            made = one if made is None else (rotl(made, 1) ^ one) & _MASK
            if policy.get("Terminal"):
                break
    return made


def _hashed_value(policy: Mapping[str, Any], request: Request, source_ip: str) -> str | None:
    if policy.get("SourceIP"):
        return source_ip
    name = str(policy.get("FieldValue") or "")
    match policy.get("Field"):
        case "header":
            return request.get(name)
        case "query_parameter":
            pairs = request.target.partition("?")[2].split("&")
            return next((v for k, _, v in (p.partition("=") for p in pairs) if k == name), None)
        case "cookie":
            pairs = (request.get("cookie") or "").split(";")
            found = (p.strip().partition("=") for p in pairs)
            return next((v for k, _, v in found if k == name), None)
        case _:
            return None
