"""Watches requests on their way through a proxy and gives one entry of each to whoever wants it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from proxy.authz import Decision
from proxy.errors import HttpViolation
from proxy.http1.head import Headers, Request, extended
from proxy.l7.messages import Answer, Body
from proxy.l7.serve import Handler
from proxy.telemetry import trace
from proxy.telemetry.entry import BAD_REQUEST, IDLE, LOCAL_RESET, UPSTREAM_RESET, Entry, Notes
from proxy.telemetry.metrics import RequestMetrics

#: Of all those that look on; one that is too slow misses entries, and the count says how many.
TAPS_MAX = 8
TAP_QUEUE_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What all requests of one connection have in common."""

    direction: str
    service: str
    datacenter: str = ""
    peer: str = ""
    peer_address: str = ""
    protocol: str = "http"
    #: The version of TLS that the client speaks, "" in clear.
    tls: str = ""


class Tap:
    """Somebody who looks on."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.missed = 0
        self.news = asyncio.Event()

    def take(self, entry: Entry) -> None:
        """One more request is over."""
        if len(self.entries) >= TAP_QUEUE_MAX:
            self.missed += 1
            return
        self.entries.append(entry)
        self.news.set()


class Watch:
    """One request that is being watched."""

    __slots__ = ("_at", "_began", "_hop", "_observer", "_span", "given", "notes", "request")

    def __init__(self, observer: Observer, request: Request, hop: Hop, notes: Notes) -> None:
        self._observer = observer
        self._hop = hop
        self._began, self._at = observer.now(), observer.wall()
        rng = observer.rng
        self._span = span = trace.span_of(request, rng, sample=observer.sample)
        named = "x-request-id" in request.by_name
        own: Headers = () if named else (("x-request-id", random_id(rng)),)
        #: As it came, and as it is to be handled.
        self.given = request
        if trace.is_traced(request):
            headers = (*trace.written(request, span), *own)
            self.request = Request(request.method, request.target, request.minor, headers)
        else:
            self.request = extended(request, (*trace.made(span), *own))
        self.notes = notes
        notes.clock, notes.began_at = observer.now, self._began

    def over(self, status: int, grpc_status: str = "") -> None:
        """The request is over."""
        given, hop, span, notes = self.given, self._hop, self._span, self.notes
        observer = self._observer
        took_s = observer.now() - self._began
        observer.metrics.count(
            hop.direction, hop.service, hop.peer, given.method, status, grpc_status, took_s, notes,
            self._at,
        )  # fmt: skip
        if not (observer.sinks or observer.taps):
            return
        observer.tell(
            Entry(
                at=self._at,
                direction=hop.direction,
                service=hop.service,
                datacenter=hop.datacenter,
                peer=hop.peer,
                peer_address=hop.peer_address,
                protocol=hop.protocol,
                tls=hop.tls,
                method=given.method,
                host=given.get("host") or "",
                path=given.target,
                code=status,
                grpc_status=grpc_status,
                duration_s=took_s,
                first_byte_s=max(0.0, notes.answered_at - self._began),
                request_id=self.request.get("x-request-id") or "",
                trace_id=span.trace_id,
                span_id=span.span_id,
                parent_id=span.parent_id,
                sampled=span.sampled,
                user_agent=given.get("user-agent") or "",
                notes=notes,
            )
        )


def random_id(rng: random.Random) -> str:
    """A random UUID (RFC 9562, version 4). It is a name, not a secret."""
    bits = rng.getrandbits(128) & ~(0xF000_C000 << 48) | (0x4000_8000 << 48)
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _told(decision: Decision) -> tuple[str, int]:
    """A decision as a word, and the precedence of its rule."""
    word = "deny" if not decision.allowed else "would_deny" if decision.audited else "allow"
    return word, decision.rule.precedence if decision.rule is not None else 0


class Observer:
    """Everything that is told about the requests of one proxy."""

    def __init__(
        self, *, now: Callable[[], float], wall: Callable[[], float], rng: random.Random
    ) -> None:
        self.metrics = RequestMetrics()
        #: Requests that went the short way.
        self.short = 0
        #: The share of new traces that are sampled.
        self.sample = 0.01
        #: Who gets each entry: the access log, the exporter of traces.
        self.sinks: tuple[Callable[[Entry], None], ...] = ()
        self.taps: set[Tap] = set()
        self.now = now
        self.wall = wall
        self.rng = rng

    def begin(self, request: Request, hop: Hop, notes: Notes) -> Watch:
        """A request has come; ``request`` of what this gives is the one to handle."""
        return Watch(self, request, hop, notes)

    def watched(self, handle: Handler, hop: Hop) -> Handler:
        """The same handler, watched."""

        async def observed(request: Request, body: Body, answer: Answer) -> None:
            notes = answer.notes
            watch, broken = self.begin(request, hop, notes), 0
            try:
                await handle(watch.request, body, answer)
            except HttpViolation as error:
                notes.flag(IDLE if error.status == 408 else BAD_REQUEST)
                broken = error.status
                raise
            except asyncio.CancelledError:
                notes.client_gone()
                raise
            except OSError as error:  # which TimeoutError is as well
                if body.client.gone:
                    notes.client_gone()
                elif LOCAL_RESET not in notes.flags:
                    notes.flag(IDLE if isinstance(error, TimeoutError) else UPSTREAM_RESET)
                raise
            finally:
                notes.rx_bytes = body.size
                watch.over(answer.status or broken, answer.grpc_status)

        return observed

    def refused(self, hop: Hop | None, status: int) -> None:
        """What came was no request: nobody knows its method or path."""
        if hop is None:
            return
        notes = Notes()
        notes.flag(BAD_REQUEST)
        self.over(
            Entry(
                at=self.wall(),
                direction=hop.direction,
                service=hop.service,
                datacenter=hop.datacenter,
                peer=hop.peer,
                peer_address=hop.peer_address,
                protocol=hop.protocol,
                tls=hop.tls,
                code=status,
                notes=notes,
            )
        )

    def connected(self, peer: str, decision: Decision) -> None:
        """Somebody of the mesh has connected; for connections whose requests are not seen."""
        word, precedence = _told(decision)
        self.metrics.met(peer, word, precedence, allowed=decision.allowed, at=self.wall())

    def decided(self, peer: str, decision: Decision) -> None:
        """It was decided whether a connection may stand."""
        self.metrics.decided(peer, *_told(decision))

    def over(self, entry: Entry) -> None:
        """A request is over."""
        self.metrics.add(entry)
        self.tell(entry)

    def tell(self, entry: Entry) -> None:
        """Show it to whoever wants to see it."""
        for sink in self.sinks:
            sink(entry)
        for tap in self.taps:
            tap.take(entry)
