"""Waits end with what they wait for, in time, or with whoever cancels them."""

from __future__ import annotations

import asyncio

import pytest

from proxy.waiting import set_within


async def test_it_says_whether_it_came() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0.01)
    asyncio.get_running_loop().call_soon(event.set)
    assert await set_within(event, 30)
    assert await set_within(event, None)


async def test_a_cancellation_that_comes_with_the_event_is_one() -> None:
    event = asyncio.Event()
    task = asyncio.get_running_loop().create_task(set_within(event, 30))
    for _ in range(3):  # until it waits, whatever is between it and the event
        await asyncio.sleep(0)
    event.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
