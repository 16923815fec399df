"""What requests to upstreams share, and the state of one of them over its tries."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

from proxy.balance.hosts import Host
from proxy.http1.head import Request
from proxy.l7.admission import Admission
from proxy.l7.failover import Failover
from proxy.l7.hashing import RequestHash
from proxy.l7.hosts import TargetHosts
from proxy.l7.limits import UPGRADES, HttpLimits
from proxy.l7.pool import Connections
from proxy.l7.relaying import Replay
from proxy.l7.retries import Budget, Failure
from proxy.l7.routes import Chain, Choice
from proxy.l7.settings import UpstreamSettings
from proxy.permissions import FullMatch
from proxy.tls import Contexts


@dataclass(slots=True)
class UpstreamState:
    """What is known of one upstream; all its connections share it."""

    service: str
    chain: Chain
    settings: UpstreamSettings = field(default_factory=UpstreamSettings)
    hosts: dict[str, TargetHosts] = field(default_factory=dict)
    failovers: dict[str, Failover] = field(default_factory=dict)
    admission: Admission = field(default_factory=lambda: Admission(UpstreamSettings().limits))
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    #: Second tries by the condition that asked for them; requests by the leg that they took.
    retried: Counter[str] = field(default_factory=Counter)
    split: Counter[str] = field(default_factory=Counter)
    hedges: int = 0
    faults: int = 0
    mirrored: int = 0
    mirrors_left_out: int = 0
    mirrors: int = 0

    @property
    def retries(self) -> int:
        """How many second tries there were."""
        return self.retried.total()

    def proceed(self) -> None:
        """Wake as many of those that wait as may begin."""
        for _ in range(self.admission.free()):
            while self.waiting and self.waiting[0].done():
                self.waiting.popleft()
            if not self.waiting:
                return
            self.admission.begin()
            self.waiting.popleft().set_result(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What requests need of the proxy. ``wall`` is the time of the calendar, for what has an end
    that people wrote down."""

    pool: Connections
    limits: HttpLimits
    contexts: Callable[[], Contexts | None]
    trust_domain: Callable[[], str]
    full_match: FullMatch
    rng: random.Random
    now: Callable[[], float]
    wall: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    #: Another upstream of this proxy by the name of its service.
    upstream: Callable[[str], UpstreamState | None]
    #: The protocols that a request may switch to.
    upgrades: Callable[[], Collection[str]] = lambda: UPGRADES
    #: Hears of what had its time: a try, or the making of a connection.
    timed_out: Callable[[str], None] = lambda _: None


@dataclass(slots=True)
class RequestState:
    """The state of one request over its tries."""

    request: Request
    replay: Replay
    choice: Choice
    hashes: RequestHash
    deadline: float
    tried: list[Host] = field(default_factory=list)
    number: int = 0
    budget: Budget | None = None
    headers: tuple[tuple[str, str], ...] = ()
    #: The host for the next try where it was chosen before, and how the last try ended.
    found: tuple[TargetHosts, Host] | None = None
    failure: Failure | None = None
