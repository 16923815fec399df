"""What servers said before, for when they cannot be asked (DNS contract 10, allow_stale).

Decides what is still known, how old it is, and what is forgotten. An agent that holds no catalog of
its own goes on answering from here while all servers are away.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

from raftstore.queries import Query

#: Rows of all answers together, as one instance is; a service of a thousand counts as many.
ROWS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Recollection:
    """What was said, and how many seconds ago it was so."""

    value: Any
    age_s: float


class Memory:
    """The last answer to each query, bounded in queries and rows; the longest unused goes first."""

    __slots__ = ("_entries", "_max", "_rows", "_rows_max")

    def __init__(self, queries_max: int, rows_max: int = ROWS_MAX) -> None:
        assert queries_max > 0
        self._max = queries_max
        self._rows_max = rows_max
        self._rows = 0
        #: Query -> (value, when it was so, rows), the one used last at the end.
        self._entries: dict[Query[Any], tuple[Any, float, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Know nothing."""
        self._entries.clear()
        self._rows = 0

    def keep(self, query: Query[Any], value: Any, at: float) -> None:
        """``value`` is the answer as of ``at`` (any clock that only grows, in seconds)."""
        self._forget(query)
        rows = 1 + (len(value) if isinstance(value, Sized) else 0)
        if rows > self._rows_max:
            return
        self._entries[query] = (value, at, rows)
        self._rows += rows
        while len(self._entries) > self._max or self._rows > self._rows_max:
            self._forget(next(iter(self._entries)))

    def get(self, query: Query[Any], now: float, *, age_max_s: float) -> Recollection | None:
        """What was said last, unless that is too long ago."""
        found = self._entries.pop(query, None)
        if found is None:
            return None
        self._entries[query] = found
        value, at, _ = found
        age_s = max(0.0, now - at)
        return Recollection(value, age_s) if age_s <= age_max_s else None

    def _forget(self, query: Query[Any]) -> None:
        found = self._entries.pop(query, None)
        if found is not None:
            self._rows -= found[2]

    def check(self) -> None:
        """Invariants: within the bounds, counted right."""
        assert len(self._entries) <= self._max
        assert self._rows == sum(rows for _, _, rows in self._entries.values()) <= self._rows_max
