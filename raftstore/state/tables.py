"""Which index each watched thing has, and what moved since somebody last looked.

Every table of the state notes its changes here. A table's index is that of its last change, so it
also speaks for things that are gone; things with rows keep their own index in the row. Deleted
keys leave tombstones, so that a prefix that lost a key still gets a higher index.
"""

from __future__ import annotations

from collections.abc import Iterator

from sortedcontainers import SortedDict, SortedList

from raftstore.queries import Footprint


class Indexes:
    """Index of each table, and the footprints touched since the last ``drain``."""

    __slots__ = ("_of", "_touched")

    def __init__(self) -> None:
        self._of: dict[str, int] = {}
        self._touched: set[Footprint] = set()

    def of(self, table: str) -> int:
        """Index of the table's last change, 0 if there was none."""
        return self._of.get(table, 0)

    def raise_to(self, table: str, index: int) -> None:
        """The table changed at ``index``; whoever watches all of it must look again."""
        self._of[table] = index
        self._touched.add((table, ""))

    def note(self, table: str, index: int) -> None:
        """The table changed, but nobody watches it as a whole."""
        self._of[table] = index

    def touch(self, table: str, key: str) -> None:
        """One watched thing changed."""
        self._touched.add((table, key))

    def drain(self) -> frozenset[Footprint]:
        """What was touched since the last call."""
        touched = frozenset(self._touched)
        self._touched.clear()
        return touched

    def rows(self) -> list[list[object]]:
        """For a snapshot, by name."""
        return [[table, self._of[table]] for table in sorted(self._of)]

    def load(self, table: str, index: int) -> None:
        """From a snapshot."""
        self._of[table] = index


class Tombstones:
    """When which key was deleted, for a bounded number of keys.

    The oldest are merged into ``floor``: the index up to which nothing is known any more, and
    which therefore counts for every prefix.
    """

    __slots__ = ("_by_index", "_by_key", "_max", "floor")

    def __init__(self, count_max: int) -> None:
        self._max = count_max
        self._by_key: SortedDict = SortedDict()
        self._by_index: SortedList = SortedList()  # (index, key), to find the oldest
        self.floor = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def bury(self, key: str, index: int) -> None:
        """``key`` was deleted at ``index``."""
        self.revive(key)
        self._by_key[key] = index
        self._by_index.add((index, key))
        if len(self._by_key) > self._max:
            self.floor, oldest = self._by_index.pop(0)
            del self._by_key[oldest]

    def revive(self, key: str) -> None:
        """``key`` exists again; its own index says more than its tombstone."""
        index = self._by_key.pop(key, None)
        if index is not None:
            self._by_index.remove((index, key))

    def highest(self, prefix: str) -> int:
        """The last deletion below ``prefix`` that is remembered, 0 if there is none."""
        highest = 0
        for key in self._by_key.irange(minimum=prefix):
            if not key.startswith(prefix):
                break
            highest = max(highest, self._by_key[key])
        return highest

    def rows(self) -> Iterator[list[object]]:
        """For a snapshot, by key."""
        return ([key, index] for key, index in list(self._by_key.items()))
