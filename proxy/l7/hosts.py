"""The hosts of each target: who may be asked, who is asked next, and what retries may cost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from proxy.balance.adaptive import Adaptive
from proxy.balance.ewma import PeakEWMA
from proxy.balance.hashed import Maglev, RingHash
from proxy.balance.hosts import Host, Policy
from proxy.balance.least import LeastConnections, LeastRequest
from proxy.balance.turns import Random, WeightedRoundRobin
from proxy.balance.warmup import Warmup
from proxy.l7 import locality
from proxy.l7.hedging import Latencies
from proxy.l7.locality import Locality
from proxy.l7.outliers import Outliers
from proxy.l7.probes import Probes
from proxy.l7.retries import Budget
from proxy.l7.routes import Target
from proxy.l7.settings import UpstreamSettings

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
#: Below this share of usable hosts, with nobody to stand in, all are asked again.
PANIC_SHARE = 0.5


class TargetHosts:
    """One target: its hosts, their standing, its retry budget."""

    def __init__(
        self,
        target: Target,
        load_balancer: Mapping[str, Any],
        settings: UpstreamSettings,
        now: float,
        *,
        own: Locality | None = None,
    ) -> None:
        """``own`` is where we stand, when near hosts are to be preferred."""
        self.target = target
        self.load_balancer = load_balancer
        self.settings = settings
        self.own = own
        self.name = str(load_balancer.get("Policy") or settings.balancer)
        self.policy = _policy(self.name, load_balancer)
        self.outliers = Outliers(settings.outliers, now)
        self.probes = Probes(settings.probing) if settings.probing else None
        # The tables of hashed hosts are too large to be made anew for every step of a weight.
        warms = settings.slow_start_s > 0 and not isinstance(self.policy, RingHash | Maglev)
        self._warmup = Warmup(settings.slow_start_s) if warms else None
        self.latencies = Latencies()
        self.budget = Budget()
        self.hosts: tuple[Host, ...] = ()
        #: The hosts as the policy knows them: their weights grow while they warm up.
        self._weighed: tuple[Host, ...] = ()
        self._levels: tuple[tuple[Host, ...], ...] = ()
        self.ejections = 0
        self._picked: Counter[tuple[str, str]] = Counter()
        self._picked_before = 0
        self.panics = 0

    def update(self, hosts: Sequence[Host], now: float) -> tuple[Host, ...]:
        """These are the hosts now; gives those that are gone."""
        before = self.hosts
        if tuple(hosts) == before:
            return ()
        self.hosts = tuple(hosts)
        self._forget_picks()
        if self._warmup is not None:
            self._warmup.update(hosts, now)
        self._weigh(now)
        keys = [host.key for host in self.hosts]
        self.outliers.update(keys)
        if self.probes is not None:
            self.probes.update(keys)
        if self.own is not None:
            levels: list[list[Host]] = [[] for _ in range(locality.LEVELS)]
            for host in self.hosts:
                levels[locality.level(self.own, Locality(host.region, host.zone))].append(host)
            self._levels = tuple(tuple(each) for each in levels)
        places = {(host.address, host.port) for host in self.hosts}
        return tuple(host for host in before if (host.address, host.port) not in places)

    @property
    def picks(self) -> int:
        """How many requests have gone to these hosts, and to those that are gone."""
        return self._picked_before + sum(self._picked.values())

    def picked(self, host: Host) -> int:
        """How many have gone to this one."""
        return self._picked[host.key]

    def _forget_picks(self) -> None:
        for key in self._picked.keys() - {host.key for host in self.hosts}:
            self._picked_before += self._picked.pop(key)

    def _weigh(self, now: float) -> None:
        warmup = self._warmup
        self._weighed = self.hosts if warmup is None else warmup.weighted(self.hosts, now)
        self.policy.update(self._weighed, now)

    def out(self, now: float) -> frozenset[object]:
        """The keys of hosts that are not to be asked now."""
        out = self.outliers.ejected(now)
        return out | self.probes.down if self.probes is not None else out

    def usable(self, now: float) -> bool:
        """Whether any host may be asked."""
        out = self.out(now)
        return any(host.weight > 0 and host.key not in out for host in self.hosts)

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None,
        tried: Collection[Host],
        again: bool = True,
        panic: bool = False,
    ) -> Host | None:
        """The next host: one that was not tried before if there is one.

        ``again``: else one that was. ``panic``: nobody stands in for these hosts, so that when
        too few are usable those that failed are asked as well.
        """
        if self._warmup is not None and self._warmup.due(now):
            self._weigh(now)
        keys = self.out(now)
        if not keys and not tried and not self._levels:
            chosen = self.policy.pick(now, rng, hash_value=hash_value, excluded=())
            if chosen is not None:
                return chosen
        before = {host.key for host in tried}
        far = self._far(keys, rng)
        policy = self.policy
        for excluded in (keys | before | far, keys | before, keys if again else None):
            if excluded is not None:
                hosts = {host for host in self._weighed if host.key in excluded}
                chosen = policy.pick(now, rng, hash_value=hash_value, excluded=hosts)
                if chosen is not None:
                    return chosen
        if not panic or len(self.hosts) - len(keys) >= PANIC_SHARE * len(self.hosts):
            return None
        chosen = policy.pick(now, rng, hash_value=hash_value, excluded=())
        self.panics += chosen is not None
        return chosen

    def _far(self, out: Collection[object], rng: random.Random) -> set[object]:
        """Hosts of the levels that this request does not go to."""
        if not self._levels:
            return set()
        counted = [
            (sum(host.weight > 0 and host.key not in out for host in each), len(each))
            for each in self._levels
        ]
        chosen = locality.drawn(counted, rng.random(), local_min=self.settings.local_hosts_min)
        if chosen is None:
            return set()
        return {host.key for at, each in enumerate(self._levels) if at != chosen for host in each}

    def started(self, host: Host, now: float) -> None:
        """A request goes to a host."""
        self._picked[host.key] += 1
        self.policy.started(host, now)
        self.outliers.started(host.key, now)
        self.budget.active += 1

    def finished(
        self, host: Host, now: float, latency_s: float, *, failed: bool, draw: float = 0.0
    ) -> None:
        """It ended. ``draw`` in [0, 1) is for ejections that are enforced in part."""
        self.policy.finished(host, now, latency_s, failed)
        self.ejections += self.outliers.ended(host.key, now, failed=failed, draw=draw)
        self.budget.active -= 1


def _policy(name: str, load_balancer: Mapping[str, Any]) -> Policy:
    choices = (load_balancer.get("LeastRequestConfig") or {}).get("ChoiceCount")
    if name == "least_request" and choices:
        return LeastRequest(int(choices))
    ring = load_balancer.get("RingHashConfig") or {}
    if name == "ring_hash" and ring:
        return RingHash(
            int(ring.get("MinimumRingSize") or 0), int(ring.get("MaximumRingSize") or 0)
        )
    return POLICIES.get(name, Adaptive)()
