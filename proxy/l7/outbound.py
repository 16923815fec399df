"""Requests of the local application to an upstream: routed, balanced, and tried again."""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from proxy import paths
from proxy.balance.hosts import Host
from proxy.errors import AmbiguousPath
from proxy.http1 import forward
from proxy.http1.forward import About
from proxy.http1.head import Request
from proxy.http2 import grpc
from proxy.l7.hosts import TargetHosts, hash_of
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import Answer, Body
from proxy.l7.pipe import Pipe
from proxy.l7.pool import Connections, Peer
from proxy.l7.relaying import Began, Exchange, Outgoing, Replay, ask, give, switch, upgrade_wanted
from proxy.l7.retries import Budget, Failure, backoff_s, wanted
from proxy.l7.routes import Chain, Choice, Target
from proxy.permissions import FullMatch
from proxy.spiffe import SpiffeId
from proxy.tls import Contexts

#: Answers that count against a host.
_FAILED_FROM = 500


@dataclass(slots=True)
class UpstreamState:
    """What is known of one upstream; all its connections share it."""

    service: str
    chain: Chain
    hosts: dict[str, TargetHosts] = field(default_factory=dict)
    requests: int = 0
    retries: int = 0
    overflows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What requests need of the proxy."""

    pool: Connections
    limits: HttpLimits
    contexts: Callable[[], Contexts | None]
    trust_domain: Callable[[], str]
    full_match: FullMatch
    rng: random.Random
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class _Try:
    """The state of one request over its tries."""

    request: Request
    replay: Replay
    choice: Choice
    deadline: float
    tried: list[Host] = field(default_factory=list)
    number: int = 0
    budget: Budget | None = None


class OutboundHttp:
    """Serves the requests of one connection of the application."""

    def __init__(
        self,
        upstream: Callable[[], UpstreamState],
        pipe: Pipe,
        around: Surroundings,
        source_ip: str,
    ) -> None:
        self._upstream = upstream
        self._pipe = pipe
        self._around = around
        self._source_ip = source_ip

    async def handle(self, request: Request, body: Body, answer: Answer) -> None:
        """Route one request and see it through."""
        around, state = self._around, self._upstream()
        try:
            path = paths.canonical(request.target)
        except AmbiguousPath as error:
            await answer.whole(400, str(error))
            return
        if state.requests >= around.limits.requests_max:
            state.overflows += 1
            await answer.whole(503, "upstream overflow", [("X-Lictor-Overloaded", "true")])
            return
        choice = state.chain.choose(request, path, around.rng, around.full_match)
        now = around.now()
        timeout_s = grpc.lowered(choice.timeout_s, request)
        deadline = now + timeout_s if timeout_s else float("inf")
        one = _Try(request, Replay(body), choice, deadline)
        state.requests += 1
        try:
            await self._tries(state, one, answer)
        finally:
            state.requests -= 1

    async def _tries(self, state: UpstreamState, one: _Try, answer: Answer) -> None:
        around = self._around
        while True:
            hosts = self._usable(state, one.choice)
            host = (
                None
                if hosts is None
                else hosts.pick(
                    around.now(),
                    around.rng,
                    hash_value=hash_of(
                        one.choice.resolver.load_balancer, one.request, self._source_ip
                    ),
                    tried=one.tried,
                )
            )
            if hosts is None or host is None:
                await answer.whole(503, "no healthy upstream")
                return
            if one.budget is None:
                one.budget = hosts.budget
                one.budget.first(around.now())
            failure = await self._try(hosts, host, one, answer)
            if failure is None:
                return
            if not failure.status and not self._may_repeat(one, failure):
                break
            state.retries += 1
            one.number += 1
            one.tried.append(host)
            await self._pause(one)
        await _told(answer, failure)

    async def _pause(self, one: _Try) -> None:
        around = self._around
        pause_s = min(backoff_s(one.number, around.rng), max(0.0, one.deadline - around.now()))
        await around.sleep(pause_s)

    def _usable(self, state: UpstreamState, choice: Choice) -> TargetHosts | None:
        """The target itself, or the first that stands in for it and has a host to ask."""
        now, resolver = self._around.now(), choice.resolver
        found = [state.hosts.get(t.id) for t in (resolver.target, *resolver.failover)]
        there = [hosts for hosts in found if hosts is not None]
        return next((hosts for hosts in there if hosts.usable(now)), there[0] if there else None)

    async def _try(
        self, hosts: TargetHosts, host: Host, one: _Try, answer: Answer
    ) -> Failure | None:
        """One try at one host; None when its response was passed on, whatever it says."""
        around, began_at = self._around, self._around.now()
        peer = Peer(host.address, host.port, frozenset({self._identity(hosts.target)}))
        hosts.started(host, began_at)
        repeats = one.budget is not None and one.number > 0
        if repeats and one.budget is not None:
            one.budget.retrying += 1
        failed = True
        try:
            pipe, result = await self._ask(peer, one)
            if isinstance(result, Began):
                status = grpc.number(result.grpc_status)
                failed = result.head.status >= _FAILED_FROM or result.head.status == 429
                assert pipe is not None
                failure = Failure(status=result.head.status, grpc=status)
                if self._may_repeat(one, failure):
                    pipe.abort()
                    return failure
                await self._give(pipe, peer, result, one, answer)
                failed = failed or grpc.number(answer.grpc_status) in grpc.FAILURES
                return None
            return result
        finally:
            if repeats and one.budget is not None:
                one.budget.retrying -= 1
            # A client that went away says nothing about the host that was to answer it.
            blamed = failed and not one.replay.client.gone
            hosts.finished(host, around.now(), around.now() - began_at, failed=blamed)

    def _may_repeat(self, one: _Try, failure: Failure) -> bool:
        """Whether there is another try after this end; it is then paid for. A response that is not
        to be repeated is passed on as it came."""
        now = self._around.now()
        return (
            one.number < one.choice.retry.retries
            and not one.replay.client.gone
            and one.replay.repeatable
            and now < one.deadline
            and wanted(one.choice.retry, one.request.method, failure)
            and one.budget is not None
            and one.budget.take(now)
        )

    async def _ask(self, peer: Peer, one: _Try) -> tuple[Pipe | Exchange | None, Began | Failure]:
        around = self._around
        left_s = one.deadline - around.now()
        if left_s <= 0:
            return None, Failure(timed_out=True, sent=one.number > 0)
        out = self._outgoing(one)
        timeout_s = 0.0 if left_s == float("inf") else left_s
        kept = around.pool.kept(peer, around.now())
        if kept is not None:
            result = await ask(kept, out, one.request, one.replay, around.limits, timeout_s)
            if isinstance(result, Began):
                return kept, result
            kept.abort()
            certainly_not = not result.sent and not one.replay.client.gone
            if not certainly_not and not (result.reset and one.request.method in ("GET", "HEAD")):
                return None, result
            # It may have ended at the very moment: a fresh connection shows.
        connect_s = min(one.choice.resolver.connect_timeout_s, left_s)
        try:
            pipe = await around.pool.dial(peer, around.contexts(), connect_s)
        except (OSError, TimeoutError):
            return None, Failure(sent=False)
        result = await ask(pipe, out, one.request, one.replay, around.limits, timeout_s)
        if not isinstance(result, Began):
            pipe.abort()
            return None, result
        return pipe, result

    def _outgoing(self, one: _Try) -> Outgoing:
        request, choice = one.request, one.choice
        about = About(self._source_ip, choice.resolver.target.service)
        headers = [
            (name, value)
            for name, value in forward.passed_on(request.headers)
            if name.lower() != "expect"
        ]
        for changes in choice.request_headers:
            headers = forward.changed(headers, changes, request, about)
        if request.get("x-request-id") is None:
            headers.append(("X-Request-Id", str(uuid.uuid4())))
        if request.get("host") is None:
            headers.append(("Host", choice.resolver.target.service))
        if switching := upgrade_wanted(request):
            headers += [("Connection", "Upgrade"), ("Upgrade", switching)]
        if one.number:
            headers.append(("X-Lictor-Attempt", str(one.number + 1)))
        query = request.target.partition("?")
        return Outgoing(request.method, choice.path + query[1] + query[2], headers)

    async def _give(
        self, pipe: Pipe | Exchange, peer: Peer, began: Began, one: _Try, answer: Answer
    ) -> None:
        around, about = self._around, About(self._source_ip, one.choice.resolver.target.service)
        headers: Sequence[tuple[str, str]] = forward.passed_on(began.head.headers)
        for changes in one.choice.response_headers:
            headers = forward.changed(headers, changes, one.request, about)
        try:
            if began.head.status == 101:
                answer.begun, answer.keep = True, False
                await switch(self._pipe, pipe, began, headers, around.limits)
            elif await give(pipe, began, answer, headers, around.limits):
                around.pool.keep(peer, pipe, around.now())
                return
        except BaseException:
            pipe.abort()
            raise
        pipe.finish()

    def _identity(self, target: Target) -> SpiffeId:
        return SpiffeId.service(self._around.trust_domain(), target.datacenter, target.service)


async def _told(answer: Answer, failure: Failure) -> None:
    if failure.timed_out:
        await answer.whole(504, "upstream request timeout")
    elif failure.status:
        await answer.whole(failure.status, "upstream failed")
    elif failure.sent:
        await answer.whole(502, "upstream connection broke off")
    else:
        await answer.whole(503, "no connection to any upstream host")


def targets_of(chain: Chain) -> Mapping[str, tuple[Target, Mapping[str, object]]]:
    """Every target with the balancing that its resolver asks for."""
    found: dict[str, tuple[Target, Mapping[str, object]]] = {}
    for resolver in chain.resolvers.values():
        for target in (*resolver.failover, resolver.target):
            found[target.id] = (target, resolver.load_balancer)
    return found
