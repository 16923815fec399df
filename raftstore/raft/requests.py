"""What callers have asked a replica for and what has not entered the log yet; what they get."""

from __future__ import annotations

from dataclasses import dataclass

from raftstore.raft.changes import Change
from raftstore.thawed import maker_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """Success: the index of the write, or the index a read must have seen, and apply's value."""

    index: int
    value: object = None


succeeded = maker_of(Outcome)
"""An ``Outcome`` of index and value: one is made for every write and read."""


class Proposal:
    """A payload on its way into the log. ``index`` is None until it has entered."""

    __slots__ = ("index", "payload", "ticket", "withdrawn")

    def __init__(self, ticket: object, payload: bytes) -> None:
        self.ticket = ticket
        self.payload = payload
        self.index: int | None = None
        self.withdrawn = False


class ChangeRequest:
    """A change of the configuration on its way into the log; nobody may wait for it (None)."""

    __slots__ = ("change", "index", "ticket", "withdrawn")

    def __init__(self, ticket: object, change: Change) -> None:
        self.ticket = ticket
        self.change = change
        self.index: int | None = None
        self.withdrawn = False
