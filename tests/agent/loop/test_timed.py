"""Each callback is measured for itself, whatever way it comes into the loop."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from agent.loop.timed import TimedLoop
from agent.loop.watchdog import Watchdog
from tests.agent.loop.test_watchdog import compute, watched


def test_callbacks_are_measured_one_by_one() -> None:
    """Many short ones in a row are no hold."""

    async def many(watchdog: Watchdog) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        for _ in range(20):
            loop.call_soon(compute, 0.001)
        loop.call_soon(done.set_result, None)
        await done

    holds = watched(TimedLoop, many).holds
    assert holds.over == 0
    assert holds.lengths.total >= 0.020


def test_everything_that_uvloop_calls_is_measured() -> None:
    """A stream's protocol, timers, tasks and calls from threads."""

    class Server(asyncio.Protocol):
        __slots__ = ("transport",)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport | uvloop.loop.TCPTransport)
            self.transport: asyncio.WriteTransport = transport

        def data_received(self, data: bytes) -> None:
            compute(0.012)
            self.transport.write(data)

    async def stepping() -> None:
        compute(0.012)

    async def work(watchdog: Watchdog) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.close()
        server.close()
        await asyncio.create_task(stepping())  # noqa: TID251
        ran = loop.create_future()

        def timer() -> None:
            compute(0.012)
            ran.set_result(None)

        loop.call_at(loop.time() + 0.001, timer)
        await ran
        thread = loop.create_future()

        def from_thread() -> None:
            compute(0.012)
            thread.set_result(None)

        await asyncio.to_thread(loop.call_soon_threadsafe, from_thread)
        await thread

    holds = watched(TimedLoop, work).holds.recent()
    names = [hold.what.rpartition(".")[2] for hold in holds]
    assert names == ["data_received", "stepping", "timer", "from_thread"]


def test_an_exception_passes_and_ends_the_measuring() -> None:
    loop = TimedLoop()
    clock = loop.clock
    seen: list[float] = []
    clock.on_finished = lambda what, begun_at, wall_s, cpu_s: seen.append(wall_s)
    with pytest.raises(ZeroDivisionError):
        clock.run(lambda: 1 // 0)
    assert clock.begun_at == 0.0
    assert len(seen) == 1
    loop.close()
