"""Keys and values: compare-and-set, deletion by prefix, and the index of each key and prefix.

Decides what a write does to a key and which index a reader sees (http-api contract 1.6 and 2).
Locks and sessions are still to come; a write keeps the lock that a key has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raftstore.commands import Applied, KVDelete, KVDeleteTree, KVSet, Outcome
from raftstore.records import KVPair
from raftstore.state.frozen import Table
from raftstore.state.tables import Indexes, Tombstones

_TREE = "kv-tree"
_ROWS = "kv"


class KVStore:
    """All keys, sorted."""

    __slots__ = ("_indexes", "pairs", "tombstones")

    def __init__(self, indexes: Indexes, *, tombstones_max: int) -> None:
        self._indexes = indexes
        self.pairs = Table()
        self.tombstones = Tombstones(tombstones_max, indexes.record)

    def __len__(self) -> int:
        return len(self.pairs)

    def set(self, index: int, command: KVSet) -> Outcome:
        """Write a key; the value of the outcome says whether the comparison held."""
        stored: KVPair | None = self.pairs.get(command.key)
        if command.cas is not None and command.cas != (stored.modify_index if stored else 0):
            return Applied(index, False)
        if stored is None:
            pair = KVPair(
                key=command.key,
                value=command.value,
                flags=command.flags,
                create_index=index,
                modify_index=index,
            )
        elif stored.value == command.value and stored.flags == command.flags:
            return Applied(index, True)  # an unchanged key keeps its index and wakes nobody
        else:
            # Spelled out: replace() takes as long as all the rest of this.
            pair = KVPair(
                key=stored.key,
                value=command.value,
                flags=command.flags,
                lock_index=stored.lock_index,
                session=stored.session,
                create_index=stored.create_index,
                modify_index=index,
            )
        self._put(index, stored, pair)
        return Applied(index, True)

    def delete(self, index: int, command: KVDelete) -> Outcome:
        """Delete a key. An absent one is gone already, whatever ``cas`` says."""
        stored: KVPair | None = self.pairs.get(command.key)
        if stored is None:
            return Applied(index, True)
        if command.cas is not None and command.cas != stored.modify_index:
            return Applied(index, False)
        self._remove(index, stored)
        return Applied(index, True)

    def delete_tree(self, index: int, command: KVDeleteTree) -> Outcome:
        """Delete every key with the prefix."""
        for pair in list(self._below(command.prefix)):
            self._remove(index, pair)
        return Applied(index, True)

    def _put(self, index: int, stored: KVPair | None, pair: KVPair) -> None:
        """The one place where a key gets its row."""
        key = pair.key
        self.pairs[key] = pair
        self._indexes.record((_ROWS, key, stored, pair))
        if stored is None:
            self.tombstones.revive(key)
        self._indexes.note(_TREE, index)
        self._indexes.touch("kv", key)

    def _remove(self, index: int, pair: KVPair) -> None:
        """The one place where a key loses its row."""
        key = pair.key
        del self.pairs[key]
        self._indexes.record((_ROWS, key, pair, None))
        self.tombstones.bury(key, index)
        self._indexes.note(_TREE, index)
        self._indexes.touch("kv", key)

    def get(self, key: str) -> KVPair | None:
        """One key."""
        pair: KVPair | None = self.pairs.get(key)
        return pair

    def list(self, prefix: str) -> tuple[KVPair, ...]:
        """All keys with the prefix, sorted."""
        return tuple(self._below(prefix))

    def names(self, prefix: str) -> Iterator[str]:
        """The keys with the prefix, sorted, while nothing changes."""
        return (pair.key for pair in self._below(prefix))

    def keys(self, prefix: str, separator: str) -> tuple[str, ...]:
        """Names below the prefix, each cut after the first separator behind the prefix."""
        if not separator:
            return tuple([pair.key for pair in self._below(prefix)])
        names: dict[str, None] = {}
        for pair in self._below(prefix):
            cut = pair.key.find(separator, len(prefix))
            names[pair.key if cut < 0 else pair.key[: cut + len(separator)]] = None
        return tuple(sorted(names))

    def _below(self, prefix: str) -> Iterator[KVPair]:
        for key in self.pairs.irange(minimum=prefix):
            if not key.startswith(prefix):
                return
            yield self.pairs[key]

    def index_of(self, key: str) -> int:
        """Index of a key; of the whole tree, deletions included, when the key is absent."""
        pair: KVPair | None = self.pairs.get(key)
        return self._indexes.of(_TREE) if pair is None else pair.modify_index

    def index_below(self, prefix: str) -> int:
        """Highest index below a prefix, deletions included; of the tree if nothing ever was."""
        tree = self._indexes.of(_TREE)
        if not prefix:
            return tree
        highest = self.tombstones.highest(prefix)
        for pair in self._below(prefix):
            highest = max(highest, pair.modify_index)
        # The floor alone says nothing of this prefix, and is below what the tree said before.
        return max(highest, self.tombstones.floor) if highest else tree

    def load(self, pair: KVPair) -> None:
        """From a snapshot."""
        self.pairs[pair.key] = pair

    def check(self) -> None:
        """Assert what only our own bug can break."""
        tree = self._indexes.of(_TREE)
        for key, pair in self.pairs.items():
            assert key == pair.key, "a key is stored under another name"
            assert 0 < pair.create_index <= pair.modify_index <= tree, "index out of order"
        buried: list[Any] = list(self.tombstones.rows())
        for key, index in buried:
            assert key not in self.pairs, "a key is both there and buried"
            assert self.tombstones.floor <= index <= tree, "tombstone out of order"
