"""Many keys that go at once, taken away in slices.

A deleted tree and an ended session may concern a million keys; taking them away one after the other
in one go would hold up everything else for seconds. So the command only says which keys are gone or
free from its index on. Readers see that at once, for whatever they find passes through ``shown``;
the rows themselves are changed slice by slice, and nothing else is applied until that is done. So
all servers go through the same states in the same order, whatever the size of their slices.

A transaction may write keys behind what takes them away. Such a key is *spared*: its row is what
the transaction has left there, and whatever the sweep had in store for it was done before that.
"""

from __future__ import annotations

from dataclasses import replace

from sortedcontainers import SortedSet

from raftstore.records import KVPair, Session
from raftstore.state.heights import prefix_end

DELETE = "delete"


class Sweep:
    """What one command takes away. Nothing that it covers is written before it is done."""

    __slots__ = ("_lengths", "_trees", "index", "sessions", "spared")

    def __init__(self, index: int, spared: SortedSet) -> None:
        """``spared``: the keys that the command has written already."""
        self.index = index
        self.spared = spared
        #: The keys of these are freed, or go.
        self.sessions: dict[str, Session] = {}
        #: Prefixes whose keys go, in the order of the command, each with its place in that order
        #: and the sessions that had ended before it.
        self._trees: dict[str, tuple[int, frozenset[str]]] = {}
        self._lengths: tuple[int, ...] = ()

    def add_tree(self, prefix: str) -> None:
        """Every key with the prefix goes that is not spared."""
        if self.tree_of(prefix) is None:
            self._trees[prefix] = (len(self._trees), frozenset(self.sessions))
            self._lengths = tuple(sorted(set(map(len, self._trees))))

    def tree_of(self, key: str) -> str | None:
        """The tree with which a key has gone: the first one that it was in."""
        found: tuple[int, str] | None = None
        for length in self._lengths:
            prefix = key[:length]
            place = self._trees.get(prefix)
            if place is not None and (found is None or place[0] < found[0]):
                found = place[0], prefix
        return None if found is None else found[1]

    def outer_trees(self) -> list[str]:
        """The trees in the order of their names, without those that are within another."""
        outer: list[str] = []
        for prefix in sorted(self._trees):
            if not outer or not prefix.startswith(outer[-1]):
                outer.append(prefix)
        return outer

    def freed_by(self, pair: KVPair) -> Session | None:
        """The session whose end frees a key, before it goes with its tree if it does that."""
        session = self.sessions.get(pair.session) if pair.session else None
        if session is not None:
            tree = self.tree_of(pair.key)
            if tree is not None and session.id not in self._trees[tree][1]:
                return None  # the key had gone when its session ended
        return session

    def shown(self, pair: KVPair) -> KVPair | None:
        """What a reader sees of a row that is still there; None for nothing."""
        if pair.key in self.spared:
            return pair
        if self._trees and self.tree_of(pair.key) is not None:
            return None
        session = self.sessions.get(pair.session) if pair.session else None
        if session is None:
            return pair
        if session.behavior == DELETE:
            return None
        return replace(pair, session="", modify_index=self.index)

    def after(self, key: str) -> str | None:
        """Where a walk goes on behind a key that is not shown; None at the end."""
        tree = self.tree_of(key)
        if tree is None:
            return key + "\0"
        end = prefix_end(tree)
        spared = next(self.spared.irange(key, end, (False, False)), None)
        return end if spared is None else str(spared)
