"""Requests of the local application to an upstream: routed, balanced, and tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from proxy import paths
from proxy.balance.hosts import Host
from proxy.errors import AmbiguousPath, HttpViolation
from proxy.http1 import forward
from proxy.http1.forward import About
from proxy.http1.head import Request
from proxy.http2 import grpc
from proxy.l7 import faults, hedging, mirror
from proxy.l7.admission import Entry
from proxy.l7.attempts import Attempts, Flight
from proxy.l7.failover import Failover
from proxy.l7.hashing import RequestHash
from proxy.l7.hosts import TargetHosts
from proxy.l7.messages import Answer, Body
from proxy.l7.pipe import Pipe
from proxy.l7.relaying import Began, Exchange, Replay, give, switch
from proxy.l7.request_state import RequestState, Surroundings, UpstreamState
from proxy.l7.retries import Failure, RetryPolicy, backoff_s, per_try_s, retry_after_s, wanted
from proxy.l7.routes import Chain, Target
from proxy.l7.settings import Mirroring
from proxy.telemetry import entry
from proxy.telemetry.entry import Notes


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
        self._attempts = Attempts(around, source_ip)

    async def handle(self, request: Request, body: Body, answer: Answer) -> None:
        """Route one request and see it through."""
        around, state = self._around, self._upstream()
        answer.notes.upstream = state.service
        try:
            path = paths.canonical(request.target)
        except AmbiguousPath as error:
            answer.notes.flag(entry.BAD_REQUEST)
            await answer.whole(400, str(error))
            return
        settings = state.settings
        if settings.faults is not None and await self._faulted(state, request, answer):
            return
        hashes = RequestHash(request, self._source_ip, around.rng)
        choice = state.chain.choose(request, path, around.rng, around.full_match, hashes)
        now = around.now()
        timeout_s = grpc.lowered(choice.timeout_s, request)
        deadline = now + timeout_s if timeout_s else float("inf")
        if not await self._admitted(state, deadline):
            answer.notes.flag(entry.OVERFLOW)
            await answer.whole(503, "upstream overflow", [("X-Lictor-Overloaded", "true")])
            return
        one = RequestState(request, Replay(body), choice, hashes, deadline)
        try:
            await self._tries(state, one, answer)
        finally:
            state.admission.leave()
            state.proceed()
        if settings.mirroring is not None:
            self._mirror(state, settings.mirroring, one, path)

    async def _faulted(self, state: UpstreamState, request: Request, answer: Answer) -> bool:
        """Carry out a fault that is wanted; whether the request has its answer by that."""
        around = self._around
        assert state.settings.faults is not None
        fault = faults.decide(state.settings.faults, request, around.wall(), around.rng)
        if fault == faults.NONE:
            return False
        state.faults += 1
        if fault.delay_s:
            await around.sleep(fault.delay_s)
        if not fault.status:
            return False
        await answer.whole(fault.status, "fault injected", [("X-Lictor-Fault", "abort")])
        return True

    async def _admitted(self, state: UpstreamState, deadline: float) -> bool:
        """Whether the upstream's limits let the request begin, now or soon enough."""
        admission = state.admission
        entered = admission.enter()
        if entered is not Entry.WAIT:
            return entered is Entry.GO
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        state.waiting.append(waiter)
        left_s = max(0.0, deadline - self._around.now())
        try:
            async with asyncio.timeout(None if left_s == float("inf") else left_s):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                admission.leave()  # it was its turn at this very moment
                state.proceed()
            else:
                waiter.cancel()
                admission.give_up()
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    async def _tries(self, state: UpstreamState, one: RequestState, answer: Answer) -> None:
        around = self._around
        while True:
            found = self._select(state, one)
            if found is None:
                answer.notes.flag(entry.NO_HOST)
                await answer.whole(503, "no healthy upstream")
                return
            hosts, host = found
            _note(answer.notes, hosts.target, host, one.number + 1)
            if one.budget is None:
                one.budget = hosts.budget
                one.budget.first(around.now())
            failure = await self._try(state, hosts, host, one, answer)
            if failure is None:
                return
            if not failure.status and not self._may_repeat(state, one, failure):
                break
            state.retries += 1
            one.number += 1
            one.tried.append(host)
            await self._pause(one, failure)
        if one.number:
            answer.notes.flag(entry.RETRIES)
        await _told(answer, failure)

    async def _pause(self, one: RequestState, failure: Failure) -> None:
        around = self._around
        pause_s = max(failure.retry_after_s, backoff_s(one.number, around.rng))
        await around.sleep(min(pause_s, max(0.0, one.deadline - around.now())))

    def _select(self, state: UpstreamState, one: RequestState) -> tuple[TargetHosts, Host] | None:
        """The host for the next try: of the target itself, or of the first that stands in for it.

        A try after others prefers hosts that were not tried, also those that stand in.
        """
        around, resolver = self._around, one.choice.resolver
        now = around.now()
        groups = [state.hosts.get(t.id) for t in (resolver.target, *resolver.failover)]
        usable = [hosts is not None and hosts.usable(now) for hosts in groups]
        failover = state.failovers.get(resolver.target.id)
        if failover is None:
            delay_s = state.settings.failback_delay_s
            failover = state.failovers[resolver.target.id] = Failover(delay_s)
        first = failover.choose(usable, now)
        hash_value = one.hashes.by(resolver.load_balancer)
        order = [] if first is None else [first, *(n for n in range(len(groups)) if n > first)]
        for again in (False, True):
            for at in order if one.tried or again else order[:1]:
                hosts = groups[at]
                if hosts is None:
                    continue
                host = hosts.pick(
                    now, around.rng, hash_value=hash_value, tried=one.tried, again=again
                )
                if host is not None:
                    return hosts, host
        for hosts in groups:
            if hosts is not None:
                host = hosts.pick(now, around.rng, hash_value=hash_value, tried=(), panic=True)
                if host is not None:
                    return hosts, host
        return None

    async def _try(
        self,
        state: UpstreamState,
        hosts: TargetHosts,
        host: Host,
        one: RequestState,
        answer: Answer,
    ) -> Failure | None:
        """One try at one host; None when its response was passed on, whatever it says."""
        flight = await self._flight(state, hosts, host, one)
        try:
            result = flight.result
            if not isinstance(result, Began):
                return result
            status = grpc.number(result.grpc_status)
            flight.failed = result.head.status >= 500 or result.head.status == 429
            assert flight.pipe is not None
            failure = Failure(
                status=result.head.status, grpc=status, retry_after_s=retry_after_s(result.head)
            )
            if self._may_repeat(state, one, failure):
                flight.pipe.abort()
                return failure
            await self._give(flight.pipe, flight, result, one, answer)
            if grpc.number(answer.grpc_status) in grpc.FAILURES:
                flight.failed = True
            return None
        finally:
            self._attempts.land(flight)

    async def _flight(
        self, state: UpstreamState, hosts: TargetHosts, host: Host, one: RequestState
    ) -> Flight:
        """A try, and perhaps a second one beside it when it is slow: the first that answers."""
        settings, try_s = state.settings, self._per_try_s(state, one)
        after_s = None
        if not one.number and one.replay.framing.empty:
            after_s = hedging.after_s(settings.hedging, one.request.method, hosts.latencies)
        if after_s is None:
            return await self._attempts.fly(hosts, host, one, try_s)

        def second() -> Coroutine[Any, Any, Flight] | None:
            now = self._around.now()
            other = hosts.pick(
                now,
                self._around.rng,
                hash_value=one.hashes.by(one.choice.resolver.load_balancer),
                tried=[host],
                again=False,
            )
            if other is None or one.budget is None or not one.budget.take(now):
                return None
            state.hedges += 1
            return self._attempts.fly(hosts, other, one, try_s, hedge=True)

        return await self._attempts.race(
            self._attempts.fly(hosts, host, one, try_s), after_s, second
        )

    def _per_try_s(self, state: UpstreamState, one: RequestState) -> float:
        return per_try_s(
            self._retry_policy(state, one),
            one.request.method,
            one.choice.timeout_s,
            state.settings.per_try_timeout_s,
            last=one.number >= one.choice.retry.retries,
        )

    @staticmethod
    def _retry_policy(state: UpstreamState, one: RequestState) -> RetryPolicy:
        policy = one.choice.retry
        if state.settings.retry_non_idempotent and not policy.non_idempotent:
            return policy.for_all_methods()
        return policy

    def _may_repeat(self, state: UpstreamState, one: RequestState, failure: Failure) -> bool:
        """Whether there is another try after this end; it is then paid for. A response that is not
        to be repeated is passed on as it came."""
        now = self._around.now()
        return (
            one.number < one.choice.retry.retries
            and not one.replay.client.gone
            and one.replay.repeatable
            and now + failure.retry_after_s < one.deadline
            and wanted(self._retry_policy(state, one), one.request.method, failure)
            and one.budget is not None
            and one.budget.take(now)
        )

    async def _give(
        self, pipe: Pipe | Exchange, flight: Flight, began: Began, one: RequestState, answer: Answer
    ) -> None:
        around, about = self._around, About(self._source_ip, one.choice.resolver.target.service)
        headers: Sequence[tuple[str, str]] = forward.passed_on(began.head.headers)
        for changes in one.choice.response_headers:
            headers = forward.changed(headers, changes, one.request, about)
        headers = [*headers, *(("Set-Cookie", value) for value in one.hashes.cookies)]
        try:
            if began.head.status == 101:
                answer.begun, answer.keep = True, False
                await switch(self._pipe, pipe, began, headers, around.limits)
            elif await give(pipe, began, answer, headers, around.limits):
                around.pool.keep(flight.peer, pipe, around.now())
                return
        except BaseException:
            pipe.abort()
            raise
        pipe.finish()

    # Copies.

    def _mirror(
        self, state: UpstreamState, mirroring: Mirroring, one: RequestState, path: str
    ) -> None:
        """Send a copy of a request that is over, if it is one of those to be copied."""
        around = self._around
        if around.wall() >= mirroring.until_at or not one.replay.whole:
            return
        if around.rng.random() * 100 >= mirroring.percent:
            return
        other = around.upstream(mirroring.upstream)
        if other is None or state.mirrors >= mirror.COPIES_MAX:
            state.mirrors_left_out += 1
            return
        state.mirrors += 1
        around.spawn(self._copy(state, other, one, path), "proxy mirror")

    async def _copy(
        self, state: UpstreamState, other: UpstreamState, one: RequestState, path: str
    ) -> None:
        around, request = self._around, one.request
        try:
            choice = other.chain.choose(request, path, around.rng, around.full_match, one.hashes)
            replay, deadline = one.replay, around.now() + choice.timeout_s
            body = mirror.CopiedBody(replay.kept, replay.framing, replay.trailers)
            copied = RequestState(
                request, Replay(body), choice, one.hashes, deadline, headers=(mirror.MARK,)
            )
            found = self._select(other, copied)
            if found is None:
                state.mirrors_left_out += 1
                return
            async with asyncio.timeout(choice.timeout_s or None):
                await self._attempts.copy(*found, copied)
            state.mirrored += 1
        except (OSError, TimeoutError, HttpViolation):
            state.mirrors_left_out += 1
        finally:
            state.mirrors -= 1


def _note(notes: Notes, target: Target, host: Host, tries: int) -> None:
    notes.target, notes.endpoint, notes.tries = target.id, f"{host.address}:{host.port}", tries
    before, named, _ = target.id.partition(f"{target.service}.")
    notes.subset = before.rstrip(".") if named else ""


async def _told(answer: Answer, failure: Failure) -> None:
    if failure.timed_out:
        answer.notes.flag(entry.TIMEOUT)
        await answer.whole(504, "upstream request timeout")
    elif failure.status:
        await answer.whole(failure.status, "upstream failed")
    elif failure.sent:
        answer.notes.flag(entry.UPSTREAM_RESET)
        await answer.whole(502, "upstream connection broke off")
    else:
        answer.notes.flag(entry.NO_CONNECTION)
        await answer.whole(503, "no connection to any upstream host")


def targets_of(chain: Chain) -> Mapping[str, tuple[Target, Mapping[str, object]]]:
    """Every target with the balancing that its resolver asks for."""
    found: dict[str, tuple[Target, Mapping[str, object]]] = {}
    for resolver in chain.resolvers.values():
        for target in (*resolver.failover, resolver.target):
            found[target.id] = (target, resolver.load_balancer)
    return found
