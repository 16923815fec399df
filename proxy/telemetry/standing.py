"""Metrics of upstreams, their hosts, and what happened to connections (contract D.14).

Pure: they are read where they stand when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxy.l7.hosts import TargetHosts
    from proxy.l7.request_state import UpstreamState

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``kind`` is counter or gauge; ``labels`` are its labels' names."""

    name: str
    kind: str
    labels: tuple[str, ...]
    samples: Samples

    def lines(self) -> Iterator[tuple[Labels, float]]:
        """Each sample; a metric without any stands at zero, so that it is known beforehand."""
        known = self.samples or {("",) * len(self.labels): 0.0}
        for values, number in sorted(known.items()):
            yield tuple(zip(self.labels, values, strict=True)), number


_OF_UPSTREAM = ("upstream",)
_OF_TARGET = ("upstream", "target")


def families(
    upstreams: Iterable[UpstreamState], events: Mapping[tuple[str, str], int], now: float
) -> list[Family]:
    """All of them."""
    states = list(upstreams)
    groups = {
        (state.service, name): hosts
        for state in states
        for name, hosts in state.hosts.items()
    }  # fmt: skip
    return [*_upstreams(states), *_targets(groups, now), *_events(events)]


def _upstreams(states: list[UpstreamState]) -> Iterator[Family]:
    readers: tuple[tuple[str, Callable[[UpstreamState], int]], ...] = (
        ("hedges_total", lambda state: state.hedges),
        ("faults_total", lambda state: state.faults),
        ("mirrored_total", lambda state: state.mirrored),
        ("mirrors_left_out_total", lambda state: state.mirrors_left_out),
    )
    for name, read in readers:
        samples: Samples = {}
        for state in states:  # two upstreams may lead to one service
            samples[state.service,] = samples.get((state.service,), 0.0) + read(state)
        yield Family(name, "counter", _OF_UPSTREAM, samples)
    standing_in: Samples = {
        (state.service, target): float(failover.current > 0)
        for state in states
        for target, failover in state.failovers.items()
    }
    yield Family("failover_active", "gauge", _OF_TARGET, standing_in)


def _targets(groups: Mapping[tuple[str, str], TargetHosts], now: float) -> Iterator[Family]:
    picks: Samples = {
        (*key, hosts.name or "adaptive"): float(hosts.picks) for key, hosts in groups.items()
    }
    yield Family("lb_picks_total", "counter", (*_OF_TARGET, "policy"), picks)
    ejections: Samples = {key: float(hosts.ejections) for key, hosts in groups.items()}
    yield Family("ejections_total", "counter", _OF_TARGET, ejections)
    exhausted: Samples = {key: float(hosts.budget.exhausted) for key, hosts in groups.items()}
    yield Family("retry_budget_exhausted_total", "counter", _OF_TARGET, exhausted)
    tokens: Samples = {key: hosts.budget.left(now) for key, hosts in groups.items()}
    yield Family("retry_budget_tokens", "gauge", _OF_TARGET, tokens)
    ejected: Samples = {}
    counted: Samples = {}
    for key, hosts in groups.items():
        out = hosts.outliers.ejected(now)
        ejected[key] = float(len(out))
        drained = sum(host.weight <= 0 for host in hosts.hosts)
        counted[*key, "ejected"] = float(len(out))
        counted[*key, "draining"] = float(drained)
        counted[*key, "healthy"] = float(max(0, len(hosts.hosts) - len(out) - drained))
    yield Family("ejected", "gauge", _OF_TARGET, ejected)
    yield Family("endpoints", "gauge", (*_OF_TARGET, "state"), counted)


def _events(events: Mapping[tuple[str, str], int]) -> Iterator[Family]:
    """By reason. Reasons are words of ours, so there are few."""
    for name, event in (
        ("intention_cut_total", "cut"),
        ("tls_handshake_failures_total", "handshake"),
        ("connections_refused_total", "refused"),
        ("dial_failures_total", "dial"),
    ):
        samples: Samples = {
            (reason,): float(count) for (of, reason), count in events.items() if of == event
        }
        yield Family(name, "counter", ("reason",), samples)


def shown(upstreams: Mapping[str, UpstreamState], now: float) -> dict[str, Any]:
    """Upstreams, their hosts and the hosts' standing, for people."""
    return {
        key: {
            "retries": upstream.retries,
            "hedges": upstream.hedges,
            "faults": upstream.faults,
            "mirrored": upstream.mirrored,
            "mirrors_left_out": upstream.mirrors_left_out,
            "running": upstream.admission.running,
            "waiting": upstream.admission.waiting,
            "overflows": upstream.admission.overflows,
            "targets": {
                name: {
                    "policy": hosts.name or "adaptive",
                    "picks": hosts.picks,
                    "hosts": [f"{h.address}:{h.port}" for h in hosts.hosts],
                    "ejected": sorted(str(k) for k in hosts.outliers.ejected(now)),
                    "retries_refused": hosts.budget.exhausted,
                }
                for name, hosts in upstream.hosts.items()
            },
        }
        for key, upstream in upstreams.items()
    }
