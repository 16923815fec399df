"""Messages on their way out, in the two classes that the disk makes of them."""

from __future__ import annotations

from typing import NamedTuple

from raftstore.raft.frames import Message


class Outgoing(NamedTuple):
    """A message and the node id it is for."""

    peer: str
    message: Message


class Outbox:
    """What one step has to say, in order. *Early* messages may leave before this step's batch is on
    disk; *late* ones rest on it."""

    __slots__ = ("_early", "_late")

    def __init__(self) -> None:
        self._early: list[Outgoing] = []
        self._late: list[Outgoing] = []

    def put(self, peer: str, message: Message, *, late: bool) -> None:
        """Say one more thing."""
        (self._late if late else self._early).append(Outgoing(peer, message))

    def take(self) -> tuple[list[Outgoing], list[Outgoing]]:
        """(early, late) since the last call."""
        taken = self._early, self._late
        self._early, self._late = [], []
        return taken

    def take_early(self) -> list[Outgoing]:
        """The early ones since the last call; the late ones stay."""
        taken, self._early = self._early, []
        return taken
