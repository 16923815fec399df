"""Many keys that go at once, taken away in slices.

A deleted tree and an ended session may concern a million keys; taking them away one after the other
in one go would hold up everything else for seconds. So the command only says which keys are gone or
free from its index on. Readers see that at once, for whatever they find passes through ``shown``;
the rows themselves are changed slice by slice, and nothing else is applied until that is done. So
all servers go through the same states in the same order, whatever the size of their slices.
"""

from __future__ import annotations

from dataclasses import replace

from raftstore.records import KVPair, Session
from raftstore.state.heights import prefix_end

DELETE = "delete"


class Sweep:
    """What one command takes away. No key that it covers is written before it is done."""

    __slots__ = ("index", "sessions", "tree")

    def __init__(self, index: int) -> None:
        self.index = index
        #: Every key with this prefix goes.
        self.tree: str | None = None
        #: The keys of these are freed, or go.
        self.sessions: dict[str, Session] = {}

    def shown(self, pair: KVPair) -> KVPair | None:
        """What a reader sees of a row that is still there; None for nothing."""
        if self.tree is not None and pair.key.startswith(self.tree):
            return None
        session = self.sessions.get(pair.session) if pair.session else None
        if session is None:
            return pair
        if session.behavior == DELETE:
            return None
        return replace(pair, session="", modify_index=self.index)

    def after(self, key: str) -> str | None:
        """Where a walk goes on behind a key that is not shown; None at the end."""
        if self.tree is not None and key.startswith(self.tree):
            return prefix_end(self.tree)
        return key + "\0"
