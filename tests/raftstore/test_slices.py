"""Steps of long work between other work."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from raftstore import slices
from raftstore.slices import at_once, in_slices


def counting(to: int, done: list[int]) -> Generator[None, None, str]:
    for number in range(to):
        done.append(number)
        yield
    return "all"


async def test_others_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", -1.0)  # every step is a slice
    done: list[int] = []
    task = asyncio.get_running_loop().create_task(in_slices(counting(50, done)))
    seen = []
    while not task.done():
        seen.append(len(done))
        await asyncio.sleep(0)
    assert await task == "all"
    assert set(range(1, 50)) <= set(seen)


async def test_short_work_is_one_turn() -> None:
    steps = counting(5, [])
    task = asyncio.get_running_loop().create_task(in_slices(steps))
    await asyncio.sleep(0)
    assert task.done()


async def test_an_error_is_the_callers() -> None:
    def failing() -> Generator[None, None, None]:
        yield
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await in_slices(failing())
    with pytest.raises(ValueError, match="broken"):
        at_once(failing())
    assert at_once(counting(3, [])) == "all"
