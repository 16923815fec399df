"""Spans to a collector: OTLP over HTTP as JSON, in batches, never slowing a request (D.16)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from proxy.http_client import AnswerTooLong, HttpClient, read_target
from proxy.telemetry.entry import IN, Entry
from proxy.waiting import set_within

log = logging.getLogger("lictor.proxy.telemetry")

BATCH_MAX, QUEUE_MAX, EVERY_S, RETRIES = 512, 2048, 5.0, 2
_TIMEOUT_S, _ANSWER_MAX_BYTES = 10.0, 1024 * 1024
_SERVER, _CLIENT, _ERROR = 2, 3, 2


class Exporter:
    """Takes entries that are sampled and sends them to one place."""

    def __init__(self, url: str, *, every_s: float = EVERY_S) -> None:
        self.url = url.rstrip("/")
        self._every_s = every_s
        self._queue: deque[Entry] = deque()
        self._full = asyncio.Event()
        self.sent = self.dropped = self.failed = 0

    def take(self, entry: Entry) -> None:
        """One request is over; the oldest that waits gives way when there are too many."""
        if not entry.sampled:
            return
        if len(self._queue) >= QUEUE_MAX:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(entry)
        if len(self._queue) >= BATCH_MAX:
            self._full.set()

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            target = read_target(self.url)
        except ValueError as error:
            log.warning("no spans can be sent error=%s", error)
            return
        async with HttpClient(
            target,
            total_timeout_s=_TIMEOUT_S,
            connect_timeout_s=_TIMEOUT_S,
            body_max_bytes=_ANSWER_MAX_BYTES,
        ) as client:
            while True:
                await set_within(self._full, self._every_s)
                self._full.clear()
                while self._queue:
                    count = min(BATCH_MAX, len(self._queue))
                    batch = [self._queue.popleft() for _ in range(count)]
                    await self._send(client, batch)

    async def _send(self, client: HttpClient, batch: list[Entry]) -> None:
        body = json.dumps(request(batch)).encode()
        for attempt in range(1 + RETRIES):
            try:
                answer = await client.send("POST", "/v1/traces", body, "application/json")
                if answer.status < 300:
                    self.sent += len(batch)
                    return
                if answer.status not in (429, 503):
                    break
            except (OSError, TimeoutError, AnswerTooLong):
                pass
            if attempt < RETRIES:
                await asyncio.sleep(self._every_s / 10 * (attempt + 1))
        self.failed += len(batch)


def request(batch: Iterable[Entry]) -> dict[str, Any]:
    """The body of an export (opentelemetry-proto, ExportTraceServiceRequest in its JSON form)."""
    by_service: dict[str, list[dict[str, Any]]] = {}
    for entry in batch:
        by_service.setdefault(entry.service, []).extend((span(entry), *spans_again(entry)))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [_attribute("service.name", service)]},
                "scopeSpans": [{"scope": {"name": "lictor.proxy"}, "spans": spans}],
            }
            for service, spans in by_service.items()
        ]
    }


def span(entry: Entry) -> dict[str, Any]:
    """One entry as a span; names of attributes are those of OpenTelemetry's conventions."""
    inward, notes = entry.direction == IN, entry.notes
    attributes: dict[str, str | int] = {
        "http.request.method": entry.method,
        "url.path": entry.path.partition("?")[0][:1024],
        "server.address": entry.host[:256],
        "http.response.status_code": entry.code,
        "user_agent.original": entry.user_agent[:256],
        "lictor.upstream": notes.upstream,
        "lictor.subset": notes.subset,
        "lictor.intention": notes.rule,
        "lictor.tries": notes.tries,
        "rpc.grpc.status_code": entry.grpc_status,
    }
    failed = entry.code >= 500 or not entry.code or entry.grpc_status not in ("", "0")
    made: dict[str, Any] = {
        "traceId": entry.trace_id,
        "spanId": entry.span_id,
        "name": entry.method or "request",
        "kind": _SERVER if inward else _CLIENT,
        "startTimeUnixNano": str(int(entry.at * 1e9)),
        "endTimeUnixNano": str(int((entry.at + entry.duration_s) * 1e9)),
        "attributes": [_attribute(name, value) for name, value in attributes.items() if value],
        "status": {"code": _ERROR} if failed else {},
    }
    if entry.parent_id:
        made["parentSpanId"] = entry.parent_id
    return made


def spans_again(entry: Entry) -> Iterator[dict[str, Any]]:
    """A child of the entry's span for each try after the first."""
    for number, again in enumerate(entry.notes.again, 2):
        begun = entry.at + again.after_s
        named = hashlib.sha256(f"{entry.span_id} {number}".encode()).hexdigest()[:16]
        attributes: dict[str, str | int] = {
            "http.request.resend_count": number - 1,
            "http.response.status_code": again.code,
            "network.peer.address": again.endpoint,
        }
        yield {
            "traceId": entry.trace_id,
            "spanId": named,
            "parentSpanId": entry.span_id,
            "name": f"{entry.method or 'request'} again",
            "kind": _CLIENT,
            "startTimeUnixNano": str(int(begun * 1e9)),
            "endTimeUnixNano": str(int((begun + again.took_s) * 1e9)),
            "attributes": [_attribute(name, value) for name, value in attributes.items() if value],
            "status": {"code": _ERROR} if again.code >= 500 or not again.code else {},
        }


def _attribute(name: str, value: str | int) -> dict[str, Any]:
    if isinstance(value, int):
        return {"key": name, "value": {"intValue": str(value)}}
    return {"key": name, "value": {"stringValue": value}}
