"""Frames written in one turn of the loop leave in one write.

A forwarded change is a small frame each way. Sixty-four of them a turn are sixty-four system calls
on both ends, or one. Nothing waits for it: what is put leaves at the end of the same turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Outbox:
    """Gathers the frames of one connection."""

    __slots__ = ("_frames", "_loop", "_write", "held")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """``write`` gets the bytes; it is for it to see whether there is still a connection."""
        self._write = write
        self._frames: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self.held = 0
        """Bytes that have not left yet."""

    def put(self, frame: bytes) -> None:
        """Write soon."""
        if not self._frames:
            self._loop.call_soon(self._flush)
        self._frames.append(frame)
        self.held += len(frame)

    def _flush(self) -> None:
        frames, self._frames, self.held = self._frames, [], 0
        self._write(b"".join(frames) if len(frames) > 1 else frames[0])
