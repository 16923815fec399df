"""Holds are caught in the act on real loops: with the clock on every callback, and without."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from agent.loop.collector import Collector
from agent.loop.holds import Hold
from agent.loop.timed import TimedLoop
from agent.loop.watchdog import BEAT_S, Watchdog, named
from agent.metrics import AgentMetrics

HELD_S = 0.06


def compute(seconds: float = HELD_S) -> None:
    """Use the processor."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def block(seconds: float = HELD_S) -> None:
    """Wait for something else than a processor, as a disk would make us."""
    time.sleep(seconds)


def watched(
    make_loop: Callable[[], asyncio.AbstractEventLoop], work: Callable[[Watchdog], Awaitable[None]]
) -> Watchdog:
    """Run ``work`` under a watchdog."""

    async def main() -> Watchdog:
        watchdog = Watchdog(asyncio.get_running_loop(), Collector())
        watchdog.start()
        await work(watchdog)
        await watchdog.stop()
        return watchdog

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(main())


@pytest.mark.parametrize("work", [compute, block])
@pytest.mark.parametrize("make_loop", [TimedLoop, uvloop.new_event_loop])
def test_a_hold_is_caught_with_its_stack(
    make_loop: Callable[[], asyncio.AbstractEventLoop], work: Callable[[], None]
) -> None:
    async def hold(watchdog: Watchdog) -> None:
        while not caught(watchdog):  # a timer may be due at the very end of a hold
            await asyncio.sleep(1.3 * BEAT_S)
            asyncio.get_running_loop().call_soon(work)

    def caught(watchdog: Watchdog) -> list[Hold]:
        found = watchdog.holds.recent()
        return [each for each in found if any(work.__name__ in line for line in each.stack)]

    span = caught(watched(make_loop, hold))[0].span
    assert 0.010 < span.own_s < 20 * HELD_S
    assert (span.blocked_s > span.own_s / 2) is (work is block)


def test_metrics_exist_at_zero() -> None:
    async def main() -> str:
        metrics = AgentMetrics()
        metrics.add("loop", Watchdog(asyncio.get_running_loop(), Collector()).holds.stats)
        return metrics.text()

    text = asyncio.run(main())
    assert 'lictor_loop_hold_s_bucket{le="0.01"} 0.0' in text
    assert "lictor_loop_hold_s_count 0.0" in text
    assert "lictor_loop_holds_over_limit_total 0.0" in text
    assert "lictor_loop_hold_highest_s 0.0" in text


def test_a_task_goes_by_its_coroutine() -> None:
    async def main() -> str:
        task = asyncio.current_task()
        assert task is not None
        return named(task.cancel)

    assert asyncio.run(main()).endswith("main")


def test_a_callback_goes_by_its_name() -> None:
    assert named(compute) == "compute"


def test_a_thread_that_ends_takes_nothing_off_the_others() -> None:
    """Its account goes with it; what the rest stood in line must not look less for that."""

    async def work(watchdog: Watchdog) -> None:
        before = watchdog.holds.over
        for _ in range(20):
            thread = threading.Thread(target=compute, args=(0.001,))
            thread.start()
            await asyncio.sleep(0.002)
            thread.join()
        assert watchdog._queued_since(time.perf_counter()) >= 0.0
        assert before == 0

    watched(TimedLoop, work)
