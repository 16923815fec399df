"""Spans to a collector that is there, is not there, and is full."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from proxy.telemetry import otlp
from proxy.telemetry.entry import IN, OUT, Again, Entry, Notes
from proxy.telemetry.otlp import Exporter
from tests.proxy.mesh import until

ENTRY = Entry(
    at=1.5, direction=IN, service="db", method="GET", path="/a?secret=1", host="db", code=200,
    duration_s=0.25, trace_id="1" * 32, span_id="2" * 16, parent_id="3" * 16, sampled=True,
    notes=Notes(rule="r"),
)  # fmt: skip


class Collector:
    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.statuses: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        for resource in (await request.json())["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]
        return web.Response(text="{}")


@pytest.fixture
async def collector() -> AsyncIterator[tuple[Collector, str]]:
    made, app = Collector(), web.Application(client_max_size=1 << 24)
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def test_a_span() -> None:
    span = otlp.span(ENTRY)
    assert (span["kind"], span["parentSpanId"]) == (2, "3" * 16)
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == ("1500000000", "1750000000")
    attributes = {each["key"]: each["value"] for each in span["attributes"]}
    assert attributes["url.path"] == {"stringValue": "/a"}
    assert attributes["http.response.status_code"] == {"intValue": "200"}
    assert attributes["lictor.intention"] == {"stringValue": "r"}
    assert "secret" not in json.dumps(span)
    failed = otlp.span(replace(ENTRY, direction=OUT, code=503))
    assert (failed["kind"], failed["status"]) == (3, {"code": 2})


def test_each_try_after_the_first_is_a_child() -> None:
    notes = Notes(
        again=(Again(0.1, 0.05, "10.0.0.1:80", 503), Again(0.2, 0.04, "10.0.0.2:80", 200))
    )
    body = otlp.request([replace(ENTRY, direction=OUT, notes=notes)])
    whole, *tries = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [each["parentSpanId"] for each in tries] == [whole["spanId"]] * 2
    assert len({each["spanId"] for each in (whole, *tries)}) == 3
    assert tries[0]["startTimeUnixNano"] == "1600000000" and tries[0]["status"] == {"code": 2}
    assert tries[1]["endTimeUnixNano"] == "1740000000" and tries[1]["status"] == {}


async def test_spans_arrive_also_after_a_busy_collector(collector: tuple[Collector, str]) -> None:
    there, url = collector
    there.statuses = [503, 429]
    exporter = Exporter(url, every_s=0.02)
    task = asyncio.get_running_loop().create_task(exporter.run())
    for _ in range(1000):
        exporter.take(ENTRY)
        exporter.take(replace(ENTRY, sampled=False))
    await until(lambda: exporter.sent == 1000, "all are sent", 30)
    assert len(there.spans) == 1000
    there.statuses = [400]
    exporter.take(ENTRY)
    await until(lambda: exporter.failed == 1, "one is refused", 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nobody_waits_for_a_collector_that_is_gone() -> None:
    exporter = Exporter("http://127.0.0.1:1", every_s=0.02)
    for _ in range(3000):
        exporter.take(ENTRY)
    assert exporter.dropped == 3000 - otlp.QUEUE_MAX
    task = asyncio.get_running_loop().create_task(exporter.run())
    await until(lambda: exporter.failed == otlp.QUEUE_MAX, "given up", 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
