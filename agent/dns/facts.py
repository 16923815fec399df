"""What the catalog, and others, said: the ground of one attempt at an answer.

A fact that is missing ends the attempt with ``Missing``, whose query the caller asks before trying
again, so that nothing that decides has to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from agent.dns.wire import Record
from raftstore.queries import Query

T = TypeVar("T")

#: Catalog queries for one question; a chain that would need more ends early.
FACTS_MAX = 32
#: Names outside the zones that are looked up for one question, all at once.
OUTSIDE_NAMES_MAX = 16


class Missing(Exception):
    """The answer needs this query's value."""

    def __init__(self, query: Query[Any]) -> None:
        super().__init__(query)
        self.query = query


class Facts:
    """What the catalog said, by query, and what lies behind names outside the zones. The values of
    one attempt never change; ``unknown`` are the outside names that it would have liked to know."""

    __slots__ = ("_names", "_values", "unknown")

    def __init__(
        self,
        values: Mapping[Query[Any], Any],
        names: Mapping[bytes, tuple[Record, ...]] | None = None,
    ) -> None:
        self._values = values
        self._names = names or {}
        self.unknown: list[bytes] = []

    def outside(self, name: bytes) -> tuple[Record, ...]:
        """The records behind a name; () as long as they are not known."""
        found = self._names.get(name)
        if found is not None:
            return found
        if len(self._names) + len(self.unknown) < OUTSIDE_NAMES_MAX and name not in self.unknown:
            self.unknown.append(name)
        return ()

    def get(self, query: Query[T]) -> T:
        """The value, or ``Missing``."""
        try:
            value: T = self._values[query]
        except KeyError:
            raise Missing(query) from None
        return value

    @property
    def full(self) -> bool:
        return len(self._values) >= FACTS_MAX
