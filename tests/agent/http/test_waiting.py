"""Places for requests that wait."""

from __future__ import annotations

import asyncio

import pytest

from agent.errors import RequestError
from agent.http.waiting import Waiting


async def test_a_place_is_given_back() -> None:
    waiting = Waiting(1)
    for _ in range(3):
        with waiting.place():
            assert len(waiting) == 1
        assert len(waiting) == 0


async def test_no_place_is_left_beyond_the_bound() -> None:
    waiting = Waiting(0)
    with pytest.raises(RequestError) as caught, waiting.place():
        pass
    assert caught.value.status == 429 and waiting.refused == 1


async def test_a_stop_ends_everyone_with_an_answer_and_lets_nobody_in() -> None:
    waiting = Waiting(10)

    async def wait() -> None:
        with waiting.place():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                waiting.raise_if_stopping()
                raise

    async with asyncio.timeout(5):
        held = [asyncio.get_running_loop().create_task(wait()) for _ in range(3)]
        while len(waiting) < 3:
            await asyncio.sleep(0)
        waiting.stop()
        for task in held:
            with pytest.raises(RequestError, match="shutting down"):
                await task
    with pytest.raises(RequestError, match="shutting down"), waiting.place():
        pass
