"""`agent/monitor` and `agent/metrics/stream`: what goes on here, as it happens (contract 7)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from agent.errors import RequestError
from agent.http.agent import interval
from agent.http.call import Call
from agent.http.reply import TEXT_TYPE, Reply, json_bytes
from agent.http.stream import StreamReply
from agent.logs import LEVELS, Tap

#: Lines are gathered for so long before they are sent, as in Consul.
FLUSH_S = 0.2
#: The agent's metrics are told once in so many seconds.
METRICS_INTERVAL_S = 10.0


async def monitor(call: Call) -> Reply:
    """The agent's log from now on."""
    level = call.params.get("loglevel") or "INFO"
    if level.upper() not in LEVELS:
        raise RequestError(400, f"Bad request: Unknown log level: {level}")
    lines = _lines(level, as_json="logjson" in call.params)
    return StreamReply(call.waiting, lines, TEXT_TYPE)


async def _lines(level: str, *, as_json: bool) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()

    def on_line() -> None:  # of whichever thread
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(there.set)

    told = 0
    with Tap(level, as_json=as_json, on_line=on_line) as tap:
        while True:
            await there.wait()
            await asyncio.sleep(FLUSH_S)
            there.clear()
            lines = tap.take()
            if tap.dropped > told:
                lines.append(f"[{tap.dropped - told} lines were dropped: this reader is too slow]")
                told = tap.dropped
            if lines:
                yield ("\n".join(lines) + "\n").encode("utf-8", "replace")


async def metrics_stream(call: Call) -> Reply:
    """The agent's metrics, interval by interval."""
    return StreamReply(call.waiting, _intervals(call), TEXT_TYPE)


async def _intervals(call: Call) -> AsyncGenerator[bytes, None]:
    while True:
        yield json_bytes(interval(call)) + b"\n"
        await asyncio.sleep(METRICS_INTERVAL_S)
