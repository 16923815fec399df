"""The connections without requests that stand, by who is at their other end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from proxy.authz import Policy
from proxy.config import ProxyConfig
from proxy.connection import Inbound
from proxy.departures import Departures
from proxy.revocations import Revocations
from proxy.session import Session
from proxy.source import MeshState
from proxy.spiffe import SpiffeId
from proxy.stats import ProxyStats
from proxy.telemetry import connection_log
from proxy.telemetry.connections import TCP
from proxy.telemetry.entry import IN, OUT
from proxy.telemetry.observer import Observer


class Sessions:
    """All of them. New rules cost by distinct clients, not by connections."""

    def __init__(self, config: ProxyConfig, stats: ProxyStats) -> None:
        self._stats = stats
        #: Hears of each that is over, and how long it lived.
        self.tell: Callable[[Session, float], None] = lambda session, lived_s: None
        self._counted = stats.connections
        self._all: set[Session] = set()
        self._by_identity: dict[SpiffeId, set[Session]] = {}
        #: What each upstream has of them.
        self.departures = Departures(config)
        #: Set while there is none.
        self.idle = asyncio.Event()
        self.idle.set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._all))

    def adopt(self, session: Session) -> None:
        """One more, inbound or outbound."""
        self._all.add(session)
        self.idle.clear()
        if isinstance(session.core, Inbound):
            self._stats.inbound_total += 1
            self._stats.inbound_active += 1
            self._counted.began(IN, TCP)
        else:
            self.departures.began(session.core)
            self._stats.outbound_total += 1
            self._stats.outbound_active += 1
            self._counted.began(OUT, TCP)

    def identified(self, session: Session) -> None:
        """Index an inbound connection by its client."""
        identity = session.identity
        if identity is not None:
            self._by_identity.setdefault(identity, set()).add(session)

    def ended(self, session: Session, now: float, *, tunnel: bool = False) -> None:
        """A connection is gone; or it was a ``tunnel``, and never one of these."""
        if session not in self._all:
            return
        self._all.discard(session)
        self.departures.ended(session.core)
        identity = session.identity
        if identity is not None:
            group = self._by_identity.get(identity, set())
            group.discard(session)
            if not group:
                self._by_identity.pop(identity, None)
        down, up = session.moved
        self._stats.downstream_bytes += down
        self._stats.upstream_bytes += up
        lived_s = now - session.began_at
        if not tunnel:
            self.tell(session, lived_s)
        if tunnel:
            self._stats.inbound_total -= 1
            self._stats.inbound_active -= 1
            self._counted.never_was(IN, TCP)
        elif isinstance(session.core, Inbound):
            self._stats.inbound_active -= 1
            self._counted.ended(IN, TCP, lived_s)
        else:
            self._stats.outbound_active -= 1
            self._counted.ended(OUT, TCP, lived_s)
        if not self._all:
            self.idle.set()

    def clients(self) -> dict[str, int]:
        """How many connections each client has, by its SPIFFE URI."""
        return {each.uri: len(group) for each, group in self._by_identity.items()}

    def cut_revoked(self, revoked: Revocations) -> None:
        """End those to or from the holder of a certificate that counts no more."""
        for session in self:
            peer = session.core.peer
            why = revoked.why(peer) if peer is not None else ""
            if why:
                session.run(session.core.revoked(why))

    def decide_again(self, policy: Policy, now: float) -> None:
        """End those of clients that the rules let in no more."""
        for identity, sessions in list(self._by_identity.items()):
            for session in () if policy.decide(identity).allowed else list(sessions):
                session.run(session.core.rules_changed(policy, now=now))


def told_to(observer: Observer, state: Callable[[], MeshState]) -> Callable[[Session, float], None]:
    """Who tells of connections that are over whoever is told of requests; nothing is made where
    nobody listens."""

    def tell(session: Session, lived_s: float) -> None:
        if not (observer.sinks or observer.taps):
            return
        ended = connection_log.Ended(
            ending=session.ending,
            lived_s=lived_s,
            tries=session.tries,
            target=session.target,
            tls=session.tls,
            peer_address=session.peer_address,
            moved=session.moved,
        )
        entry = connection_log.entry(session.core, ended, state(), observer.wall())
        if entry is not None:
            observer.tell(entry)

    return tell
