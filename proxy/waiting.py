"""Waiting for something, but not for ever."""

from __future__ import annotations

import asyncio


async def set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until the event is set; False when it was not within so long (None: wait for ever).

    Not ``asyncio.wait_for``: that of Python 3.11 takes a cancellation that comes together with the
    event for an end of waiting, and whoever cancelled waits for ever.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
