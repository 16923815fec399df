"""Keys and values: compare-and-set, deletion by prefix, and the index of each key and prefix.

Decides what a write does to a key and which index a reader sees (http-api contract 1.6 and 2). A
write leaves a key with the session that holds it, but sets its lock index to 0, as Consul does;
taking and giving back locks is locks.py's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from raftstore.commands import Applied, KVDelete, KVDeleteTree, KVSet, applied
from raftstore.records import KVPair
from raftstore.state.frozen import Table
from raftstore.state.heights import Heights, prefix_end
from raftstore.state.tables import Indexes, Tombstones
from raftstore.thawed import maker_of

_TREE = "kv-tree"
_ROWS = "kv"
_make = maker_of(KVPair)


class KVStore:
    """All keys, sorted."""

    __slots__ = ("_heights", "_held", "_indexes", "_undo", "pairs", "tombstones")

    def __init__(self, indexes: Indexes, *, tombstones_max: int) -> None:
        self._indexes = indexes
        self._undo = indexes.undo
        self.pairs = Table()
        self._held: dict[str, dict[str, None]] = {}  # session -> its keys
        self._heights = Heights()  # of the keys that are there and of the tombstones
        self.tombstones = Tombstones(tombstones_max, indexes)

    def __len__(self) -> int:
        return len(self.pairs)

    def set(self, index: int, command: KVSet) -> Applied:
        """Write a key; the value of the outcome says whether the comparison held."""
        key = command.key
        stored: KVPair | None = self.pairs.get(key)
        cas = command.cas
        if cas is not None and cas != (stored.modify_index if stored else 0):
            return applied(index, False)
        if stored is None:
            pair = _make(key, command.value, command.flags, 0, "", index, index)
        else:
            created, modified = stored.create_index, stored.modify_index
            pair = _make(key, command.value, command.flags, 0, stored.session, created, modified)
        self._put(index, stored, pair)
        return applied(index, True)

    def write(self, index: int, pair: KVPair) -> None:
        """Store a pair under its key; its indexes are set here."""
        stored: KVPair | None = self.pairs.get(pair.key)
        pair = replace(
            pair,
            create_index=stored.create_index if stored else index,
            modify_index=stored.modify_index if stored else index,
        )
        self._put(index, stored, pair)

    def _put(self, index: int, stored: KVPair | None, pair: KVPair) -> None:
        """The one place where a key gets its row. ``pair`` has the stored one's indexes."""
        key = pair.key
        if stored is None:
            self.tombstones.revive(key)
        else:
            if pair.value == stored.value and pair == stored:
                return  # an unchanged key keeps its index and wakes nobody
            pair = _make(
                key,
                pair.value,
                pair.flags,
                pair.lock_index,
                pair.session,
                pair.create_index,
                index,
            )
            if stored.session:
                self._let_go(stored)
        self._undo.item(self.pairs, key)
        self.pairs[key] = pair
        if pair.session:
            self._hold(pair)
        self._indexes.record((_ROWS, key, stored, pair))
        self._changed(key, index)

    def delete(self, index: int, command: KVDelete) -> Applied:
        """Delete a key. An absent one is gone already, whatever ``cas`` says."""
        stored: KVPair | None = self.pairs.get(command.key)
        if stored is None:
            return Applied(index, True)
        if command.cas is not None and command.cas != stored.modify_index:
            return Applied(index, False)
        self.remove(index, stored)
        return Applied(index, True)

    def delete_tree(self, index: int, command: KVDeleteTree) -> Applied:
        """Delete every key with the prefix."""
        for pair in list(self._below(command.prefix)):
            self.remove(index, pair)
        return Applied(index, True)

    def remove(self, index: int, pair: KVPair) -> None:
        """Delete a key that is there: the one place where a key loses its row."""
        key = pair.key
        self._let_go(pair)
        self._undo.item(self.pairs, key)
        del self.pairs[key]
        self._indexes.record((_ROWS, key, pair, None))
        forgotten = self.tombstones.bury(key, index)
        self._changed(key, index)
        if forgotten is not None:
            self._raise(forgotten, 0)

    def _changed(self, key: str, index: int) -> None:
        self._raise(key, index)
        self._indexes.note(_TREE, index)
        self._indexes.touch("kv", key)

    def _raise(self, key: str, index: int) -> None:
        if self._undo.open:
            before = self._heights.get(key)
            self._undo.step(lambda: self._heights.put(key, before))
        self._heights.put(key, index)

    # -- who holds what --------------------------------------------------------------------------

    def held_by(self, session: str) -> tuple[KVPair, ...]:
        """The keys that a session holds, sorted."""
        return tuple([self.pairs[key] for key in sorted(self._held.get(session, ()))])

    def held_keys(self, session: str) -> Collection[str]:
        """The names of these keys, in no order."""
        return self._held.get(session, {}).keys()

    def _hold(self, pair: KVPair) -> None:
        if pair.session:
            if pair.session not in self._held:
                self._undo.item(self._held, pair.session)
                self._held[pair.session] = {}
            keys = self._held[pair.session]
            self._undo.item(keys, pair.key)
            keys[pair.key] = None

    def _let_go(self, pair: KVPair) -> None:
        if pair.session:
            keys = self._held[pair.session]
            self._undo.item(keys, pair.key)
            del keys[pair.key]
            if not keys:
                self._undo.item(self._held, pair.session)
                del self._held[pair.session]

    # -- reading ---------------------------------------------------------------------------------

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
        names: list[str] = []
        start: str | None = prefix
        while start is not None:
            key = next(self.pairs.irange(minimum=start), None)
            if key is None or not key.startswith(prefix):
                break
            cut = key.find(separator, len(prefix))
            if cut < 0:
                names.append(key)
                start = key + "\0"
            else:  # one name stands for all that begins with it: none of it is looked at
                names.append(key[: cut + len(separator)])
                start = prefix_end(names[-1])
        return tuple(names)

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
        highest = self._heights.highest(prefix)
        # The floor alone says nothing of this prefix, and is below what the tree said before.
        return max(highest, self.tombstones.floor) if highest else tree

    # -- snapshots -------------------------------------------------------------------------------

    def load(self, pair: KVPair) -> None:
        """From a snapshot."""
        self.pairs[pair.key] = pair
        self._hold(pair)
        self._heights.put(pair.key, pair.modify_index)

    def load_tombstone(self, key: str, index: int) -> None:
        """From a snapshot."""
        self.tombstones.bury(key, index)
        self._heights.put(key, index)

    def check(self) -> None:
        """Assert what only our own bug can break."""
        tree = self._indexes.of(_TREE)
        for key, pair in self.pairs.items():
            assert key == pair.key, "a key is stored under another name"
            assert 0 < pair.create_index <= pair.modify_index <= tree, "index out of order"
            assert self._heights.get(key) == pair.modify_index, "a key has another height"
            assert not pair.session or key in self._held[pair.session], "a lock is not listed"
        buried: list[Any] = list(self.tombstones.rows())
        for key, index in buried:
            assert key not in self.pairs, "a key is both there and buried"
            assert self.tombstones.floor <= index <= tree, "tombstone out of order"
            assert self._heights.get(key) == index, "a tombstone has another height"
        held = sum(map(len, self._held.values()))
        assert held == sum(1 for pair in self.pairs.values() if pair.session)
        assert all(self._held.values()), "a session is listed with no keys"
        assert len(self._heights) == len(self.pairs) + len(buried)
        self._heights.check()
