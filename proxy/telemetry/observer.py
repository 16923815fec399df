"""Watches requests on their way through a proxy and gives one entry of each to whoever wants it."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from proxy.http1.head import Request
from proxy.l7.messages import Answer, Body
from proxy.l7.serve import Handler
from proxy.telemetry import trace
from proxy.telemetry.entry import CLIENT_GONE, UPSTREAM_RESET, Entry
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


class Observer:
    """Everything that is told about the requests of one proxy."""

    def __init__(
        self, *, now: Callable[[], float], wall: Callable[[], float], rng: random.Random
    ) -> None:
        self.metrics = RequestMetrics()
        #: The share of new traces that are sampled.
        self.sample = 0.01
        #: Who gets each entry: the access log, the exporter of traces.
        self.sinks: tuple[Callable[[Entry], None], ...] = ()
        self.taps: set[Tap] = set()
        self._now = now
        self._wall = wall
        self._rng = rng

    def watched(self, handle: Handler, hop: Hop) -> Handler:
        """The same handler, watched."""

        async def observed(request: Request, body: Body, answer: Answer) -> None:
            began, at = self._now(), self._wall()
            span = trace.span_of(request.headers, self._rng, sample=self.sample)
            headers = trace.written(request.headers, span)
            request_id = request.get("x-request-id")
            if request_id is None:
                request_id = str(uuid.uuid4())
                headers = (*headers, ("x-request-id", request_id))
            notes = answer.notes
            notes.clock = self._now
            try:
                await handle(replace(request, headers=headers), body, answer)
            except asyncio.CancelledError:
                notes.flag(CLIENT_GONE)
                raise
            except (OSError, TimeoutError):
                notes.flag(CLIENT_GONE if body.client.gone else UPSTREAM_RESET)
                raise
            finally:
                notes.rx_bytes = body.size
                self.over(
                    Entry(
                        at=at,
                        direction=hop.direction,
                        service=hop.service,
                        datacenter=hop.datacenter,
                        peer=hop.peer,
                        peer_address=hop.peer_address,
                        protocol=hop.protocol,
                        method=request.method,
                        host=request.get("host") or "",
                        path=request.target,
                        code=answer.status,
                        grpc_status=answer.grpc_status,
                        duration_s=self._now() - began,
                        first_byte_s=max(0.0, notes.answered_at - began),
                        request_id=request_id,
                        trace_id=span.trace_id,
                        span_id=span.span_id,
                        parent_id=span.parent_id,
                        sampled=span.sampled,
                        user_agent=request.get("user-agent") or "",
                        notes=notes,
                    )
                )

        return observed

    def over(self, entry: Entry) -> None:
        """A request is over."""
        self.metrics.add(entry)
        for sink in self.sinks:
            sink(entry)
        for tap in self.taps:
            tap.take(entry)
