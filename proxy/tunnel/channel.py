"""What one end of a tunnel knows of one stream."""

from __future__ import annotations

from collections import deque
from typing import Any


class Channel:
    """One stream. ``handle`` is whatever the shell wants to find again; the core never looks."""

    __slots__ = (
        "answered",
        "closed",
        "credited_at",
        "end_sent",
        "handle",
        "id",
        "local_over",
        "moved",
        "moves_in",
        "moves_out",
        "offered",
        "owed",
        "paced",
        "reads",
        "receive_left",
        "remote_over",
        "send_left",
        "waiting",
        "window",
    )

    def __init__(self, id_: int, send_left: int, window: int, now: float) -> None:
        self.id = id_
        self.handle: Any = None
        #: What the peer still takes, and what we still take; ``owed`` is read and not yet granted
        #: again, out of a ``window`` that may grow.
        self.send_left = send_left
        self.receive_left = window
        self.window = window
        self.owed = 0
        self.credited_at = now
        #: Whether somebody takes what comes. Until then the window does not move.
        self.reads = False
        self.answered = False
        self.local_over = False
        self.end_sent = False
        self.remote_over = False
        self.closed = False
        self.moved = 0
        #: How much was moved at a moment (loop time), to see how fast it goes.
        self.paced = (0, now)
        #: Whether it was offered a connection of its own, and which directions went there.
        self.offered = False
        self.moves_in = False
        self.moves_out = False
        self.waiting: deque[memoryview] = deque()

    def cut(self, size: int) -> tuple[list[memoryview], int]:
        """Take the first bytes of what waits, at most so many; and how many they are."""
        pieces: list[memoryview] = []
        left = size
        while self.waiting and left:
            piece = self.waiting.popleft()
            if len(piece) > left:
                self.waiting.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        return pieces, size - left
