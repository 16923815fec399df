"""What waits for a step: messages of other servers, and proposals. Bounded in number and bytes."""

from __future__ import annotations

from collections import deque

from raftstore.raft.frames import Message
from raftstore.raft.requests import Proposal


class Inbox:
    """Messages with their senders, in the order in which they came."""

    __slots__ = ("_bytes", "_bytes_max", "_messages_max", "messages")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self.messages: list[tuple[str, Message]] = []
        """What waits; to be looked at."""
        self._bytes = 0

    def put(self, peer: str, message: Message, size: int) -> bool:
        """Queue a message of so many bytes; False when there is no room."""
        total = self._bytes + size
        if len(self.messages) >= self._messages_max or total > self._bytes_max:
            return False
        self.messages.append((peer, message))
        self._bytes = total
        return True

    def take(self) -> list[tuple[str, Message]]:
        """Take out all."""
        messages, self.messages = self.messages, []
        self._bytes = 0
        return messages


class Intake:
    """Proposals that have not entered the log."""

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_proposals")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._proposals: deque[Proposal] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._proposals)

    def has_room(self, size: int) -> bool:
        """May one of so many bytes come in?"""
        return len(self._proposals) < self._count_max and self._bytes + size <= self._bytes_max

    def put(self, proposal: Proposal) -> None:
        """Queue a proposal, for which there is room."""
        self._proposals.append(proposal)
        self._bytes += len(proposal.payload)

    def take(self, count_max: int, bytes_max: int) -> list[Proposal]:
        """Take out the oldest ones that have not been withdrawn, but at least one if there is any:
        no more of them, nor of bytes, than that."""
        taken: list[Proposal] = []
        size = 0
        while self._proposals and len(taken) < count_max:
            proposal = self._proposals[0]
            if not proposal.withdrawn:
                if taken and size + len(proposal.payload) > bytes_max:
                    break
                taken.append(proposal)
                size += len(proposal.payload)
            self._proposals.popleft()
            self._bytes -= len(proposal.payload)
        return taken

    def drain(self) -> list[Proposal]:
        """Take out all, withdrawn ones too."""
        proposals = list(self._proposals)
        self._proposals.clear()
        self._bytes = 0
        return proposals
