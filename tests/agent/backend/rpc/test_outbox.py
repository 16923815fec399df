"""Frames of one turn leave in one write, in order."""

from __future__ import annotations

import asyncio

from agent.backend.rpc.outbox import Outbox


async def test_what_is_put_in_one_turn_leaves_in_one_write() -> None:
    written: list[bytes] = []
    outbox = Outbox(written.append)
    for frame in (b"a", b"bc", b"d"):
        outbox.put(frame)
    assert not written
    await asyncio.sleep(0)
    assert written == [b"abcd"]
    outbox.put(b"e")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert written == [b"abcd", b"e"]
