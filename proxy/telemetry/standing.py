"""Metrics of upstreams, their hosts, and what happened to connections (contract D.14).

Pure: they are read where they stand when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from proxy.telemetry.family import Family, Samples

if TYPE_CHECKING:
    from proxy.balance.hosts import Host
    from proxy.l7.guard import Guard
    from proxy.l7.hosts import TargetHosts
    from proxy.l7.request_state import UpstreamState
    from proxy.l7.routes import Chain

_OF_UPSTREAM = ("upstream",)
_OF_TARGET = ("upstream", "target")


STATES = ("healthy", "warning", "ejected", "draining")
#: Why a host gets no requests: failures in a row, or what a probe says.
REASONS = ("failures", "probe")
Groups = Mapping[tuple[str, str], "TargetHosts"]


def families(
    upstreams: Iterable[UpstreamState],
    events: Mapping[tuple[str, str], int],
    guard: Guard,
    now: float,
    *,
    per_endpoint: bool,
) -> list[Family]:
    """All of them. Hosts have a sample of their own only ``per_endpoint``."""
    states = list(upstreams)
    groups = {
        (state.service, name): hosts
        for state in states
        for name, hosts in state.hosts.items()
    }  # fmt: skip
    priority = {
        (state.service, name): number
        for state in states
        for name, number in _priorities(state.chain).items()
    }
    return [
        *_upstreams(states),
        *_refused(states, events, guard),
        *_ejections(groups, now),
        *_targets(groups, priority, now),
        *_balancing(groups, now, per_endpoint=per_endpoint),
        *_events(events),
    ]


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
    retried: Samples = {}
    split: Samples = {}
    for state in states:
        for condition, count in state.retried.items():
            _add(retried, (state.service, condition), count)
        for leg in {leg.node for legs in state.chain.splits.values() for leg in legs}:
            _add(split, (state.service, leg), state.split[leg])
    yield Family("retries_total", "counter", ("upstream", "condition"), retried)
    yield Family("split_total", "counter", ("upstream", "leg"), split)


def _add(samples: Samples, key: tuple[str, ...], count: int) -> None:
    """Two upstreams may lead to one service."""
    samples[key] = samples.get(key, 0.0) + count


def _refused(
    states: list[UpstreamState], events: Mapping[tuple[str, str], int], guard: Guard
) -> Iterator[Family]:
    """What was over a limit: of an upstream, or with upstream "" of this service itself."""
    over: Samples = {}
    for state in states:
        for limit, count in state.admission.refused.items():
            _add(over, (state.service, limit), count)
    over["", "connections"] = float(
        events.get(("refused", "overflow"), 0) + events.get(("refused", "upstream_overflow"), 0)
    )
    over["", "concurrency"] = float(guard.crowded)
    yield Family("overflow_total", "counter", ("upstream", "limit"), over)
    limited: Samples = {(route,): float(count) for route, count in guard.rate.refused.items()}
    yield Family("rate_limited_total", "counter", ("route",), limited)


def _priorities(chain: Chain) -> dict[str, int]:
    """Whose turn each target is: 0 for those that are asked first."""
    found: dict[str, int] = {}
    for resolver in chain.resolvers.values():
        for number, target in enumerate((resolver.target, *resolver.failover)):
            found[target.id] = min(number, found.get(target.id, number))
    return found


def _ejections(groups: Groups, now: float) -> Iterator[Family]:
    ejections: Samples = {}
    ejected: Samples = {}
    for key, hosts in groups.items():
        probes = hosts.probes
        ejections[*key, "failures"] = float(hosts.ejections)
        ejections[*key, "probe"] = float(probes.taken_out if probes else 0)
        ejected[*key, "failures"] = float(len(hosts.outliers.ejected(now)))
        ejected[*key, "probe"] = float(len(probes.down) if probes else 0)
    labels = (*_OF_TARGET, "reason")
    yield Family("ejections_total", "counter", labels, ejections)
    yield Family("ejected", "gauge", labels, ejected)


def _targets(
    groups: Groups, priority: Mapping[tuple[str, str], int], now: float
) -> Iterator[Family]:
    exhausted: Samples = {key: float(hosts.budget.exhausted) for key, hosts in groups.items()}
    yield Family("retry_budget_exhausted_total", "counter", _OF_TARGET, exhausted)
    tokens: Samples = {key: hosts.budget.left(now) for key, hosts in groups.items()}
    yield Family("retry_budget_tokens", "gauge", _OF_TARGET, tokens)
    counted: Samples = {}
    for key, hosts in groups.items():
        out, number = hosts.out(now), str(priority.get(key, 0))
        for state in STATES:
            counted[*key, state, number] = 0.0
        for host in hosts.hosts:
            counted[*key, _state(host, out), number] += 1.0
    yield Family("endpoints", "gauge", (*_OF_TARGET, "state", "priority"), counted)


def _state(host: Host, out: frozenset[object]) -> str:
    if host.key in out:
        return "ejected"
    if host.weight <= 0:
        return "draining"
    return "warning" if host.warning else "healthy"


def _balancing(groups: Groups, now: float, *, per_endpoint: bool) -> Iterator[Family]:
    labels = (*_OF_TARGET, "policy") + (("endpoint",) if per_endpoint else ())
    picks: Samples = {}
    averages: Samples = {}
    shares: Samples = {}
    for key, hosts in groups.items():
        policy = hosts.name or "adaptive"
        if not per_endpoint:
            picks[*key, policy] = float(hosts.picks)
            continue
        means, parts = hosts.policy.averages(now), hosts.policy.shares()
        for host in hosts.hosts:
            at = (*key, policy, f"{host.address}:{host.port}")
            picks[at] = float(hosts.picked(host))
            averages[at], shares[at] = means.get(host.key, 0.0), parts.get(host.key, 0.0)
    yield Family("lb_picks_total", "counter", labels, picks)
    yield Family("lb_ewma_seconds", "gauge", labels, averages)
    yield Family("lb_target_share", "gauge", labels, shares)


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
