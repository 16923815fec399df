"""Where connections wait that have to show who they are: before their TLS and until it is over.

Decides nothing about whom to let in: `half_open` says who must go and who is next. What waits here
has cost next to nothing yet, a few objects less than whoever sent half a ClientHello has spent:
TLS state, tasks and timers come when a whole one is there.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import cast

from proxy.client_hello import HANDSHAKE, HELLO_MAX_BYTES
from proxy.config import ProxyConfig
from proxy.half_open import HalfOpen, Turns, site
from proxy.relay import TlsStream
from proxy.sockets import reset
from proxy.telemetry.greetings import Greetings

#: Who takes a connection that begins so; None: more of it is wanted.
Accept = Callable[[bytes], asyncio.Protocol | None]

#: Words for logs and metrics.
OVERFLOW, TIMEOUT, GONE, NOT_TLS = "handshake_overflow", "handshake_timeout", "peer_gone", "not_tls"
_RECORD_HEAD_BYTES = 5  # RFC 8446, section 5.1
#: Longer beginnings are nobody's that we know.
_HELD_MAX_BYTES = 2 * HELLO_MAX_BYTES


#: Hears of an event and its reason: nobody knows yet whose connection it was.
Tell = Callable[[str, str], None]


def has_begun(data: bytes) -> bool:
    """Whether a whole first record has come, or what can be none."""
    if data[:1] and data[0] != HANDSHAKE:
        return True
    if len(data) < _RECORD_HEAD_BYTES:
        return False
    size = int.from_bytes(data[3:_RECORD_HEAD_BYTES])
    return len(data) >= _RECORD_HEAD_BYTES + size or size > HELLO_MAX_BYTES


class Porch:
    """All who wait in front of one proxy."""

    def __init__(self, config: Callable[[], ProxyConfig], greetings: Greetings, tell: Tell) -> None:
        self._config = config
        self._greetings = greetings
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._room: HalfOpen[asyncio.Transport] = HalfOpen()
        self._turns: Turns[_Step] = Turns()
        self._turn: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: Set while nobody waits.
        self.empty = asyncio.Event()
        self.empty.set()

    def __len__(self) -> int:
        return len(self._room)

    def step(self, accept: Accept) -> asyncio.Protocol:
        """The protocol of a connection of which nothing is known; ``accept`` says who takes it."""
        return _Step(self, accept)

    def explain(self) -> dict[str, object]:
        """For people: how many, and who has the most of them."""
        most = sorted(self._room.sources(), key=lambda each: -each[1])[:5]
        return {"under_way": len(self._room), "most": dict(most)}

    def close(self) -> None:
        """Reset all that wait."""
        for transport in self._room.overdue(self._loop.time()):
            self._dismiss(transport, "shutdown")
        for handle in (self._turn, self._timer):
            if handle is not None:
                handle.cancel()

    def _dismiss(self, transport: asyncio.Transport, reason: str) -> None:
        """End a connection; whoever has it already tells why by itself."""
        protocol = transport.get_protocol()
        if isinstance(protocol, _Step):
            protocol.transport = None
            self._greetings.over(reason, "", False, 0.0)
            self._tell("handshake", reason)
        elif isinstance(protocol, TlsStream):
            protocol.owner.stream_insecure(protocol, reason, "no handshake in time")
            if reason == TIMEOUT:
                return  # its owner ends it in order
        reset(transport)

    # What steps report.

    def came(self, transport: asyncio.Transport) -> str:
        """A connection was made; its source."""
        name = transport.get_extra_info("peername")
        source = site(name[0]) if isinstance(name, tuple) else ""
        self._greetings.open += 1
        now, config = self._loop.time(), self._config()
        gone = self._room.enter(transport, source, now, max(1, config.handshakes_max))
        self.empty.clear()
        if gone is not None:
            self._tell("refused", OVERFLOW)
            self._dismiss(gone, OVERFLOW)
        if self._timer is None:
            at = now + config.handshake_timeout_s
            self._timer = self._loop.call_at(at, self._look_for_overdue)
        return source

    def left(self, transport: asyncio.Transport) -> None:
        """A handshake is over, or will never be."""
        self._room.leave(transport)
        if not self._room:
            self.empty.set()

    def given_up(self, transport: asyncio.Transport, reason: str) -> None:
        """A connection has ended before its handshake began."""
        self._greetings.over(reason, "", False, 0.0)
        self.left(transport)
        self._tell("handshake", reason)

    def ready(self, step: _Step) -> None:
        """A handshake can begin: now, or after those of others."""
        if self._turn is None:
            self._turn = self._loop.call_soon(self._next)
            self._begin(step)
        else:
            self._turns.put(step, step.source)

    def _next(self) -> None:
        self._turn = None
        step = self._turns.take()
        if step is not None:
            self._turn = self._loop.call_soon(self._next)
            self._begin(step)

    def _begin(self, step: _Step) -> None:
        transport = step.transport
        if transport is None or transport.is_closing():
            return
        protocol = step.accept(step.data)
        if protocol is None:
            step.goes_on()
            return
        step.transport = None
        self._greetings.open -= 1  # whoever takes it counts it
        if isinstance(protocol, TlsStream):
            protocol.on_greeted = functools.partial(self.left, transport)
        else:
            self.left(transport)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(step.data)

    def _look_for_overdue(self) -> None:
        self._timer = None
        timeout_s = self._config().handshake_timeout_s
        # uvloop's timers have millisecond steps and may come a little early.
        for transport in self._room.overdue(self._loop.time() - timeout_s + 0.002):
            if not transport.is_closing():  # its session's own time may be over as well
                self._dismiss(transport, TIMEOUT)
        oldest_at = self._room.oldest_at
        if oldest_at is None:
            self.empty.set()
        else:
            self._timer = self._loop.call_at(oldest_at + timeout_s, self._look_for_overdue)


class _Step(asyncio.Protocol):
    """One connection, until a whole ClientHello has come."""

    __slots__ = ("_porch", "_queued", "accept", "data", "source", "transport")

    def __init__(self, porch: Porch, accept: Accept) -> None:
        self._porch = porch
        self._queued = False
        self.accept = accept
        self.data = b""
        self.source = ""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.source = self._porch.came(self.transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > _HELD_MAX_BYTES:
            self._end(NOT_TLS)
        elif not self._queued and has_begun(self.data):
            self._queued = True
            self._porch.ready(self)

    def goes_on(self) -> None:
        """What has come is not enough to say who takes it."""
        self._queued = False

    def eof_received(self) -> bool:
        self._end(GONE)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(GONE)

    def _end(self, reason: str) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            self._porch.given_up(transport, reason)
            transport.abort()
