"""Which index each watched thing has, and what moved since somebody last looked.

Every table of the state notes its changes here. A table's index is that of its last change, so it
also speaks for things that are gone; things with rows keep their own index in the row. Deleted
keys leave tombstones, so that a prefix that lost a key still gets a higher index.

This is also the one place where the journal of changes (history.py) learns of them: whoever writes
a row or an index hands a cell to ``record``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sortedcontainers import SortedDict, SortedList

from raftstore.queries import Footprint
from raftstore.state.undo import Undo

#: Names a row in its table; services and checks by (node's name in lower case, id).
RowKey = str | tuple[str, str]
#: What a row was and became: (table, key, before, after). A row that is not there is None. Cells of
#: tables that begin with "#" hold indexes, 0 for none: "#" those of tables, "#node", "#name" and so
#: on those of rows.
Cell = tuple[str, RowKey, Any, Any]

TABLE_INDEX = "#"


#: What the rights of a token depend on.
ACL_TABLES = frozenset({"acl-tokens", "acl-policies", "acl-roles"})


class Indexes:
    """Index of each table, the footprints touched since the last ``drain``, and the cells written
    by the command that is being applied.

    Every table has it at hand, so it also carries the journal by which changes are taken back.
    """

    __slots__ = ("_of", "_touched", "acl_index", "cells", "record", "undo")

    def __init__(self) -> None:
        #: Of the last change of what tokens are and may. Each request that shows one compares it,
        #: so it is at hand. After a change that was taken back it is too high, which only costs.
        self.acl_index = 0
        self.undo = Undo()
        self._of: dict[str, int] = {}
        self._touched: set[Footprint] = set()
        self.cells: list[Cell] = []
        #: Note what a row was and became. Every write to a row of the state comes with it.
        self.record: Callable[[Cell], None] = self.cells.append

    def of(self, table: str) -> int:
        """Index of the table's last change, 0 if there was none."""
        return self._of.get(table, 0)

    def raise_to(self, table: str, index: int) -> None:
        """The table changed at ``index``; whoever watches all of it must look again."""
        self.note(table, index)
        self.touch(table, "")

    def note(self, table: str, index: int) -> None:
        """The table changed, but nobody watches it as a whole."""
        before = self._of.get(table, 0)
        if before != index:
            self.record((TABLE_INDEX, table, before, index))
            self.undo.item(self._of, table)
            self._of[table] = index
            if table in ACL_TABLES:
                self.acl_index = max(self.acl_index, index)

    def forget(self, table: str) -> None:
        """Nothing of the table is left, and its index with it."""
        before = self._of.get(table, 0)
        if before:
            self.record((TABLE_INDEX, table, before, 0))
            self.undo.item(self._of, table)
            del self._of[table]

    def raise_all(self, index: int) -> None:
        """Every table changed at ``index``: all of them were replaced."""
        self._of = dict.fromkeys(self._of, index)
        self.acl_index = max(self.acl_index, index)

    def touch(self, table: str, key: str) -> None:
        """One watched thing changed."""
        footprint = (table, key)
        if self.undo.open and footprint not in self._touched:
            self.undo.step(lambda: self._touched.discard(footprint))
        self._touched.add(footprint)

    def begin(self) -> None:
        """A transaction begins: what is written from here on can be taken back."""
        self.undo.begin()
        count = len(self.cells)
        self.undo.step(lambda: self.cells.__delitem__(slice(count, None)))

    def drain(self) -> frozenset[Footprint]:
        """What was touched since the last call."""
        touched = frozenset(self._touched)
        self._touched.clear()
        return touched

    def all(self) -> Mapping[str, int]:
        """The index of each table. Not to be changed by the caller."""
        return self._of

    def rows(self) -> list[list[object]]:
        """For a snapshot, by name."""
        return [[table, self._of[table]] for table in sorted(self._of)]

    def load(self, table: str, index: int) -> None:
        """From a snapshot."""
        self._of[table] = index
        if table in ACL_TABLES:
            self.acl_index = max(self.acl_index, index)


#: Cells of the index of a deleted key, and the name of the floor's.
TOMBSTONE_INDEX = "#tombstone"
TOMBSTONE_FLOOR = "kv-tombstone-floor"


class Tombstones:
    """When which key was deleted, for a bounded number of keys.

    The oldest are merged into ``floor``: the index up to which nothing is known any more, and
    which therefore counts for every prefix.
    """

    __slots__ = ("_by_index", "_by_key", "_indexes", "_max", "_undo", "floor")

    def __init__(self, count_max: int, indexes: Indexes) -> None:
        self._max = count_max
        self._indexes = indexes
        self._undo = indexes.undo
        self._by_key: SortedDict = SortedDict()
        self._by_index: SortedList = SortedList()  # (index, key), to find the oldest
        self.floor = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def bury(self, key: str, index: int) -> str | None:
        """``key`` was deleted at ``index``. Gives the key that is forgotten for it, if any."""
        self.revive(key)
        self._add(key, index)
        self._undo.step(lambda: self._take(key))
        self._indexes.record((TOMBSTONE_INDEX, key, 0, index))
        if len(self._by_key) <= self._max:
            return None
        index, oldest = self._by_index[0]
        self._undo.attr(self, "floor")
        self._undo.step(lambda: self._add(oldest, index))
        self._indexes.record((TOMBSTONE_INDEX, oldest, index, 0))
        self._indexes.record((TABLE_INDEX, TOMBSTONE_FLOOR, self.floor, index))
        self.floor = index
        self._take(oldest)
        return str(oldest)

    def revive(self, key: str) -> None:
        """``key`` exists again; its own index says more than its tombstone."""
        index = self._by_key.get(key)
        if index is not None:
            self._undo.step(lambda: self._add(key, index))
            self._take(key)
            self._indexes.record((TOMBSTONE_INDEX, key, index, 0))

    def below(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The keys with the prefix whose deletion is remembered."""
        for key in self._by_key.irange(minimum=prefix):
            if not key.startswith(prefix):
                return
            yield key, self._by_key[key]

    def _add(self, key: str, index: int) -> None:
        self._by_key[key] = index
        self._by_index.add((index, key))

    def _take(self, key: str) -> None:
        self._by_index.remove((self._by_key.pop(key), key))

    def rows(self) -> Iterator[list[object]]:
        """For a snapshot, by key; nothing may be buried meanwhile."""
        return ([key, index] for key, index in self._by_key.items())
