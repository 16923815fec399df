"""A table of records by key, with what every table owes: indexes, watches, journal, snapshot.

Each record, each group of records that share a value, and the table as a whole has an index and a
footprint of its own. What is not there has the index of the table, so no index runs backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from sortedcontainers import SortedDict, SortedSet

from raftstore.queries import Footprint
from raftstore.state.tables import Indexes, RowKey

R = TypeVar("R")


def _itself(record: Any) -> Any:
    return record


class Table(Generic[R]):
    """Records of one type. They are frozen dataclasses with ``create_index``, ``modify_index``."""

    __slots__ = ("_due", "_due_at", "_groups", "_indexes", "_key", "_members", "_shown", "name",
                 "records")  # fmt: skip

    def __init__(
        self,
        name: str,
        indexes: Indexes,
        *,
        key: Callable[[R], str],
        groups: Mapping[str, Callable[[R], Iterable[str]]] | None = None,
        shown: Callable[[R], R] = _itself,
        due_at: Callable[[R], float | None] = lambda record: None,
    ) -> None:
        """``groups`` gives for each kind of group the values of a record in order; ``shown`` is
        what the journal of changes may keep of a record; ``due_at`` when one expires."""
        self.name = name
        self._indexes = indexes
        self._key = key
        self._groups = dict(groups or {})
        self._shown = shown
        self._due_at = due_at
        self._due: SortedSet = SortedSet()  # (when, key)
        self.records: SortedDict = SortedDict()  # str -> R
        #: (kind of group, value) -> index and keys; an empty group is none.
        self._members: dict[tuple[str, str], _Group] = {}

    def get(self, key: str) -> R | None:
        """One record."""
        record: R | None = self.records.get(key)
        return record

    def all(self) -> tuple[R, ...]:
        """Every record, by key."""
        return tuple(self.records.values())

    def group(self, kind: str, value: str) -> tuple[R, ...]:
        """The records with that value, by key."""
        group = self._members.get((kind, value))
        return () if group is None else tuple([self.records[key] for key in group.keys])

    def due(self, until: float, limit: int) -> tuple[R, ...]:
        """The records that expire at or before a time, soonest first."""
        found: list[R] = []
        for when, key in self._due:
            if when > until or len(found) >= limit:
                break
            found.append(self.records[key])
        return tuple(found)

    def put(self, index: int, record: Any, *, cas: int | None = None) -> bool:
        """Write a record; False when the comparison failed. An unchanged one keeps its index."""
        key = self._key(record)
        stored: Any = self.records.get(key)
        if cas is not None and cas != (stored.modify_index if stored else 0):
            return False
        if stored is not None:
            kept = replace(
                record, create_index=stored.create_index, modify_index=stored.modify_index
            )
            if kept == stored:
                return True
        self._note(key, stored, record)
        if stored is not None:
            self._leave(index, key, stored)
        created = stored.create_index if stored else index
        record = replace(record, create_index=created, modify_index=index)
        self.records[key] = record
        self._join(index, key, record)
        self._moved(index, key, stored, record)
        return True

    def remove(self, index: int, key: str, *, cas: int | None = None) -> bool | None:
        """Delete a record: None when there was none, False when the comparison failed."""
        stored: Any = self.records.get(key)
        if stored is None:
            return None
        if cas is not None and cas != stored.modify_index:
            return False
        self._note(key, stored)
        del self.records[key]
        self._leave(index, key, stored)
        self._moved(index, key, stored, None)
        return True

    def _note(self, key: str, stored: R | None, *written: R) -> None:
        """The record is about to change: how to take that back, if a transaction is open."""
        undo = self._indexes.undo
        if undo.open:
            records = [record for record in (stored, *written) if record is not None]
            places = [place for record in records for place in self._places(record)]
            indexes = {p: self._members[p].index for p in places if p in self._members}
            undo.step(lambda: self._put_back(key, stored, places, indexes))

    def _put_back(
        self,
        key: str,
        stored: R | None,
        places: list[tuple[str, str]],
        indexes: dict[tuple[str, str], int],
    ) -> None:
        current: R | None = self.records.pop(key, None)
        if current is not None:
            self._due.discard((self._due_at(current), key))
            for place in self._places(current):
                self._members[place].keys.discard(key)
        if stored is not None:
            self.load(stored)
        for place in places:
            if place in indexes:
                self._members[place].index = indexes[place]
            else:
                self._members.pop(place, None)

    def _places(self, record: R) -> Iterator[tuple[str, str]]:
        """The groups that the record is in."""
        for kind, values in self._groups.items():
            for value in values(record):
                yield kind, value

    def _moved(self, index: int, key: str, before: R | None, after: R | None) -> None:
        was = None if before is None else self._shown(before)
        became = None if after is None else self._shown(after)
        self._indexes.record((self.name, key, was, became))
        self._indexes.raise_to(self.name, index)
        self._indexes.touch(self.name, key)

    def _join(self, index: int, key: str, record: R) -> None:
        self._set_due(key, record)
        for kind, values in self._groups.items():
            for value in dict.fromkeys(values(record)):
                group = self._members.get((kind, value))
                if group is None:
                    group = self._members[kind, value] = _Group()
                group.keys.add(key)
                self._group_moved(index, kind, value, group)

    def _set_due(self, key: str, record: R) -> None:
        when = self._due_at(record)
        if when is not None:
            self._due.add((when, key))

    def _leave(self, index: int, key: str, record: R) -> None:
        self._due.discard((self._due_at(record), key))
        for kind, values in self._groups.items():
            for value in dict.fromkeys(values(record)):
                group = self._members[kind, value]
                group.keys.discard(key)
                self._group_moved(index, kind, value, group)
                if not group.keys:
                    self._indexes.record((f"#{self.name}:{kind}", value, group.index, 0))
                    del self._members[kind, value]

    def _group_moved(self, index: int, kind: str, value: str, group: _Group) -> None:
        if group.index != index:
            self._indexes.record((f"#{self.name}:{kind}", value, group.index, index))
            group.index = index
        self._indexes.touch(f"{self.name}:{kind}", value)

    def index_of(self, footprint: Footprint) -> int:
        """Index of the table, of a record or of a group; of the table for what is not there."""
        table, key = footprint
        if table != self.name:
            group = self._members.get((table[len(self.name) + 1 :], key))
            if group is not None:
                return group.index
        elif key:
            record: Any = self.records.get(key)
            if record is not None:
                return int(record.modify_index)
        return self._indexes.of(self.name)

    # Earlier states

    def cell_tables(self) -> list[str]:
        """The tables of the journal's cells that this one writes."""
        return [self.name, *[f"#{self.name}:{kind}" for kind in self._groups]]

    def fill(
        self, past: Table[R], undone: Mapping[str, Mapping[RowKey, Any]], footprint: Footprint
    ) -> None:
        """Put what a footprint speaks of into an empty table, as it was."""
        table, key = footprint
        changed = undone[self.name]
        now: Iterable[Any] = self.records.items()
        if table != self.name:
            now = [(self._key(r), r) for r in self.group(table[len(self.name) + 1 :], key)]
        elif key:
            now = [(key, self.records[key])] if key in self.records else []
        for item, record in now:
            if item not in changed and item not in past.records:
                past.load(self._shown(record))
        for item, record in changed.items():
            if record is not None and item not in past.records:
                past.load(record)
        for kind, value in past._members:
            group = self._members.get((kind, value))
            index = undone[f"#{self.name}:{kind}"].get(value, group.index if group else 0)
            past.load_index(kind, value, index)

    # Snapshots

    def group_rows(self) -> Iterator[list[object]]:
        """Which index each group has."""
        rows = [(kind, value, group.index) for (kind, value), group in self._members.items()]
        return iter([[self.name, *row] for row in sorted(rows)])

    def load(self, record: R) -> None:
        """From a snapshot: as ``put``, but nothing moves."""
        key = self._key(record)
        self.records[key] = record
        self._set_due(key, record)
        for kind, values in self._groups.items():
            for value in values(record):
                self._members.setdefault((kind, value), _Group()).keys.add(key)

    def load_index(self, kind: str, value: str, index: int) -> None:
        """From a snapshot, after the records."""
        self._members[kind, value].index = index

    def check(self) -> None:
        """Assert what only our own bug can break."""
        index = self._indexes.of(self.name)
        found: dict[tuple[str, str], set[str]] = {}
        for key, record in self.records.items():
            held: Any = record
            assert key == self._key(held), "a record is stored under another key"
            assert 0 < held.create_index <= held.modify_index <= index, "index out of order"
            for kind, values in self._groups.items():
                for value in values(held):
                    found.setdefault((kind, value), set()).add(key)
                    assert held.modify_index <= self._members[kind, value].index <= index
        due = {(self._due_at(record), key) for key, record in self.records.items()}
        assert {item for item in due if item[0] is not None} == set(self._due)
        assert found == {place: set(group.keys) for place, group in self._members.items()}


class _Group:
    """The keys of the records that share a value."""

    __slots__ = ("index", "keys")

    def __init__(self) -> None:
        self.index = 0
        self.keys: SortedSet = SortedSet()
