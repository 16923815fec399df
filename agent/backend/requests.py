"""Identities for requests, so that a retried command is applied once.

The agent that first gets a change numbers it and keeps the number over every retry, whichever
server takes it in the end (raft-engine contract 2.8). The floor tells the state machine which
outcomes nobody can ask for again.
"""

from __future__ import annotations

from raftstore.commands import RequestId, request_id


class RequestIds:
    """Numbers the changes of one boot of one agent."""

    __slots__ = ("_next", "_open", "_sender")

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._next = 0
        self._open: dict[int, None] = {}

    def begin(self) -> RequestId:
        """A fresh identity; to be given back with ``end`` when its fate is known or given up."""
        self._next += 1
        self._open[self._next] = None
        # Numbers are handed out in order, so the oldest open one is the first key.
        return request_id(self._sender, self._next, next(iter(self._open)))

    def end(self, request: RequestId) -> None:
        """Nobody will retry this request any more."""
        self._open.pop(request.counter, None)
