"""Frames of one turn leave in one write, in order."""

from __future__ import annotations

import asyncio
import random

from agent.backend.rpc.outbox import PIECE_BYTES, Outbox


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


async def test_what_is_large_leaves_piece_by_piece_and_in_order() -> None:
    written: list[bytes] = []
    outbox = Outbox(written.append)
    large = random.Random(1).randbytes(2 * PIECE_BYTES + 100)
    outbox.put(b"head", large)
    held = [outbox.held]
    for frame in (b"", b"a", b"bc"):
        await asyncio.sleep(0)
        held.append(outbox.held)
        outbox.put(frame)
    while outbox.held:
        await asyncio.sleep(0)
    assert b"".join(written) == b"head" + large + b"abc"
    assert [len(piece) for piece in written[:2]] == [PIECE_BYTES, PIECE_BYTES]
    assert held[0] == len(large) + 4 and held[1] == len(large) + 4 - PIECE_BYTES
