"""Steps of long work, taken between other work of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

#: Work in slices holds the loop for so long at a time, in seconds.
SLICE_S = 0.002


async def in_slices(steps: Generator[None, None, T]) -> T:
    """The value of steps, none of which may take long. Raises what they raise."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SLICE_S
    try:
        while True:
            next(steps)
            if loop.time() > until:
                await asyncio.sleep(0)
                until = loop.time() + SLICE_S
    except StopIteration as end:
        value: T = end.value
        return value


def at_once(steps: Generator[None, None, T]) -> T:
    """The same for whom nobody waits."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
