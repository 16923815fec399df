"""One proxied connection as a state machine, inbound or outbound.

Inbound: accepted -> identified and authorised -> dial the app -> relay -> ended. Outbound:
accepted -> dial an endpoint, and the next if that fails -> check who answered -> relay -> ended.
Decides when to dial, relay, half-close, cut and give up; `session` carries it out and `relay` moves
the bytes. Reasons are stable words: metrics and logs count them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from proxy.authz import Decision, Policy
from proxy.certificate import PeerCertificate
from proxy.config import ProxyConfig
from proxy.effects import (
    Abort,
    Close,
    CloseWrite,
    Dial,
    Effect,
    HangUp,
    Record,
    Side,
    StartRelay,
)
from proxy.source import AppAddress, Endpoint
from proxy.spiffe import SpiffeId


class Phase(enum.Enum):
    """Where a connection stands."""

    HANDSHAKE = "handshake"
    DIALLING = "dialling"
    RELAYING = "relaying"
    ENDED = "ended"


_TO_UPSTREAM, _TO_DOWNSTREAM = CloseWrite(Side.UPSTREAM), CloseWrite(Side.DOWNSTREAM)


class Halves:
    """Which halves of a relayed connection have said that they send no more."""

    __slots__ = ("_down", "_up")

    def __init__(self) -> None:
        self._down = self._up = False

    @property
    def both(self) -> bool:
        """Whether the connection is finished."""
        return self._down and self._up

    def over(self, side: Side, *, flush_s: float) -> list[Effect]:
        """One half is over: pass that on; when both are, the connection is finished."""
        if side is Side.DOWNSTREAM:
            known, self._down, passed_on = self._down, True, _TO_UPSTREAM
        else:
            known, self._up, passed_on = self._up, True, _TO_DOWNSTREAM
        if known:
            return []
        return [passed_on, Close("finished", flush_s)] if self.both else [passed_on]


class Inbound:
    """A connection from the mesh to the local application."""

    __slots__ = (
        "_app",
        "_config",
        "_destination",
        "_ends_at",
        "_halves",
        "_local_connect_s",
        "deadline",
        "decision",
        "peer",
        "phase",
    )

    def __init__(
        self,
        *,
        destination: str,
        app: AppAddress,
        config: ProxyConfig,
        now: float,
        handshake_timeout_s: float | None = None,
        local_connect_timeout_s: float | None = None,
    ) -> None:
        self._destination = destination
        self._app = app
        self._config = config
        self._local_connect_s = local_connect_timeout_s or config.local_connect_timeout_s
        self._halves = Halves()
        self._ends_at: float | None = None
        self.phase = Phase.HANDSHAKE
        self.deadline: float | None = now + (handshake_timeout_s or config.handshake_timeout_s)
        self.peer: PeerCertificate | None = None
        self.decision: Decision | None = None

    @property
    def source(self) -> str:
        """The client's id as text, "" before it is known."""
        return self.peer.identity.uri if self.peer else ""

    def start(self, *, now: float) -> list[Effect]:
        """The connection was accepted; the peer speaks first."""
        return []

    def secured(
        self,
        peer: PeerCertificate,
        *,
        policy: Policy,
        now: float,
        lifetime_s: float | None = None,
    ) -> list[Effect]:
        """The handshake is complete and the peer is known: authorise it by today's rules.

        After ``lifetime_s`` the connection is closed.
        """
        if self.phase is not Phase.HANDSHAKE:
            return []
        self.peer = peer
        self.decision = policy.decide(peer.identity)
        if not self.decision.allowed:
            return [
                self._record("denied", "intention_denied", self.decision.reason),
                *self._close("intention_denied"),
            ]
        self.phase = Phase.DIALLING
        self.deadline = now + self._local_connect_s
        self._ends_at = None if lifetime_s is None else now + lifetime_s
        return [Dial(self._app)]

    def insecure(self, reason: str, detail: str, *, now: float) -> list[Effect]:
        """The handshake failed, or the certificate names nobody we could authorise."""
        if self.phase is not Phase.HANDSHAKE:
            return []
        return [self._record("handshake", reason, detail), *self._close(reason)]

    def dialled(self, peer: PeerCertificate | None, *, now: float) -> list[Effect]:
        """The application has accepted."""
        if self.phase is not Phase.DIALLING:
            return [HangUp()]
        self.phase = Phase.RELAYING
        self.deadline = self._ends_at
        return [StartRelay()]

    def dial_failed(self, reason: str, detail: str, *, now: float) -> list[Effect]:
        """The application cannot be reached: for layer 4 the connection is closed."""
        if self.phase is not Phase.DIALLING:
            return []
        return [
            self._record("dial", "local_connect_failure", detail),
            *self._close("local_connect_failure"),
        ]

    def over(self, side: Side, *, now: float) -> list[Effect]:
        """One half sends no more."""
        if self.phase is Phase.RELAYING:
            effects = self._halves.over(side, flush_s=self._config.flush_max_s)
            return self._finish(effects) if self._halves.both else effects
        return self._abort("peer_gone") if self.phase is not Phase.ENDED else []

    def lost(self, side: Side, reason: str, *, now: float) -> list[Effect]:
        """One half broke: so does the other."""
        return self._abort(reason) if self.phase is not Phase.ENDED else []

    def rules_changed(self, policy: Policy, *, now: float) -> list[Effect]:
        """Decide again under new rules; who may no longer be here is cut, with no grace."""
        if self.peer is None or self.phase is Phase.ENDED:
            return []
        decision = policy.decide(self.peer.identity)
        self.decision = decision
        if decision.allowed:
            return []
        return [
            self._record("cut", "intention_changed", decision.reason),
            *self._close("intention_changed"),
        ]

    def revoked(self, reason: str) -> list[Effect]:
        """The peer's certificate counts no more: cut, with no grace."""
        if self.phase is Phase.ENDED:
            return []
        word = "certificate_revoked"
        return [self._record("cut", word, reason), *self._close(word)]

    def drain(self, timeout_s: float, *, now: float) -> list[Effect]:
        """The proxy is stopping: what is not over in time is reset."""
        if self.phase is not Phase.ENDED:
            end = now + timeout_s
            self.deadline = end if self.deadline is None else min(self.deadline, end)
        return []

    def tick(self, *, now: float) -> list[Effect]:
        """The deadline may have come."""
        if self.deadline is None or now < self.deadline or self.phase is Phase.ENDED:
            return []
        match self.phase:
            case Phase.HANDSHAKE:
                reason = "handshake_timeout"
                return [
                    self._record("handshake", reason, "no handshake in time"),
                    *self._abort(reason),
                ]
            case Phase.DIALLING:
                return self.dial_failed(
                    "timeout", "the application did not accept in time", now=now
                )
            case _ if self._ends_at is not None and now >= self._ends_at:
                reason = "max_connection_age"
                return [
                    self._record("cut", reason, "the client's certificate has ended"),
                    *self._close(reason),
                ]
            case _:
                return self._abort("drain_timeout")

    def _record(self, event: str, reason: str, detail: str) -> Record:
        return Record(
            event=event,
            reason=reason,
            source=self.source,
            destination=self._destination,
            detail=detail,
        )

    def _close(self, reason: str) -> list[Effect]:
        return self._finish([Close(reason, self._config.linger_s)])

    def _abort(self, reason: str) -> list[Effect]:
        return self._finish([Abort(reason)])

    def _finish(self, effects: list[Effect]) -> list[Effect]:
        self.phase = Phase.ENDED
        self.deadline = None
        return effects


class Outbound:
    """A connection from the local application to a service of the mesh."""

    __slots__ = (
        "_candidates",
        "_config",
        "_connect_s",
        "_halves",
        "_last_failure",
        "deadline",
        "expected",
        "peer",
        "phase",
        "upstream",
    )

    def __init__(
        self,
        *,
        upstream: str,
        expected: SpiffeId,
        candidates: Sequence[Endpoint],
        config: ProxyConfig,
        connect_timeout_s: float | None = None,
    ) -> None:
        self.upstream = upstream
        self._candidates = list(candidates)[: config.dial_attempts_max]
        self._config = config
        self._connect_s = connect_timeout_s or config.upstream_connect_timeout_s
        self._halves = Halves()
        self._last_failure = "no_healthy_endpoint"
        self.phase = Phase.DIALLING
        self.deadline: float | None = None
        self.expected = expected
        self.peer: PeerCertificate | None = None

    @property
    def source(self) -> str:
        """Outbound connections are the local application's own."""
        return ""

    def start(self, *, now: float) -> list[Effect]:
        """The application connected to the upstream's port: dial the first endpoint."""
        return self._next(now) if self.phase is Phase.DIALLING else []

    def secured(
        self, peer: PeerCertificate, *, policy: Policy, now: float, lifetime_s: float | None = None
    ) -> list[Effect]:
        """Only the upstream half is secured, and that arrives as ``dialled``."""
        return []

    def insecure(self, reason: str, detail: str, *, now: float) -> list[Effect]:
        """The upstream half's handshake failed."""
        return self.dial_failed(reason, detail, now=now)

    def dialled(self, peer: PeerCertificate | None, *, now: float) -> list[Effect]:
        """An endpoint stands; it must be exactly the service that was asked for."""
        if self.phase is not Phase.DIALLING:
            return [HangUp()]
        if peer is None or peer.identity != self.expected:
            got = peer.identity.uri if peer else "nobody"
            self._last_failure = "bad_san"
            return [
                self._record("identity", "bad_san", f"expected {self.expected.uri}, got {got}"),
                HangUp(),
                *self._next(now),
            ]
        self.peer = peer
        self.phase = Phase.RELAYING
        self.deadline = None
        return [StartRelay()]

    def dial_failed(self, reason: str, detail: str, *, now: float) -> list[Effect]:
        """An endpoint did not answer: try the next."""
        if self.phase is not Phase.DIALLING:
            return []
        self._last_failure = "upstream_connect_failure"
        return [self._record("dial", reason, detail), HangUp(), *self._next(now)]

    def over(self, side: Side, *, now: float) -> list[Effect]:
        """One half sends no more. Before the relay stands the shell keeps this to itself."""
        if self.phase is Phase.RELAYING:
            effects = self._halves.over(side, flush_s=self._config.flush_max_s)
            return self._finish(effects) if self._halves.both else effects
        return self._abort("peer_gone") if self.phase is not Phase.ENDED else []

    def lost(self, side: Side, reason: str, *, now: float) -> list[Effect]:
        """One half broke: so does the other, unless it was an endpoint that is still dialled."""
        if self.phase is Phase.DIALLING and side is Side.UPSTREAM:
            return self.dial_failed(reason, "connection broke", now=now)
        return self._abort(reason) if self.phase is not Phase.ENDED else []

    def rules_changed(self, policy: Policy, *, now: float) -> list[Effect]:
        """Who may leave is decided at the destination."""
        return []

    def revoked(self, reason: str) -> list[Effect]:
        """The destination's certificate counts no more: cut, with no grace."""
        if self.phase is Phase.ENDED:
            return []
        word = "certificate_revoked"
        return [self._record("cut", word, reason), *self._close(word)]

    def drain(self, timeout_s: float, *, now: float) -> list[Effect]:
        """The proxy is stopping: what is not over in time is reset."""
        if self.phase is not Phase.ENDED:
            end = now + timeout_s
            self.deadline = end if self.deadline is None else min(self.deadline, end)
        return []

    def tick(self, *, now: float) -> list[Effect]:
        """The deadline may have come."""
        if self.deadline is None or now < self.deadline or self.phase is Phase.ENDED:
            return []
        if self.phase is Phase.DIALLING:
            return self.dial_failed("timeout", "endpoint did not answer in time", now=now)
        return self._abort("drain_timeout")

    def _next(self, now: float) -> list[Effect]:
        if not self._candidates:
            reason = self._last_failure
            return [
                self._record("dial", reason, "no endpoint is left to try"),
                *self._close(reason),
            ]
        self.deadline = now + self._connect_s
        return [Dial(self._candidates.pop(0))]

    def _record(self, event: str, reason: str, detail: str) -> Record:
        return Record(event=event, reason=reason, destination=self.upstream, detail=detail)

    def _close(self, reason: str) -> list[Effect]:
        return self._finish([Close(reason, self._config.linger_s)])

    def _abort(self, reason: str) -> list[Effect]:
        return self._finish([Abort(reason)])

    def _finish(self, effects: list[Effect]) -> list[Effect]:
        self.phase = Phase.ENDED
        self.deadline = None
        return effects


Connection = Inbound | Outbound
