"""The upstreams of one proxy as requests see them: brought in step with what the proxy is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from proxy.balance.hosts import Policy as HostPolicy
from proxy.l7.admission import Admission
from proxy.l7.hosts import TargetHosts
from proxy.l7.outbound import targets_of
from proxy.l7.prober import probe
from proxy.l7.request_state import Surroundings, UpstreamState
from proxy.l7.routes import Chain, Resolver
from proxy.l7.settings import Limits, UpstreamSettings
from proxy.source import MeshState

log = logging.getLogger("lictor.proxy.l7.upstreams")

HTTP2 = frozenset({"http2", "grpc"})
_DEFAULT = UpstreamSettings()


class Upstreams(Mapping[str, UpstreamState]):
    """By the keys of their listeners."""

    def __init__(
        self,
        around: Surroundings,
        around2: Surroundings,
        *,
        forget: Callable[[str, int], None],
    ) -> None:
        """``around2`` is for HTTP/2; ``forget`` closes what is kept to a place."""
        self._around = around
        self._around2 = around2
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._held: dict[str, UpstreamState] = {}
        self._probing: dict[tuple[str, str], asyncio.Task[None]] = {}

    def __getitem__(self, key: str) -> UpstreamState:
        return self._held[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def named(self, service: str) -> UpstreamState | None:
        """An upstream by its service."""
        return next((each for each in self._held.values() if each.service == service), None)

    def update(self, state: MeshState) -> None:
        """Work by this state. Requests under way go on by what they began with."""
        now = self._loop.time()
        names = {u.key: u.name for u in state.own.upstreams} if state.own else {}
        for key, chain in state.chains.items():
            settings = state.settings.get(key, _DEFAULT)
            known = self._held.get(key)
            if known is None:
                known = self._held[key] = UpstreamState(
                    service=names.get(key, ""), chain=chain, settings=settings
                )
                known.admission = Admission(_limits(settings, chain.protocol))
                _warn(known)
            elif known.chain != chain or known.settings != settings:
                known.chain, known.settings = chain, settings
                known.admission.limits = _limits(settings, chain.protocol)
                known.failovers.clear()
                known.proceed()
                _warn(known)
            self._update_hosts(key, state, now)
        for key in set(self._held) - set(state.chains):
            del self._held[key]
        for key, target in set(self._probing):
            if key not in self._held or target not in self._held[key].hosts:
                self._probing.pop((key, target)).cancel()

    def _update_hosts(self, key: str, state: MeshState, now: float) -> None:
        upstream = self._held[key]
        wanted, near = targets_of(upstream.chain), _near(upstream.chain)
        for name, (target, balancer) in wanted.items():
            own = state.locality if name in near and state.locality.region else None
            held = upstream.hosts.get(name)
            if held is None or (held.target, held.load_balancer, held.settings, held.own) != (
                target, balancer, upstream.settings, own,
            ):  # fmt: skip
                held = TargetHosts(target, balancer, upstream.settings, now, own=own)
                upstream.hosts[name] = held
                self._probe(key, name, held)
            for gone in held.update(state.hosts.get(name, ()), now):
                self._forget(gone.address, gone.port)
            self._advance(held.policy)
        for name in set(upstream.hosts) - set(wanted):
            del upstream.hosts[name]

    def _probe(self, key: str, name: str, hosts: TargetHosts) -> None:
        before = self._probing.pop((key, name), None)
        if before is not None:
            before.cancel()
        if hosts.settings.probing is None:
            return
        around = self._around2 if self._held[key].chain.protocol in HTTP2 else self._around

        def current() -> bool:
            return key in self._held and self._held[key].hosts.get(name) is hosts

        task = around.spawn(probe(hosts, around, current), f"probes {name}")
        self._probing[key, name] = task

    def _advance(self, policy: HostPolicy) -> None:
        """Let a policy make its table in slices, between which the loop goes on."""
        if policy.advance():
            self._loop.call_soon(self._advance, policy)


def _warn(upstream: UpstreamState) -> None:
    for problem in upstream.settings.problems:
        log.warning(
            "setting of an upstream is not used upstream=%s problem=%s", upstream.service, problem
        )


def _limits(settings: UpstreamSettings, protocol: str) -> Limits:
    """Over HTTP/2 requests share connections: only requests are bounded."""
    limits = settings.limits
    if protocol in HTTP2 and limits.connections_max:
        return replace(limits, connections_max=limits.requests_max)
    return limits


def _near(chain: Chain) -> frozenset[str]:
    """The targets whose near hosts are preferred."""
    resolvers: list[Resolver] = [each for each in chain.resolvers.values() if each.by_locality]
    return frozenset(t.id for each in resolvers for t in (each.target, *each.failover))
