"""How long the loop is held while a snapshot of a large state is taken under load, and loaded.

``python -m tests.bench.snapshot_bench [keys]``: one server with its journal on disk, 64 writers in
a closed loop, and a timer that measures how late it is called: by us, or by who else uses the
machine. What is ours alone is measured callback by callback, as with ``enable_debug``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from agent.loop.collector import Collector
from agent.loop.holds import Holds
from agent.loop.timed import TimedLoop
from agent.loop.watchdog import Watchdog
from raftstore import warming
from raftstore.commands import KVSet
from raftstore.config import StoreConfig
from raftstore.records import KVPair
from raftstore.store import Store

WRITERS = 64
PERIOD_S = 0.002


@dataclass(frozen=True, slots=True)
class Lag:
    """How late a timer was, in milliseconds, and what was written meanwhile."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    writes_per_second: float
    held_ms: float = 0.0
    """The longest that one callback held the loop, in our own time."""


class Sampler:
    """Measures while it runs."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.writes = 0
        self.begun_at = time.perf_counter()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self.late.append(max(0.0, loop.time() - due))

    def result(self) -> Lag:
        late = sorted(self.late)
        seconds = time.perf_counter() - self.begun_at
        return Lag(
            1000 * late[len(late) // 2],
            1000 * late[int(len(late) * 0.99)],
            1000 * late[-1],
            self.writes / seconds,
        )


def fill(store: Store, keys: int) -> None:
    for number in range(keys):
        pair = KVPair(
            key=f"app/{number % 1000}/{number}", value=b"v" * 100, create_index=1, modify_index=1
        )
        store.state.kv.load(pair)
    gc.collect()
    gc.freeze()


@contextlib.asynccontextmanager
async def watched(collector: Collector) -> AsyncIterator[Holds]:
    """What holds the loop meanwhile."""
    watchdog = Watchdog(asyncio.get_running_loop(), collector)
    watchdog.start()
    yield watchdog.holds
    await watchdog.stop()


def held_ms(holds: Holds) -> float:
    """The longest hold; each that was too long is shown with its stack."""
    for hold in holds.recent():
        print(hold.explained(), file=sys.stderr)
    return 1000 * holds.lengths.highest


async def measure_load(folder: str) -> tuple[float, float, float]:
    """Seconds until a server has loaded its snapshot, of those to open the journal, and the longest
    hold after that. The journal is opened in one step: nobody is served yet."""
    begun_at = time.perf_counter()
    store = Store(StoreConfig(node_id="a", data_dir=folder))
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(store.start())
        await asyncio.sleep(0)
        opened_s = time.perf_counter() - begun_at
        collector = Collector()
        collector.start(asyncio.get_running_loop())
        async with watched(collector) as holds:
            await starting
            took_s = time.perf_counter() - begun_at
        collector.stop()
    await store.stop()
    return took_s, opened_s, held_ms(holds)


async def measure(
    keys: int, seconds: float
) -> tuple[Lag, Lag, float, float, tuple[float, float, float]]:
    """Lag without and with a snapshot, how long it took, how long applying waited, and the load."""
    for _ in warming.steps():  # as an agent does at its start
        pass
    collector = Collector()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(StoreConfig(node_id="a", data_dir=folder))
        await store.start()
        store.bootstrap({"a": "127.0.0.1:1"})
        fill(store, keys)
        collector.start(asyncio.get_running_loop())
        while not store.is_leader:
            await asyncio.sleep(0.01)
        sampler = Sampler()

        async def write(writer: int) -> None:
            for number in range(10**9):
                await store.propose(
                    KVSet(key=f"load/{writer}/{number % 500}", value=b"%d" % number)
                )
                sampler.writes += 1

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(write(writer)) for writer in range(WRITERS)]
            await asyncio.sleep(0.5)
            sampler = Sampler()
            async with watched(collector) as holds:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(sampler.run(), seconds)
            quiet = replace(sampler.result(), held_ms=held_ms(holds))
            sampler = Sampler()
            sampling = group.create_task(sampler.run())
            begun_at = time.perf_counter()
            async with watched(collector) as holds:
                await store.snapshot_now()
            took = time.perf_counter() - begun_at
            busy = replace(sampler.result(), held_ms=held_ms(holds))
            for task in (*tasks, sampling):
                task.cancel()
        held = store.metrics()["snapshot_held_s"]
        await store.stop()
        collector.stop()
        loading = await measure_load(folder)
        return quiet, busy, took, held, loading


def main(keys: int = 1_000_000, seconds: float = 5.0) -> None:
    """Print the lines of the table."""
    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        quiet, busy, took, held, loading = runner.run(measure(keys, seconds))
    for name, lag in (("without", quiet), ("during", busy)):
        print(
            f"| loop lag {name} snapshot, {keys} keys | p50 {lag.p50_ms:.2f} ms"
            f" | p99 {lag.p99_ms:.2f} ms | max {lag.max_ms:.1f} ms"
            f" | own hold {lag.held_ms:.1f} ms | {lag.writes_per_second:.0f} writes/s |"
        )
    print(f"| snapshot | took {took:.1f} s | applying waited {1000 * held:.1f} ms |")
    took_s, opened_s, load_held_ms = loading
    print(
        f"| loading it | took {took_s:.1f} s, of those {opened_s:.2f} s to open the journal"
        f" | own hold {load_held_ms:.1f} ms |"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
