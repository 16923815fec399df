"""Requests of the local application to an upstream: routed, balanced, and tried again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from proxy import paths
from proxy.balance.hosts import Host
from proxy.errors import AmbiguousPath, HttpViolation
from proxy.http1 import forward
from proxy.http1.body import Framing
from proxy.http1.forward import About
from proxy.http1.head import Request, Response
from proxy.http2 import grpc
from proxy.l7 import faults, hedging, mirror
from proxy.l7.admission import Entry
from proxy.l7.attempts import Attempts, Flight, outgoing, peer_of
from proxy.l7.failover import Failover
from proxy.l7.hashing import RequestHash
from proxy.l7.hosts import TargetHosts
from proxy.l7.messages import Answer, Body
from proxy.l7.outbound_plan import OutboundPlan, judged, note, told
from proxy.l7.pipe import Pipe
from proxy.l7.pool import Pool
from proxy.l7.relaying import Began, Exchange, Replay, give, switch
from proxy.l7.request_state import RequestState, Surroundings, UpstreamState
from proxy.l7.retries import Failure, RetryPolicy, backoff_s, condition, per_try_s
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
        #: HTTP/2 has streams of its own and no short way.
        self._shortens = isinstance(around.pool, Pool)
        #: What the short way began and left.
        self._left: RequestState | None = None

    async def handle(self, request: Request, body: Body, answer: Answer) -> None:
        """Route one request and see it through."""
        state = self._upstream()
        taken_up, self._left = self._left, None
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
        one = taken_up or self._begun(state, request, path, Replay(body))
        one.request, one.replay = request, Replay(body)
        if not await self._admitted(state, one.deadline):
            answer.notes.flag(entry.OVERFLOW)
            await answer.whole(503, "upstream overflow", [("X-Lictor-Overloaded", "true")])
            return
        try:
            await self._tries(state, one, answer)
        finally:
            state.admission.leave()
            state.proceed()
        if settings.mirroring is not None:
            self._mirror(state, settings.mirroring, one, path)

    def _begun(
        self, state: UpstreamState, request: Request, path: str, replay: Replay
    ) -> RequestState:
        """A request at its beginning: its way through the chain, its time."""
        around = self._around
        hashes = RequestHash(request, self._source_ip, around.rng)
        choice = state.chain.choose(request, path, around.rng, around.full_match, hashes)
        timeout_s = grpc.lowered(choice.timeout_s, request)
        deadline = around.now() + timeout_s if timeout_s else math.inf
        for leg in choice.legs:
            state.split[leg] += 1
        return RequestState(request, replay, choice, hashes, deadline)

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
            if one.failure is not None:
                await self._pause(one, one.failure)
            found, one.found = one.found or self._select(state, one), None
            if found is None:
                answer.notes.flag(entry.NO_HOST)
                await answer.whole(503, "no healthy upstream")
                return
            hosts, host = found
            note(answer.notes, one.choice, hosts.target, host, one.number + 1)
            if one.budget is None:
                one.budget = hosts.budget
                one.budget.first(around.now())
            since, first = answer.notes.clock(), not one.number
            failure = await self._try(state, hosts, host, one, answer)
            if not first:
                answer.notes.tried_again(since, failure.status if failure else answer.status)
            if failure is None:
                return
            if one.failure is None:
                break
        if one.number:
            answer.notes.flag(entry.RETRIES)
        await answer.whole(*told(answer.notes, failure))

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
        hash_value = one.hashes.by(resolver.load_balancer)
        hosts = state.hosts.get(resolver.target.id)
        if hosts is not None and not (resolver.failover or one.tried):  # nobody else to look at
            host = hosts.pick(now, around.rng, hash_value=hash_value, tried=(), again=False)
            if host is not None:
                return hosts, host
        groups = [state.hosts.get(t.id) for t in (resolver.target, *resolver.failover)]
        usable = [hosts is not None and hosts.usable(now) for hosts in groups]
        failover = state.failovers.get(resolver.target.id)
        if failover is None:
            delay_s = state.settings.failback_delay_s
            failover = state.failovers[resolver.target.id] = Failover(delay_s)
        first = failover.choose(usable, now)
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
        """One try at one host; None when its response was passed on, whatever it says. Where there
        is to be another one, the request knows of this end."""
        one.failure = None
        flight = await self._flight(state, hosts, host, one)
        try:
            result = flight.result
            if not isinstance(result, Began):
                self._again(state, one, host, result)
                return result
            flight.failed, failure = judged(result)
            assert flight.pipe is not None
            answer.notes.tls = flight.pipe.tls
            if self._again(state, one, host, failure):
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

    def _again(self, state: UpstreamState, one: RequestState, host: Host, failure: Failure) -> bool:
        """Whether there is another try after this end; it is then paid for. A response that is not
        to be repeated is passed on as it came."""
        now = self._around.now()
        again = bool(
            one.number < one.choice.retry.retries
            and not one.replay.client.gone
            and one.replay.repeatable
            and now + failure.retry_after_s < one.deadline
            and (why := condition(self._retry_policy(state, one), one.request.method, failure))
            and one.budget is not None
            and one.budget.take(now)
        )
        if again:
            state.retried[why] += 1
            one.number += 1
            one.tried.append(host)
            one.failure = failure
        return again

    async def _give(
        self, pipe: Pipe | Exchange, flight: Flight, began: Began, one: RequestState, answer: Answer
    ) -> None:
        around, headers = self._around, self.answer_headers(began.head, one)
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

    def answer_headers(self, head: Response, one: RequestState) -> list[tuple[str, str]]:
        """The headers of an answer as the route and its hashes want them."""
        headers = forward.onward(head)
        if one.choice.response_headers:
            about = About(self._source_ip, one.choice.resolver.target.service)
            for changes in one.choice.response_headers:
                headers = forward.changed(headers, changes, one.request, about)
        headers += [("Set-Cookie", value) for value in one.hashes.cookies]
        return headers

    # The short way.

    def plan(self, request: Request, notes: Notes, replay: Replay) -> OutboundPlan | None:
        """The short way of a request that needs no waiting; else None, and the long way goes on
        with what was chosen."""
        around, state = self._around, self._upstream()
        settings = state.settings
        self._left = None
        if not self._shortens:
            return None
        if settings.faults or settings.mirroring or settings.hedging or not state.admission.is_free:
            return None
        try:
            path = paths.canonical(request.target)
        except AmbiguousPath:
            return None
        one = self._begun(state, request, path, replay)
        found = one.found = self._select(state, one)
        if found is None:
            return None
        self._left = one
        hosts, host = found
        now, peer = around.now(), peer_of(hosts.target, host, around.trust_domain())
        pipe = around.pool.kept(peer, now)
        if not isinstance(pipe, Pipe):
            return None
        if not pipe.writable:
            around.pool.keep(peer, pipe, now)
            return None
        self._left = one.found = None
        notes.upstream = state.service
        note(notes, one.choice, hosts.target, host, 1)
        notes.tls = pipe.tls
        one.budget = hosts.budget
        one.budget.first(now)
        state.admission.enter()
        flight = Flight(hosts, host, peer, one, now, now, repeats=False, pipe=pipe)
        hosts.started(host, now)
        return OutboundPlan(self, state, flight, notes)

    def forget(self) -> None:
        """What the short way began and left will not be taken up."""
        self._left = None

    def sent(self, state: UpstreamState, one: RequestState) -> tuple[bytes, float]:
        """What is sent on the short way, and how long its answer may take (0: any time)."""
        out = outgoing(one, self._source_ip)
        raw = forward.request_bytes(out.method, out.target, out.headers, one.replay.framing)
        left_s = one.deadline - self._around.now()
        return raw, self._per_try_s(state, one) or (0.0 if left_s == math.inf else left_s)

    def answered(self, state: UpstreamState, flight: Flight, head: Response) -> bool:
        """The head of an answer has come on the short way; False: the long way tries again."""
        flight.hosts.latencies.add(self._around.now() - flight.began_at)
        flight.failed, failure = judged(Began(head, Framing()))
        if not self._again(state, flight.one, flight.host, failure):
            return True
        self._left = flight.one
        return False

    def failed(
        self, state: UpstreamState, flight: Flight, failure: Failure, notes: Notes
    ) -> tuple[int, str] | None:
        """None came: what to say instead, or None when the long way goes on."""
        one = flight.one
        if failure.timed_out and self._around.now() < one.deadline:
            self._around.timed_out("per_try")
        may_have_happened = one.request.method not in ("GET", "HEAD")
        if failure.reset and one.replay.repeatable and not may_have_happened:
            # A kept connection may have ended at the very moment: a fresh one to it shows.
            flight.failed = False
            one.found = flight.hosts, flight.host
        elif not self._again(state, one, flight.host, failure):
            return told(notes, failure)
        self._left = one
        return None

    def short_over(self, state: UpstreamState, flight: Flight, *, whole: bool) -> None:
        """A request has left the short way."""
        self._attempts.land(flight)
        state.admission.leave()
        if state.waiting:
            state.proceed()
        assert isinstance(flight.pipe, Pipe)
        if whole:
            self._around.pool.keep(flight.peer, flight.pipe, self._around.now())
        else:
            flight.pipe.abort()

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


def targets_of(chain: Chain) -> Mapping[str, tuple[Target, Mapping[str, object]]]:
    """Every target with the balancing that its resolver asks for."""
    found: dict[str, tuple[Target, Mapping[str, object]]] = {}
    for resolver in chain.resolvers.values():
        for target in (*resolver.failover, resolver.target):
            found[target.id] = (target, resolver.load_balancer)
    return found
