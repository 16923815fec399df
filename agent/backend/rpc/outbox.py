"""Frames written in one turn of the loop leave in one write.

A forwarded change is a small frame each way. Sixty-four of them a turn are sixty-four system calls
on both ends, or one. Nothing waits for it: what is put leaves at the end of the same turn. Only
what is large leaves piece by piece, a turn each: TLS encrypts all that it is given before it
returns, and a long answer would hold the loop for that time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

#: The most that is written in one turn, in bytes: well under a millisecond with TLS.
PIECE_BYTES = 256 * 1024


class Outbox:
    """Gathers the frames of one connection."""

    __slots__ = ("_loop", "_parts", "_write", "held")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """``write`` gets the bytes; it is for it to see whether there is still a connection."""
        self._write = write
        self._parts: deque[bytes | memoryview] = deque()
        self._loop = asyncio.get_running_loop()
        self.held = 0
        """Bytes that have not left yet."""

    def put(self, *parts: bytes) -> None:
        """Write a frame soon, which may come in parts."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.extend(parts)
        self.held += sum(map(len, parts))

    def _flush(self) -> None:
        parts = self._parts
        piece: list[bytes | memoryview] = []
        room = PIECE_BYTES
        while parts and room > 0:
            part = parts.popleft()
            if len(part) > room:
                rest = memoryview(part)
                part, rest = rest[:room], rest[room:]
                parts.appendleft(rest)
            piece.append(part)
            room -= len(part)
        self.held -= PIECE_BYTES - room
        if parts:
            self._loop.call_soon(self._flush)
        self._write(b"".join(piece))
