"""Replies without an end: the log, the metrics; who leaves, who does not read, the stop."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable

import pytest

from agent import logs
from tests.agent.http.rig import Client, Rig, make_config, small_limits

PATIENCE_S = 20.0


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not look():
            await asyncio.sleep(0.01)


async def head(client: Client) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return (await client.reader.readuntil(b"\r\n\r\n")).decode()


async def chunk(client: Client) -> str:
    async with asyncio.timeout(PATIENCE_S):
        size = int(await client.reader.readline(), 16)
        data = await client.reader.readexactly(size + 2)
    return data[:-2].decode()


@pytest.fixture
def levels():
    """The log as an agent sets it up, with what it prints; and as it was."""
    root, ours = logging.getLogger(), logging.getLogger("lictor")
    kept = root.handlers[:], root.level, ours.level
    logs.configure("INFO", as_json=False)
    printed = io.StringIO()
    (handler,) = logs._output.handlers
    handler.setStream(printed)  # type: ignore[attr-defined]
    yield printed
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in kept[0]:
        root.addHandler(handler)
    root.setLevel(kept[1])
    ours.setLevel(kept[2])
    logs._output.handlers = ()


async def test_the_log_is_told_at_the_level_that_is_asked_for(client, levels) -> None:
    log = logging.getLogger("lictor.agent.test")
    await client.send("GET", "/v1/agent/monitor?loglevel=debug")
    opened = await head(client)
    assert opened.startswith("HTTP/1.1 200 OK") and "Transfer-Encoding: chunked" in opened
    await until(lambda: len(logs._output.taps) == 1)
    log.debug("fine key=1")
    log.info("coarse key=2")
    text = ""
    while "coarse" not in text:
        text += await chunk(client)
    assert "[DEBUG] agent.test: fine key=1\n" in text and "[INFO]  agent.test: coarse" in text
    # What was made for the reader alone is not on standard output.
    out = levels.getvalue()
    assert "coarse" in out and "fine" not in out
    client.writer.close()
    await until(lambda: not logs._output.taps)
    assert not log.isEnabledFor(logging.DEBUG)


async def test_the_log_is_told_as_json(rig: Rig, client: Client, levels) -> None:
    await client.send("GET", "/v1/agent/monitor?logjson")
    await head(client)
    await until(lambda: len(logs._output.taps) == 1)
    logging.getLogger("lictor.agent.test").warning("words")
    line = json.loads((await chunk(client)).splitlines()[0])
    assert (line["@message"], line["@level"], line["@module"]) == ("words", "warning", "agent.test")


async def test_a_level_that_is_none_is_refused(client: Client) -> None:
    got = await client.get("/v1/agent/monitor?loglevel=nope")
    assert (got.status, got.text) == (400, "Bad request: Unknown log level: nope")


async def test_metrics_come_in_intervals(client: Client) -> None:
    await client.send("GET", "/v1/agent/metrics/stream")
    await head(client)
    assert json.loads(await chunk(client)).keys() == {
        "Timestamp", "Gauges", "Points", "Counters", "Samples",
    }  # fmt: skip


async def test_streams_end_with_the_agent_and_are_bounded() -> None:
    config = make_config(limits=small_limits(blocking_queries_max=1))
    rig = await Rig(config).start()
    stopped = False
    try:
        async with Client(rig.port) as client, Client(rig.port) as other:
            await client.send("GET", "/v1/agent/metrics/stream")
            await head(client)
            await chunk(client)
            refused = await other.get("/v1/agent/monitor")
            assert refused.status == 429
            stopped = True
            await rig.stop()
            async with asyncio.timeout(PATIENCE_S):
                assert await client.reader.read() == b"0\r\n\r\n"
    finally:
        if not stopped:
            await rig.stop()


async def test_a_client_of_http_1_0_gets_the_bytes_as_they_are(rig: Rig) -> None:
    async with Client(rig.port) as client:
        client.writer.write(b"GET /v1/agent/metrics/stream HTTP/1.0\r\nHost: x\r\n\r\n")
        opened = await head(client)
        assert "chunked" not in opened and "Connection: close" in opened
        async with asyncio.timeout(PATIENCE_S):
            assert json.loads(await client.reader.readline())["Points"] == []


def test_a_reader_that_is_too_slow_loses_the_newest_lines(levels) -> None:
    told: list[None] = []
    with logs.Tap("info", as_json=False, on_line=lambda: told.append(None)) as tap:
        for number in range(logs.TAP_LINES_MAX + 3):
            logging.getLogger("lictor.x").info("line %d", number)
        lines = tap.take()
    assert (len(lines), tap.dropped, len(told)) == (logs.TAP_LINES_MAX, 3, logs.TAP_LINES_MAX)
    assert lines[0].endswith("line 0") and tap.take() == []
