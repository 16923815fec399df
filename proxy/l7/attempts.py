"""One try of a request at one host, and two of them at once."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

from proxy.balance.hosts import Host
from proxy.errors import HttpViolation, PipeClosed
from proxy.http1 import forward
from proxy.http1.forward import About
from proxy.l7 import mirror
from proxy.l7.hosts import TargetHosts
from proxy.l7.pipe import Pipe
from proxy.l7.pool import Peer
from proxy.l7.relaying import Began, Exchange, Outgoing, ask, give, upgrade_wanted
from proxy.l7.request_state import RequestState, Surroundings
from proxy.l7.retries import Failure
from proxy.l7.routes import Target
from proxy.spiffe import SpiffeId

#: Beside what is about one hop only.
_NOT_ONWARD = frozenset({"expect", "x-lictor-mirror"})
Fly = Coroutine[Any, Any, "Flight"]


@dataclass(slots=True)
class Flight:
    """A try. It counts as under way until it has landed.

    ``asked_at`` is when there was a connection for it: making one says nothing about how long the
    host takes for the requests that will follow, so balancing does not count it."""

    hosts: TargetHosts
    host: Host
    peer: Peer
    one: RequestState
    began_at: float
    asked_at: float
    repeats: bool
    pipe: Pipe | Exchange | None = None
    result: Began | Failure = field(default_factory=Failure)
    failed: bool = True
    landed: bool = False


class Attempts:
    """Sends requests of one client's connection to hosts."""

    def __init__(self, around: Surroundings, source_ip: str) -> None:
        self._around = around
        self._source_ip = source_ip

    async def fly(
        self,
        hosts: TargetHosts,
        host: Host,
        one: RequestState,
        try_s: float,
        *,
        hedge: bool = False,
    ) -> Flight:
        """Ask one host, for at most so long (0: as long as the request has). The caller lands it;
        when this raises it has landed."""
        around = self._around
        now = around.now()
        flight = Flight(
            hosts, host, peer_of(hosts.target, host, around.trust_domain()), one, now, now,
            repeats=one.budget is not None and (one.number > 0 or hedge),
        )  # fmt: skip
        hosts.started(host, flight.began_at)
        if flight.repeats and one.budget is not None:
            one.budget.retrying += 1
        try:
            flight.pipe, flight.result = await self._ask(flight.peer, one, try_s, flight)
        except asyncio.CancelledError:
            flight.failed = False  # another was quicker, or nobody waits any more
            self.land(flight)
            raise
        except HttpViolation:
            flight.failed = False  # the client broke the rules: that says nothing about the host
            self.land(flight)
            raise
        except BaseException:
            self.land(flight)
            raise
        result = flight.result
        if isinstance(result, Failure) and result.timed_out and around.now() < one.deadline:
            around.timed_out("per_try")
        if isinstance(flight.result, Began):
            hosts.latencies.add(around.now() - flight.began_at)
        return flight

    def land(self, flight: Flight) -> None:
        """A try is over."""
        if flight.landed:
            return
        flight.landed = True
        around, one = self._around, flight.one
        if flight.repeats and one.budget is not None:
            one.budget.retrying -= 1
        # A client that went away says nothing about the host that was to answer it.
        blamed = flight.failed and not one.replay.client.gone
        now = around.now()
        flight.hosts.finished(
            flight.host, now, now - flight.asked_at, failed=blamed, draw=around.rng.random()
        )

    async def race(self, first: Fly, after_s: float, second: Callable[[], Fly | None]) -> Flight:
        """The first of two tries that has an answer; the second begins only when the first has
        none after so long, and ``second`` allows it. The other one is reset."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(first)]
        won: Flight | None = None
        try:
            done, _ = await asyncio.wait(tasks, timeout=after_s)
            if not done and (more := second()) is not None:
                tasks.append(loop.create_task(more))
            pending = set(tasks)
            while pending and won is None:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    flight = task.result()
                    if won is None and (isinstance(flight.result, Began) or not pending):
                        won = flight
            assert won is not None
            return won
        finally:
            for task in tasks:
                if not task.done():
                    task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Flight) and ended is not won:
                    if isinstance(ended.result, Began):
                        ended.failed = False
                    if ended.pipe is not None:
                        ended.pipe.abort()
                    self.land(ended)

    async def _ask(
        self, peer: Peer, one: RequestState, try_s: float, flight: Flight | None = None
    ) -> tuple[Pipe | Exchange | None, Began | Failure]:
        around = self._around
        left_s = one.deadline - around.now()
        if left_s <= 0:
            return None, Failure(timed_out=True, sent=one.number > 0)
        if try_s:
            left_s = min(left_s, try_s)
        out = outgoing(one, self._source_ip, around.upgrades())
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
        except (OSError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                around.timed_out("connect")
            # Whoever has no time left is told so, and not that nobody is there.
            return None, Failure(sent=False, timed_out=around.now() >= one.deadline)
        if flight is not None:
            flight.asked_at = around.now()
        result = await ask(pipe, out, one.request, one.replay, around.limits, timeout_s)
        if not isinstance(result, Began):
            pipe.abort()
            return None, result
        return pipe, result

    async def copy(self, hosts: TargetHosts, host: Host, one: RequestState) -> None:
        """Send a copy whose answer nobody waits for. Raises OSError, TimeoutError, HttpViolation
        for one that came to nothing."""
        around = self._around
        peer = peer_of(hosts.target, host, around.trust_domain())
        pipe, result = await self._ask(peer, one, 0.0)
        if pipe is None or not isinstance(result, Began):
            raise PipeClosed("no answer to a copy")
        try:
            whole = await give(pipe, result, mirror.Nowhere(), (), around.limits)
        except BaseException:
            pipe.abort()
            raise
        if whole:
            around.pool.keep(peer, pipe, around.now())
        else:
            pipe.finish()


def peer_of(target: Target, host: Host, trust_domain: str) -> Peer:
    """Where a host is, and whose identity it must have."""
    place = host.address, host.port
    return _peer(trust_domain, target.datacenter, target.service, target.subset, *place)


@functools.lru_cache(maxsize=4096)
def _peer(
    trust_domain: str, datacenter: str, service: str, subset: str, address: str, port: int
) -> Peer:
    identity = SpiffeId.service(trust_domain, datacenter, service)
    return Peer(address, port, frozenset({identity}), subset)


def outgoing(one: RequestState, source_ip: str, upgrades: Collection[str] = ()) -> Outgoing:
    """The request as it goes to the host."""
    request, choice = one.request, one.choice
    about = About(source_ip, choice.resolver.target.service)
    headers = forward.onward(request, without=_NOT_ONWARD)
    for changes in choice.request_headers:
        headers = forward.changed(headers, changes, request, about)
    if request.get("x-request-id") is None:
        headers.append(("X-Request-Id", str(uuid.uuid4())))
    if request.get("host") is None:
        headers.append(("Host", choice.resolver.target.service))
    if switching := upgrade_wanted(request, upgrades):
        headers += [("Connection", "Upgrade"), ("Upgrade", switching)]
    if one.number:
        headers.append(("X-Lictor-Attempt", str(one.number + 1)))
    headers += one.headers
    query = request.target.partition("?")
    return Outgoing(request.method, choice.path + query[1] + query[2], headers, switching)
