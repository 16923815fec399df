"""The effect loop of one connection: carries out what its core (`connection`) decides.

Owns the two streams, the dial and the timer of a connection; reports what happens to the core. All
counting goes to the `Hub`, which is the `server.Proxy`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

from proxy import app_dial, certificate, proxy_protocol
from proxy.ages import Ages
from proxy.authz import Decision, Policy
from proxy.certificate import PeerCertificate
from proxy.config import ProxyConfig
from proxy.connection import Connection, Inbound, Outbound, Phase
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
from proxy.errors import IdentityError, NoHandshake
from proxy.relay import Stream
from proxy.revocations import Revocations
from proxy.source import AppAddress, Endpoint
from proxy.spiffe import SpiffeId
from proxy.tls import Contexts
from proxy.tunnel import far
from proxy.tunnel.far import Far
from proxy.tunnel.pool import Secured, Tunnels
from proxy.tunnel.stream import DENIED, UNREACHABLE, TunnelStream

log = logging.getLogger("lictor.proxy.session")

#: Timers have steps of a millisecond and may come a little early.
_EARLY_S = 0.002


class Hub(Protocol):
    """What a session needs of the proxy that it belongs to."""

    config: ProxyConfig
    contexts: Contexts | None
    policy: Policy | None
    revoked: Revocations
    tunnels: Tunnels
    ages: Ages

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that the proxy owns."""
        ...

    def record(self, record: Record) -> None:
        """Count, and remember refusals."""
        ...

    def identified(self, session: Session) -> None:
        """The session's client is known from now on."""
        ...

    def handed_over(self, session: Session) -> None:
        """It is a tunnel and was none of the connections that are counted."""
        ...

    def ended(self, session: Session) -> None:
        """Both halves are gone."""
        ...


class Session:
    """One connection with its two halves."""

    __slots__ = (
        "_abort_at",
        "_armed_at",
        "_dial",
        "_downstream",
        "_finishing",
        "_gone",
        "_hub",
        "_loop",
        "_timer",
        "_upstream",
        "began_at",
        "core",
        "ending",
        "target",
        "tries",
    )

    def __init__(self, hub: Hub, core: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.core = core
        self.began_at = loop.time()
        #: Why it ends, a stable word; whom it dialled last, and how many were dialled.
        self.ending = ""
        self.target: AppAddress | Endpoint | None = None
        self.tries = 0
        self._hub = hub
        self._loop = loop
        self._downstream: Stream | None = None
        self._upstream: Stream | None = None
        self._dial: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = 0.0
        self._abort_at: float | None = None
        self._finishing = False
        self._gone = False

    @property
    def identity(self) -> SpiffeId | None:
        """The client's identity, None for outbound connections and before the handshake."""
        core = self.core
        return core.peer.identity if isinstance(core, Inbound) and core.peer else None

    @property
    def decision(self) -> Decision | None:
        """Whether the client was let in, and why."""
        core = self.core
        return core.decision if isinstance(core, Inbound) else None

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes read from downstream and from upstream."""
        down, up = self._downstream, self._upstream
        return (down.rx_bytes if down else 0, up.rx_bytes if up else 0)

    @property
    def peer_address(self) -> str:
        """The address of whoever connected, "" where it has none."""
        return self._downstream.peer_address if self._downstream else ""

    @property
    def tls(self) -> str:
        """The version of TLS toward the mesh, "" before there is any."""
        stream = self._downstream if isinstance(self.core, Inbound) else self._upstream
        return stream.version if stream else ""

    def accept(self, stream: Stream) -> None:
        """This is the half that was accepted; the core starts once it is open."""
        self._downstream = stream

    def run(self, effects: list[Effect]) -> None:
        """Carry out effects in order, then set the timer to the core's deadline."""
        for effect in effects:
            match effect:
                case Dial():
                    self._start_dial(effect)
                case StartRelay():
                    assert self._downstream is not None
                    assert self._upstream is not None
                    self._upstream.peer = self._downstream
                    self._downstream.relay_to(self._upstream)
                    if self.core.phase is Phase.RELAYING:
                        self._upstream.relay_to(self._downstream)
                case CloseWrite():
                    stream = self._half(effect.side)
                    if stream is not None and not stream.lost:
                        stream.send_eof()
                case HangUp():
                    self._hang_up()
                case Close():
                    self.ending = effect.reason
                    self._close(effect)
                case Abort():
                    self.ending = effect.reason
                    self._abort()
                case Record():
                    self._hub.record(effect)
        self._arm()

    def abort(self, reason: str) -> None:
        """Reset both halves, whatever the core thinks: the proxy itself ends."""
        log.debug("connection aborted reason=%s", reason)
        self._abort()

    # What streams report.

    def stream_opened(self, stream: Stream) -> None:
        """A socket is connected."""
        if stream is self._downstream:
            self.run(self.core.start(now=self._loop.time()))

    def stream_secured(self, stream: Stream, der: bytes | None) -> None:
        """A handshake is complete."""
        now = self._loop.time()
        try:
            peer = certificate.read(der, client=stream is self._downstream)
        except IdentityError as error:
            self.run(self.core.insecure("bad_san", str(error), now=now))
            return
        why = self._hub.revoked.why(peer)
        if why:
            self.run(self.core.insecure("certificate_revoked", why, now=now))
            return
        if stream is self._downstream:
            self.identified(peer)
        else:
            self._dialled(stream, peer)

    def identified(self, peer: PeerCertificate) -> None:
        """It is known who dialled us: by a handshake of this connection, or of its tunnel's."""
        policy = self._hub.policy
        assert policy is not None, "a listener opens once there is a policy"
        effects = self.core.secured(
            peer, policy=policy, now=self._loop.time(), lifetime_s=self._hub.ages.of(peer)
        )
        self._hub.identified(self)
        self.run(effects)

    def handed_over(self) -> None:
        """The connection turned out to be a tunnel: this was never one of its streams."""
        self._gone = True
        self._disarm()
        self._downstream = None
        self._hub.handed_over(self)

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None:
        """A handshake failed."""
        if stream is self._downstream or stream is self._upstream:
            self.run(self.core.insecure(reason, detail, now=self._loop.time()))

    def stream_over(self, stream: Stream) -> None:
        """A half sends no more."""
        self.run(self.core.over(self._side(stream), now=self._loop.time()))

    def stream_lost(self, stream: Stream, reason: str) -> None:
        """A half is gone."""
        if stream is self._downstream or stream is self._upstream:
            self.run(self.core.lost(self._side(stream), reason, now=self._loop.time()))
        self._check_gone()

    # Carrying out.

    def _start_dial(self, effect: Dial) -> None:
        self.target = target = effect.target
        self.tries += 1
        if isinstance(target, Endpoint):
            to, tunnels = self._far(target), self._hub.tunnels
            found = tunnels.ready(to, self) if tunnels.wanted(to) else None
            if found is not None:  # a stream on a warm connection needs no task and no turn
                self._upstream = found[0]
                self._dialled(found[0], found[1])
                return
        self._dial = self._hub.spawn(self._dial_target(target), "proxy dial")

    async def _dial_target(self, target: AppAddress | Endpoint) -> None:
        try:
            if isinstance(target, Endpoint):
                stream, peer, der = await self._dial_peer(target)
            else:
                stream, peer, der = await self._dial_app(target), None, None
        except NoHandshake as error:
            self._dial = None
            self.run(self.core.insecure(error.reason, error.detail, now=self._loop.time()))
            return
        except OSError as error:
            self._failed(str(error))
            return
        except TimeoutError:
            self._failed("timeout")
            return
        self._dial = None
        if self._gone or self.core.phase is Phase.ENDED:
            stream.abort()
            return
        self._upstream = stream
        if der is not None:
            self.stream_secured(stream, der)
        else:
            self._dialled(stream, peer)

    def _failed(self, detail: str) -> None:
        self._dial = None
        self.run(self.core.dial_failed("connect_failure", detail, now=self._loop.time()))

    async def _dial_peer(
        self, target: Endpoint
    ) -> tuple[Stream, PeerCertificate | None, bytes | None]:
        made = await self._hub.tunnels.connect(self._far(target), self)
        if not isinstance(made, Secured):
            return made[0], made[1], None
        if made.stream.lost:
            raise OSError("the connection broke at once")
        made.stream.owner = self
        return made.stream, None, made.der or b""

    def _far(self, target: Endpoint) -> Far:
        assert isinstance(self.core, Outbound)
        who = self.core.expected
        return far.of_service(target.address, target.port, who, target.subset)

    async def _dial_app(self, target: AppAddress) -> Stream:
        stream = await app_dial.connect(self, self._hub.config, target)
        if target.proxy_header and self._downstream is not None:
            identity = self.identity
            uri = identity.uri.encode() if identity is not None else b""
            stream.send(proxy_protocol.told(
                self._downstream.peer_address, f"{target.address}:{target.port}", uri
            ))  # fmt: skip
        return stream

    def _dialled(self, stream: Stream, peer: PeerCertificate | None) -> None:
        assert stream is self._upstream
        self.run(self.core.dialled(peer, now=self._loop.time()))

    def _hang_up(self) -> None:
        dial, self._dial = self._dial, None
        if dial is not None and not dial.done() and dial is not asyncio.current_task():
            dial.cancel()
        stream, self._upstream = self._upstream, None
        if stream is not None:
            stream.abort()

    def _close(self, effect: Close) -> None:
        self._stop_dial()
        self._finishing = True
        self._abort_at = self._loop.time() + effect.linger_s
        if isinstance(self._downstream, TunnelStream):  # whoever asked for it hears why
            denied = effect.reason.startswith("intention")
            self._downstream.refusal = DENIED if denied else UNREACHABLE
        for stream in self._halves():
            stream.finish()
        self._arm()

    def _abort(self) -> None:
        self._stop_dial()
        self._finishing = True
        self._abort_at = None
        self._disarm()
        for stream in self._halves():
            stream.abort()
        self._check_gone()

    def _stop_dial(self) -> None:
        if self._dial is not None:
            self._hang_up()

    def _check_gone(self) -> None:
        if self._finishing and not self._gone and not self._halves():
            self._gone = True
            self._disarm()
            self._hub.ended(self)

    def _halves(self) -> list[Stream]:
        return [half for half in (self._downstream, self._upstream) if half and not half.lost]

    def _half(self, side: Side) -> Stream | None:
        return self._downstream if side is Side.DOWNSTREAM else self._upstream

    def _side(self, stream: Stream) -> Side:
        return Side.DOWNSTREAM if stream is self._downstream else Side.UPSTREAM

    # The timer.

    @property
    def _due_at(self) -> float | None:
        return self._abort_at if self._finishing else self.core.deadline

    def _arm(self) -> None:
        """A timer that runs already and comes too early is left: it is set anew when it comes. So
        most connections, which are short, have one and not one for each of their deadlines."""
        due = None if self._gone else self._due_at
        if due is None or (self._timer is not None and self._armed_at <= due):
            return
        self._disarm()
        self._armed_at = due
        self._timer = self._loop.call_at(due, self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _tick(self) -> None:
        self._timer = None
        due, now = self._due_at, self._loop.time()
        if due is None:
            return
        if due > now + _EARLY_S:
            self._arm()
        elif self._finishing:
            self._abort()
        else:
            self.run(self.core.tick(now=max(now, due)))
