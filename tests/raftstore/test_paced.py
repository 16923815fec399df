"""Long work leaves turns of the loop to others, and ends all the same."""

from __future__ import annotations

import asyncio
import itertools

from raftstore import paced as module
from raftstore.commands import KVDeleteTree, KVSet
from raftstore.queries import At, KVGet, KVKeys, KVList
from raftstore.state import listings
from tests.raftstore.instant import instant_store


async def test_a_long_listing_ends_though_its_rows_keep_changing(monkeypatch):
    """Three times it begins again; then applying waits for it."""
    monkeypatch.setattr(listings, "AT_ONCE_ROWS", 4)
    monkeypatch.setattr(listings, "SLICE_ROWS", 1)
    monkeypatch.setattr(module, "SLICE_S", 0.0)
    store, log = await instant_store()
    for number in range(20):
        await store.propose(KVSet(key=f"{number:02}k"))
    held: list[bool] = []

    async def keep_writing() -> None:
        while True:
            if log.paced():
                held.append(True)
            else:
                await store.propose(KVSet(key="00k", value=b"%d" % log.index))
            await asyncio.sleep(0)

    writing = asyncio.get_running_loop().create_task(keep_writing())
    await asyncio.sleep(0)
    answer = await store.gathered(KVKeys("", "k"))
    writing.cancel()
    assert len(answer.value) == 20
    assert held, "nothing but a pause in applying can have let it end"
    assert not log.paced()
    await store.stop()


async def test_a_thousand_blocking_queries_are_woken_in_slices():
    store, _ = await instant_store()
    turns: list[int] = []
    answered = 0

    async def wait() -> None:
        nonlocal answered
        await store.wait(KVGet("a"), min_index=1, wait_s=30)
        answered += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(1000):
            group.create_task(wait())
        await asyncio.sleep(0)
        await store.propose(KVSet(key="a"))
        while answered < 1000:
            turns.append(answered)
            await asyncio.sleep(0)
    steps = [after - before for before, after in itertools.pairwise([*turns, answered])]
    assert max(steps) <= module.WOKEN_AT_ONCE
    await store.stop()


async def test_a_tree_goes_in_slices_and_what_tells_of_the_past_waits():
    store, log = await instant_store()
    for number in range(1000):
        await store.propose(KVSet(key=f"t/{number:04}"))
    await store.propose(KVDeleteTree(prefix="t/"))
    assert store.state.unfinished and log.paced()
    assert store.answer(KVList("t/")).value == ()
    await store.settled()
    assert not store.state.unfinished
    assert log.resumed == 1
    assert len(store.state.answer_at(KVList("t/"), At(index=log.index - 1)).value) == 1000
    await store.stop()
