"""Passes of the garbage collector get shorter as the heap grows."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Iterator

import pytest

from agent.loop import collector as module
from agent.loop.collector import Collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A running one; what it froze is thawed."""
    made = Collector()
    made.start()
    gc.disable()  # only the passes that the test asks for
    yield made
    gc.enable()
    made.stop()
    gc.unfreeze()


def test_survivors_of_a_long_pass_are_not_looked_at_again(collector, monkeypatch):
    monkeypatch.setattr(module, "PASS_MAX_S", 0.0)
    rows = [[number] for number in range(50_000)]
    gc.collect()
    frozen = gc.get_freeze_count()
    first_s = collector.spent_s
    assert collector.freezes == 1
    assert frozen > len(rows)
    spent_s = collector.spent_s
    gc.collect()
    assert collector.spent_s - spent_s < first_s / 3
    assert rows[-1] == [49_999]


def test_a_long_pass_over_the_young_leaves_the_full_one_nothing(collector, monkeypatch):
    monkeypatch.setattr(module, "YOUNGER_MAX_S", 0.0)
    rows = [[number] for number in range(5_000)]
    gc.collect(1)
    assert (collector.freezes, rows[-1]) == (1, [4_999])
    assert gc.get_freeze_count() > len(rows)


def test_what_is_made_in_bulk_is_looked_at_by_no_pass(collector):
    gc.enable()
    passes = collector.passes
    with collector.bulk():
        rows = [[number] for number in range(50_000)]
        assert collector.passes == passes
    gc.disable()
    assert collector.freezes >= 1 and gc.get_freeze_count() > len(rows)


def test_garbage_is_still_collected(collector):
    knot: list[object] = []
    knot.append(knot)
    del knot
    assert gc.collect() >= 1
    assert collector.freezes == 0
    assert collector.passes >= 1


async def test_passes_come_by_time_where_as_much_is_freed_as_is_made(monkeypatch):
    """As under steady writes, when each row pushes an old one out of the journal of changes."""
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    rows = deque([[number] for number in range(20_000)], maxlen=20_000)
    made = Collector()
    made.start(asyncio.get_running_loop())
    gc.set_threshold(100_000, 1000, 1000)  # what CPython does by its count is not meant
    try:
        async with asyncio.timeout(30):
            while made.passes < 8:
                rows.extend([number] for number in range(500))
                await asyncio.sleep(0)
    finally:
        made.stop()
        gc.unfreeze()


def test_the_old_are_looked_at_before_that_takes_long(collector, monkeypatch):
    monkeypatch.setattr(module, "YOUNGER_MAX_S", 1.0)
    assert collector.generation_due() == 1
    rows: list[list[int]] = []
    while collector.generation_due() == 1:
        rows.extend([number] for number in range(2000))
        gc.collect(collector.generation_due())
    gc.collect(collector.generation_due())
    assert collector.generation_due() == 1


def test_no_pass_comes_by_time_while_there_shall_be_none(monkeypatch):
    async def main() -> tuple[int, int]:
        monkeypatch.setattr(module, "BEAT_S", 0.001)
        made = Collector()
        made.start(asyncio.get_running_loop())
        try:
            with made.bulk():
                before = made.passes
                await asyncio.sleep(0.02)
                return before, made.passes
        finally:
            made.stop()
            gc.unfreeze()

    before, after = asyncio.run(main())
    assert before == after
