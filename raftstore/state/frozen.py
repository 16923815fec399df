"""A sorted table that can be read as it was at one moment while it goes on changing.

Copying the references of a million rows takes tens of milliseconds at best, and the loop must not
stand still so long. So nothing is copied: a reader walks the table in key order, slice by slice,
and until it has passed a key, the first change of that key keeps the old row aside for it. A change
costs one comparison per open reader more; memory grows with what changes meanwhile, not with the
table.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping
from itertools import islice
from typing import Any

from sortedcontainers import SortedDict, SortedList

#: Dicts that the rows of a table lie in. At a million rows one of them grows in a fifth of a
#: millisecond.
_SHARDS = 256
_MASK, _SHIFT = _SHARDS - 1, 48


class _Reader:
    """How far one walk has come, and the old rows of what changed ahead of it."""

    __slots__ = ("__weakref__", "kept", "passed", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.passed: str | None = None
        #: None stands for a key that was not there.
        self.kept: SortedDict = SortedDict()

    def keep(self, key: str, row: Any) -> None:
        ahead = self.passed is None or key > self.passed
        if ahead and key.startswith(self.prefix) and key not in self.kept:
            self.kept[key] = row


class Table(MutableMapping[str, Any]):
    """Rows by key, in the order of the keys. Rows are immutable, never None.

    They lie in many dicts, not in one: a dict that grows is copied as a whole, which at 700,000
    keys held the loop for 190 ms.
    """

    __slots__ = ("_keys", "_readers", "_shards")

    def __init__(self) -> None:
        self._shards: list[dict[str, Any]] = [{} for _ in range(_SHARDS)]
        self._keys: SortedList = SortedList()
        #: Weak, so that a reader that is given up costs nothing any more.
        self._readers: list[weakref.ref[_Reader]] = []

    # By the upper bits of a hash: within a dict the lower ones find the place.

    def get(self, key: str, default: Any = None) -> Any:
        """The row, or ``default``."""
        return self._shards[hash(key) >> _SHIFT & _MASK].get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self._shards[hash(key) >> _SHIFT & _MASK][key]

    def __contains__(self, key: object) -> bool:
        return key in self._shards[hash(key) >> _SHIFT & _MASK]

    def __setitem__(self, key: str, row: Any) -> None:
        if self._readers:
            self._keep(key)
        shard = self._shards[hash(key) >> _SHIFT & _MASK]
        if key not in shard:
            self._keys.add(key)
        shard[key] = row

    def __delitem__(self, key: str) -> None:
        if self._readers:
            self._keep(key)
        del self._shards[hash(key) >> _SHIFT & _MASK][key]
        self._keys.remove(key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def popitem(self) -> tuple[str, Any]:
        """Take out the last row."""
        key = self._keys[-1]
        row = self[key]
        del self[key]
        return key, row

    def irange(
        self,
        minimum: str | None = None,
        maximum: str | None = None,
        inclusive: tuple[bool, bool] = (True, True),
    ) -> Iterator[str]:
        """The keys from ``minimum`` to ``maximum``, while nothing changes."""
        keys: Iterator[str] = self._keys.irange(minimum, maximum, inclusive)
        return keys

    def _keep(self, key: str) -> None:
        row = self.get(key)
        for reference in self._readers:
            reader = reference()
            if reader is not None:
                reader.keep(key, row)

    @property
    def is_read(self) -> bool:
        """Whether somebody walks it as it was."""
        return bool(self._readers)

    def freeze(self, slice_rows: int, prefix: str = "") -> Iterator[list[Any]]:
        """The rows of this moment whose keys have the prefix, by key, in slices."""
        reader = _Reader(prefix)
        self._readers.append(weakref.ref(reader, self._readers.remove))
        return self._slices(reader, slice_rows)

    def _slices(self, reader: _Reader, count: int) -> Iterator[list[Any]]:
        while True:
            passed = reader.passed
            first = reader.prefix if passed is None else passed
            keys = list(islice(self.irange(first, inclusive=(passed is None, True)), count))
            while keys and not keys[-1].startswith(reader.prefix):
                keys.pop()
            last = keys[-1] if len(keys) == count else None
            found = {key: self[key] for key in keys}
            changed = list(reader.kept.irange(None, last))
            for key in changed:
                row = reader.kept.pop(key)
                if row is None:
                    found.pop(key, None)
                else:
                    found[key] = row
            reader.passed = last
            if found:
                yield [found[key] for key in sorted(found)] if changed else list(found.values())
            if last is None:
                return
