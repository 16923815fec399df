"""The journal of changes: which row was what before and after, when, and by whom.

Every write to a row of the replicated state is one cell, noted where the row changes (tables.py)
and not by those who change it, so nothing can be forgotten. The cells of one command make a
change. The journal is bounded; ``floor`` is the index down to which the state can be told by
undoing changes from now (past.py). It is part of the state: all servers keep and forget the same.

Secret rows never come here; a table with secret fields notes its rows without them.
"""

from __future__ import annotations

import operator
import typing
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from raftstore.config import StateLimits
from raftstore.errors import NotInHistory
from raftstore.queries import At
from raftstore.records import Actor, KVPair
from raftstore.state.tables import Cell, RowKey

#: (index, replicated time, who, number of the command, cells, weight). A plain tuple: one is made
#: for every write.
Change = tuple[int, float, Actor | None, int, tuple[Cell, ...], int]

#: What a cell takes beside its record, and a record beside its texts, in bytes; rounded up.
_CELL_BYTES = 200
_RECORD_BYTES = 300
#: When the journal is full, this part of it is forgotten at once.
_ROOM_SHARE = 16
#: Cells that are freed with a change; more than a change has, so that none pile up.
_FREED_AT_ONCE = 512
#: Cells that are undone in one step: about a millisecond.
_UNDONE_AT_ONCE = 4096


class OpenChange:
    """A change that is being written. ``cells`` is None once they are more than can be kept."""

    __slots__ = ("_bytes_max", "_entries_max", "actor", "cells", "index", "number", "spilt",
                 "stamp", "weight")  # fmt: skip

    def __init__(
        self,
        index: int,
        stamp: float,
        actor: Actor | None,
        number: int,
        *,
        entries_max: int,
        bytes_max: int,
    ) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self.index = index
        self.stamp = stamp
        self.actor = actor
        self.number = number
        self.cells: list[Cell] | None = []
        self.spilt: list[Cell] = []
        self.weight = 0

    def take(self, cells: list[Cell]) -> None:
        """The cells that were noted since the last call; the list is emptied."""
        if self.cells is not None:
            self.cells += cells
            self.weight += _weigh_cells(cells)
            if len(self.cells) > self._entries_max or self.weight > self._bytes_max:
                self.spilt = self.cells
                self.cells = None
        cells.clear()


class History:
    """The newest changes, oldest first."""

    __slots__ = ("_bytes", "_bytes_max", "_changes", "_entries", "_entries_max", "_freeing",
                 "_waste", "barrier", "floor", "floor_stamp")  # fmt: skip

    def __init__(self, limits: StateLimits) -> None:
        self._entries_max = limits.history_entries_max
        self._bytes_max = limits.history_bytes_max
        self._changes: deque[Change] = deque()
        self._entries = 0
        self._bytes = 0
        #: Cells that are forgotten, and those of them that are being freed.
        self._waste: deque[Sequence[Cell]] = deque()
        self._freeing: list[Cell] = []
        #: Index and replicated time of the newest change that is forgotten.
        self.floor = 0
        self.floor_stamp = 0.0
        #: Index at which the state was replaced as a whole: no undoing leads over it.
        self.barrier = 0

    def __len__(self) -> int:
        return self._entries

    @property
    def weight(self) -> int:
        """Bytes that it holds on to, by estimate."""
        return self._bytes

    @property
    def index(self) -> int:
        """Index of the newest change."""
        return self._changes[-1][0] if self._changes else self.floor

    def add(
        self, index: int, stamp: float, actor: Actor | None, number: int, cells: list[Cell]
    ) -> None:
        """Take the cells of one command, and forget the oldest changes for it."""
        # What a row became is held by its table, or is what a later change found: only what it was
        # before counts.
        kept = tuple(cells)
        self._append((index, stamp, actor, number, kept, _weigh_cells(kept)))

    def load(
        self, index: int, stamp: float, actor: Actor | None, number: int, cells: list[Cell]
    ) -> None:
        """From a snapshot, oldest first; one with the index of the last is another part of it."""
        if self._changes and self._changes[-1][0] == index:
            last = self._changes.pop()
            self._entries -= len(last[4])
            self._bytes -= last[5]
            kept = (*last[4], *cells)
            self._append((*last[:4], kept, last[5] + _weigh_cells(cells)))
        else:
            self.add(index, stamp, actor, number, cells)

    def open(self, index: int, stamp: float, actor: Actor | None, number: int) -> OpenChange:
        """A change whose cells come bit by bit; nothing else may be added before ``close``."""
        return OpenChange(
            index, stamp, actor, number, entries_max=self._entries_max, bytes_max=self._bytes_max
        )

    def close(self, change: OpenChange) -> None:
        """Take it as ``add`` would have. One that is too large for the journal ends it."""
        if change.cells is None:
            self._waste.extend(cells for _, _, _, _, cells, _ in self._changes)
            self._waste.append(change.spilt)
            self.begin_at(change.index, change.stamp)
            return
        kept = tuple(change.cells)
        self._append((change.index, change.stamp, change.actor, change.number, kept, change.weight))

    def _append(self, change: Change) -> None:
        self._changes.append(change)
        self._entries += len(change[4])
        self._bytes += change[5]
        if self._entries > self._entries_max or self._bytes > self._bytes_max:
            self._forget()
        if self._waste or self._freeing:
            self._let_go()

    def _forget(self) -> None:
        """Make room for more than the next change, so that few writes pay for it."""
        entries_max = self._entries_max - self._entries_max // _ROOM_SHARE
        bytes_max = self._bytes_max - self._bytes_max // _ROOM_SHARE
        while self._entries > entries_max or self._bytes > bytes_max:
            self.floor, self.floor_stamp, _, _, cells, weight = self._changes.popleft()
            self._entries -= len(cells)
            self._bytes -= weight
            self._waste.append(cells)

    def _let_go(self) -> None:
        """Free some of what is forgotten: all at once may be more than a moment's work."""
        left = _FREED_AT_ONCE
        while left > 0:
            if not self._freeing:
                if not self._waste:
                    return
                self._freeing = list(self._waste.popleft())
            freed = min(left, len(self._freeing))
            del self._freeing[len(self._freeing) - freed :]
            left -= max(1, freed)

    def begin_at(self, index: int, stamp: float) -> None:
        """Know nothing of what lies before ``index``."""
        self._changes = deque()
        self._entries = self._bytes = 0
        self.floor, self.floor_stamp = index, stamp

    def resolve(self, at: At, now: int) -> int:
        """The index of a moment whose state can be told. Raises NotInHistory."""
        index = self.locate(at, now)
        if index < self.barrier:
            raise NotInHistory(
                f"an archive was restored at index {self.barrier}: no state before it can be told"
            )
        return index

    def locate(self, at: At, now: int) -> int:
        """The index that a moment stands for among the known changes. Raises NotInHistory.

        A time means the state after the last change that is not younger; one in the future is now.
        """
        if at.stamp is None:
            index = now if at.index is None else at.index
            if index > now:
                raise NotInHistory(f"index {index} is not reached yet (now {now})")
            if index < self.floor:
                raise NotInHistory(f"the history reaches back to index {self.floor}, not {index}")
            return index
        for index, stamp, *_ in reversed(self._changes):
            if stamp <= at.stamp:
                return index
        if at.stamp < self.floor_stamp:
            raise NotInHistory("the history does not reach back to that time")
        return self.floor

    def since(self, index: int) -> Iterator[Change]:
        """Changes after ``index``, newest first."""
        for change in reversed(self._changes):
            if change[0] <= index:
                return
            yield change

    def undone(self, index: int, tables: frozenset[str]) -> dict[str, dict[RowKey, Any]]:
        """What the changed rows of these tables were at ``index``; None: not there."""
        steps = self.undone_steps(index, tables)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: dict[str, dict[RowKey, Any]] = end.value
                return found

    def undone_steps(
        self, index: int, tables: frozenset[str]
    ) -> Generator[None, None, dict[str, dict[RowKey, Any]]]:
        """The same in steps, of the changes that are known at the first one."""
        found: dict[str, dict[RowKey, Any]] = {table: {} for table in tables}
        walked = 0
        # From the newest to the oldest: what is found last is what was there first. Only those are
        # held that are walked: all of them are many more than came after a moment ago.
        for change in list(self.since(index)):
            for table, key, before, _ in reversed(change[4]):
                if table in tables:
                    found[table][key] = before
                walked += 1
            if walked >= _UNDONE_AT_ONCE:
                walked = 0
                yield
        return found

    def rows(self) -> list[Change]:
        """For a snapshot, oldest first."""
        return list(self._changes)

    def check(self) -> None:
        """Assert what only our own bug can break."""
        assert self._entries <= self._entries_max
        assert self._bytes <= self._bytes_max
        assert self._entries == sum(len(change[4]) for change in self._changes)
        assert self._bytes == sum(change[5] for change in self._changes)
        indexes = [change[0] for change in self._changes]
        stamps = [change[1] for change in self._changes]
        assert indexes == sorted(set(indexes)), "indexes are out of order"
        assert stamps == sorted(stamps), "times are out of order"
        assert not indexes or (indexes[0] > self.floor and stamps[0] >= self.floor_stamp)


def _weigh_cells(cells: Sequence[Cell]) -> int:
    weight = _CELL_BYTES * len(cells)
    for _, _, before, _ in cells:
        kind = before.__class__
        if kind is KVPair:
            weight += _RECORD_BYTES + len(before.key) + len(before.value)
        elif kind is not int and before is not None:
            weight += weigh(before)
    return weight


def weigh(value: Any) -> int:
    """About how many bytes a value holds; the same everywhere, as it decides what is forgotten."""
    kind = value.__class__
    if kind is str or kind is bytes:
        return 50 + len(value)
    if not value or kind is int or kind is bool or kind is float:
        return 0  # counted with what holds it
    if kind is tuple or kind is list:
        return 60 + sum(map(weigh, value))
    weigher = _WEIGHERS.get(kind)
    if weigher is not None:
        return weigher(value)
    if isinstance(value, Mapping):
        return 100 + sum(100 + len(key) + weigh(item) for key, item in value.items())
    return weigher_of(kind)(value)


#: By record type, made at the first use.
_WEIGHERS: dict[type, Callable[[Any], int]] = {}


def weigher_of(kind: type) -> Callable[[Any], int]:
    """What weighs values of this record type; made at the first call."""
    weigher = _WEIGHERS.get(kind)
    if weigher is None:
        weigher = _WEIGHERS[kind] = _weigher(kind)
    return weigher


def _weigher(kind: type) -> Callable[[Any], int]:
    """Most records are a dozen short texts, so those are fetched and measured in one go each."""
    hints = typing.get_type_hints(kind)
    kinds = {field.name: _plain(hints[field.name]) for field in fields(kind)}
    texts = [name for name, hint in kinds.items() if hint in (str, bytes)]
    rest = [name for name, hint in kinds.items() if hint not in (str, bytes, int, bool, float)]
    weight = _RECORD_BYTES + 50 * len(texts)
    # Twice the first name, so that the getter gives a tuple and not a single value.
    get_texts = operator.attrgetter(*texts, texts[0]) if texts else None
    get_rest = operator.attrgetter(*rest, rest[0]) if rest else None

    def weigher(value: Any) -> int:
        total = weight
        if get_texts is not None:
            total += sum(map(len, get_texts(value)))
        if get_rest is not None:
            for item in get_rest(value):
                if item:
                    total += weigh(item)
        return total

    return weigher


def _plain(hint: Any) -> Any:
    """A field's type, without its name as an identifier."""
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    return hint
