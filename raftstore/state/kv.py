"""Keys and values: compare-and-set, deletion by prefix, and the index of each key and prefix.

Decides what a write does to a key and which index a reader sees (http-api contract 1.6 and 2). A
write leaves a key with the session that holds it, but sets its lock index to 0, as Consul does;
taking and giving back locks is locks.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, MutableMapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from sortedcontainers import SortedDict, SortedSet

from raftstore.commands import Applied, KVDelete, KVDeleteTree, KVSet, applied
from raftstore.records import KVPair, Session
from raftstore.state.frozen import Table
from raftstore.state.heights import Heights, prefix_end
from raftstore.state.sweeps import Sweep
from raftstore.state.tables import Indexes, Tombstones
from raftstore.thawed import maker_of

_TREE = "kv-tree"
_ROWS = "kv"
_make = maker_of(KVPair)

#: A command that removes or frees more keys than this does it in slices (sweeps.py).
AT_ONCE_MAX = 256
#: The keys of a session that holds more than this are kept sorted, so that they can be walked.
_HELD_SORTED = 1024


class KVStore:
    """All keys, sorted."""

    __slots__ = ("_heights", "_held", "_indexes", "_undo", "_written", "at_once", "on_freed",
                 "pairs", "sweep", "tombstones")  # fmt: skip

    def __init__(self, indexes: Indexes, *, tombstones_max: int) -> None:
        self._indexes = indexes
        self._undo = indexes.undo
        self.pairs = Table()
        self._held: dict[str, MutableMapping[str, None]] = {}  # session -> its keys
        self._heights = Heights()  # of the keys that are there and of the tombstones
        self.tombstones = Tombstones(tombstones_max, indexes)
        #: Keys that are gone or free already, and are still here as they were.
        self.sweep: Sweep | None = None
        #: Frees a key of a session that has ended, or removes it; set by locks.py.
        self.on_freed: Callable[[int, KVPair, Session], None] = lambda index, pair, session: None
        #: How many more keys the command may remove or free at once by trees and sessions.
        self.at_once = AT_ONCE_MAX
        #: The keys that the open transaction has written.
        self._written: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def begin(self) -> None:
        """A transaction begins."""
        self._written = {}

    def settle(self, index: int, key: str) -> None:
        """Before a key is looked at to be written: do at once what the sweep has in store for it.

        There is one only while a transaction goes on behind what it takes away.
        """
        sweep = self.sweep
        if sweep is None:
            return
        pair: KVPair | None = self.pairs.get(key)
        if pair is not None and key not in sweep.spared:
            self.take_away(index, pair)
        sweep.spared.add(key)

    def take_away(self, index: int, pair: KVPair) -> None:
        """What the sweep does to a row that it covers."""
        sweep = self.sweep
        assert sweep is not None, "there is nothing to sweep"
        session = sweep.freed_by(pair)
        if session is not None:
            self.on_freed(index, pair, session)
        if sweep.tree_of(pair.key) is not None:
            left: KVPair | None = self.pairs.get(pair.key)
            if left is not None:
                self.remove(index, left)

    def set(self, index: int, command: KVSet) -> Applied:
        """Write a key; the value of the outcome says whether the comparison held."""
        key = command.key
        if self.sweep is not None:
            self.settle(index, key)
        stored: KVPair | None = self.pairs.get(key)
        cas = command.cas
        if cas is not None and cas != (stored.modify_index if stored else 0):
            return applied(index, False)
        if stored is None:
            self._store(index, None, _make(key, command.value, command.flags, 0, "", index, index))
            return applied(index, True)
        if (
            command.value == stored.value
            and command.flags == stored.flags
            and not stored.lock_index
        ):
            return applied(index, True)  # an unchanged key keeps its index and wakes nobody
        session, created = stored.session, stored.create_index
        pair = _make(key, command.value, command.flags, 0, session, created, index)
        self._store(index, stored, pair)
        return applied(index, True)

    def write(self, index: int, pair: KVPair) -> None:
        """Store a pair under its key; its indexes are set here."""
        stored: KVPair | None = self.pairs.get(pair.key)
        if stored is not None:
            created, modified = stored.create_index, stored.modify_index
            if replace(pair, create_index=created, modify_index=modified) == stored:
                return  # an unchanged key keeps its index and wakes nobody
        created = stored.create_index if stored else index
        self._store(index, stored, replace(pair, create_index=created, modify_index=index))

    def _store(self, index: int, stored: KVPair | None, pair: KVPair) -> None:
        """The one place where a key gets its row."""
        key = pair.key
        if stored is None:
            self.tombstones.revive(key)
        elif stored.session:
            self._let_go(stored)
        if self._undo.open:
            self._undo.item(self.pairs, key)
            if self.sweep is None:
                self._written[key] = None
            else:
                self.sweep.spared.add(key)
        self.pairs[key] = pair
        if pair.session:
            self._hold(pair)
        self._indexes.record((_ROWS, key, stored, pair))
        self._changed(key, index)

    def delete(self, index: int, command: KVDelete) -> Applied:
        """Delete a key. An absent one is gone already, whatever ``cas`` says."""
        self.settle(index, command.key)
        stored: KVPair | None = self.pairs.get(command.key)
        if stored is None:
            return Applied(index, True)
        if command.cas is not None and command.cas != stored.modify_index:
            return Applied(index, False)
        self.remove(index, stored)
        return Applied(index, True)

    def delete_tree(self, index: int, command: KVDeleteTree) -> Applied:
        """Delete every key with the prefix."""
        found = list(islice(self.below(command.prefix), self.at_once + 1))
        if len(found) > self.at_once:
            sweep = self._sweeping(index)
            found = [self.pairs[key] for key in _below(sweep.spared, command.prefix)
                     if key in self.pairs]  # fmt: skip
            sweep.add_tree(command.prefix)
        else:
            self.at_once -= len(found)
        for pair in found:
            self.settle(index, pair.key)
            left: KVPair | None = self.pairs.get(pair.key)
            if left is not None:
                self.remove(index, left)
        return Applied(index, True)

    def end_holder(self, index: int, session: Session) -> int:
        """Free or remove the keys of a session that has ended; gives their number.

        Of many, some are only seen as ``on_freed`` makes them from now on.
        """
        held = self._held.get(session.id, {})
        count = self._count_held(held)
        if count > self.at_once:
            sweep = self._sweeping(index)
            now = [key for key in sweep.spared if key in held]
            sweep.sessions[session.id] = session
        else:
            self.at_once -= count
            now = sorted(held)
            if self.sweep is not None:
                now = [key for key in now if self.sweep.shown(self.pairs[key]) is not None]
        for key in now:
            self.on_freed(index, self.pairs[key], session)
        return count

    def _count_held(self, held: MutableMapping[str, None]) -> int:
        """How many of these are there, and not gone with a tree."""
        sweep = self.sweep
        if sweep is None:
            return len(held)
        if not isinstance(held, SortedDict):
            return sum([key in sweep.spared or sweep.tree_of(key) is None for key in held])
        gone = 0
        for tree in sweep.outer_trees():
            end = prefix_end(tree)
            last = len(held) if end is None else held.bisect_left(end)
            gone += last - held.bisect_left(tree)
        return len(held) - gone + sum([key in held and sweep.tree_of(key) is not None
                                       for key in sweep.spared])  # fmt: skip

    def _sweeping(self, index: int) -> Sweep:
        if self.sweep is None:
            self._undo.attr(self, "sweep")
            self.sweep = Sweep(index, SortedSet(self._written if self._undo.open else ()))
        self._indexes.note(_TREE, index)
        return self.sweep

    def next_swept(self, count: int) -> list[KVPair]:
        """Keys that the sweep has still to remove, or to free."""
        sweep = self.sweep
        if sweep is None:
            return []
        found: list[KVPair] = []
        for tree in sweep.outer_trees():
            left = (key for key in _below(self.pairs, tree) if key not in sweep.spared)
            found += [self.pairs[key] for key in islice(left, count - len(found))]
        for session_id in sweep.sessions:
            keys = self._held.get(session_id, {})
            # In the same order everywhere: a small one stands in the order in which it was held.
            ordered = keys if isinstance(keys, SortedDict) else sorted(keys)
            left = (k for k in ordered if k not in sweep.spared and sweep.tree_of(k) is None)
            found += [self.pairs[key] for key in islice(left, count - len(found))]
        return found

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
        indexes = self._indexes
        if self._undo.open:
            self._raise(key, index)
        else:
            self._heights.put(key, index)
        indexes.note(_TREE, index)
        indexes.touch("kv", key)

    def _raise(self, key: str, index: int) -> None:
        if self._undo.open:
            before = self._heights.get(key)
            self._undo.step(lambda: self._heights.put(key, before))
        self._heights.put(key, index)

    # -- who holds what --------------------------------------------------------------------------

    def held_keys(self, session: str) -> Collection[str]:
        """The names of these keys, in no order."""
        return self._held.get(session, {}).keys()

    def _hold(self, pair: KVPair) -> None:
        if pair.session:
            if pair.session not in self._held:
                self._undo.item(self._held, pair.session)
                self._held[pair.session] = {}
            keys = self._held[pair.session]
            if len(keys) == _HELD_SORTED and not isinstance(keys, SortedDict):
                self._undo.item(self._held, pair.session)
                keys = self._held[pair.session] = SortedDict(keys)
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
        return pair if pair is None or self.sweep is None else self.sweep.shown(pair)

    def list(self, prefix: str) -> tuple[KVPair, ...]:
        """All keys with the prefix, sorted."""
        return tuple(self.below(prefix))

    def names(self, prefix: str) -> Iterator[str]:
        """The keys with the prefix, sorted, while nothing changes."""
        return (pair.key for pair in self.below(prefix))

    def keys(self, prefix: str, separator: str) -> tuple[str, ...]:
        """Names below the prefix, each cut after the first separator behind the prefix."""
        return tuple(self.each_name(prefix, separator))

    def each_name(self, prefix: str, separator: str, start: str | None = None) -> Iterator[str]:
        """The same one by one from ``start`` on, while nothing changes."""
        if not separator:
            yield from self.names(prefix)
            return
        start = prefix if start is None else start
        while start is not None:
            key = next(self.pairs.irange(minimum=start), None)
            if key is None or not key.startswith(prefix):
                break
            if self.sweep is not None and self.sweep.shown(self.pairs[key]) is None:
                start = self.sweep.after(key)
                continue
            cut = key.find(separator, len(prefix))
            if cut < 0:
                yield key
                start = key + "\0"
            else:  # one name stands for all that begins with it: none of it is looked at
                name = key[: cut + len(separator)]
                yield name
                start = prefix_end(name)

    def below(self, prefix: str) -> Iterator[KVPair]:
        """The keys with the prefix, sorted, while nothing changes."""
        sweep = self.sweep
        if sweep is None:
            for key in _below(self.pairs, prefix):
                yield self.pairs[key]
            return
        start: str | None = prefix
        while start is not None:
            start, walk = None, _below(self.pairs, prefix, start)
            for key in walk:
                shown = sweep.shown(self.pairs[key])
                if shown is None:  # a tree that has gone is not walked
                    start = sweep.after(key)
                    break
                yield shown

    def walk(self, prefix: str, slice_rows: int) -> Iterator[Sequence[KVPair]]:
        """What ``list`` gives now, in slices, whatever is written while they are taken."""
        frozen: Iterator[Sequence[KVPair]] = self.pairs.freeze(slice_rows, prefix)
        if self.sweep is None:
            return frozen
        return _seen(frozen, self.sweep)

    def index_of(self, key: str) -> int:
        """Index of a key; of the whole tree, deletions included, when the key is absent."""
        pair = self.get(key)
        return self._indexes.of(_TREE) if pair is None else pair.modify_index

    def index_below(self, prefix: str) -> int:
        """Highest index below a prefix, deletions included; of the tree if nothing ever was."""
        tree = self._indexes.of(_TREE)
        if not prefix or (self.sweep is not None and self._sweeps_below(self.sweep, prefix)):
            return tree
        highest = self._heights.highest(prefix)
        # The floor alone says nothing of this prefix, and is below what the tree said before.
        return max(highest, self.tombstones.floor) if highest else tree

    def _sweeps_below(self, sweep: Sweep, prefix: str) -> bool:
        """Whether a key with the prefix is still to be swept: what is left of it is older."""
        for tree in sweep.outer_trees():
            # If either begins with the other, it is the longer one that counts.
            if not tree.startswith(prefix) and not prefix.startswith(tree):
                continue
            within = _below(self.pairs, max(prefix, tree))
            if any(key not in sweep.spared for key in within):
                return True
        for session_id in sweep.sessions:
            keys: Any = self._held.get(session_id, ())
            if isinstance(keys, SortedDict):
                keys = islice(keys.irange(minimum=prefix), 1)
            if any(key.startswith(prefix) for key in keys):
                return True
        return False

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

    def dissolve(self) -> Iterator[None]:
        """Let go of the index of each key, in short steps."""
        return self._heights.dissolve()

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


def _seen(slices: Iterator[Sequence[KVPair]], sweep: Sweep) -> Iterator[Sequence[KVPair]]:
    for rows in slices:
        yield [pair for pair in map(sweep.shown, rows) if pair is not None]


def _below(keys: Any, prefix: str, start: str | None = None) -> Iterator[str]:
    """The keys with the prefix of a sorted table or set, from ``start`` on."""
    for key in keys.irange(prefix if start is None else start):
        if not key.startswith(prefix):
            return
        yield key
