"""What the catalog, and others, said: the ground of one attempt at an answer.

A fact that is missing ends the attempt with ``Missing``, whose query the caller asks before trying
again, so that nothing that decides has to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from agent.dns.wire import Record
from agent.queries import NOWHERE, Datacenters, Elsewhere
from agent.queries import Question as Asked
from raftstore.queries import Query

T = TypeVar("T")

#: Catalog queries for one question; a chain that would need more ends early.
FACTS_MAX = 32
#: Names outside the zones that are looked up for one question, all at once.
OUTSIDE_NAMES_MAX = 16


class Missing(Exception):
    """The answer needs this query's value."""

    def __init__(self, query: Asked) -> None:
        super().__init__(query)
        self.query = query


class NoDatacenter(Exception):
    """The answer lies in a datacenter that nobody knows."""


class Facts:
    """What the catalog said, by query, and what lies behind names outside the zones. The values of
    one attempt never change; ``unknown`` are the outside names that it would have liked to know."""

    __slots__ = ("_datacenter", "_names", "_values", "unknown")

    def __init__(
        self,
        values: Mapping[Asked, Any],
        names: Mapping[bytes, tuple[Record, ...]] | None = None,
        *,
        datacenter: str = "",
        unknown: list[bytes] | None = None,
    ) -> None:
        """``datacenter`` is the one that is meant where a query names none, "" for ours."""
        self._values = values
        self._names = names or {}
        self._datacenter = datacenter
        self.unknown: list[bytes] = [] if unknown is None else unknown

    def of(self, datacenter: str) -> Facts:
        """What another datacenter says."""
        return Facts(self._values, self._names, datacenter=datacenter, unknown=self.unknown)

    def outside(self, name: bytes) -> tuple[Record, ...]:
        """The records behind a name; () as long as they are not known."""
        found = self._names.get(name)
        if found is not None:
            return found
        if len(self._names) + len(self.unknown) < OUTSIDE_NAMES_MAX and name not in self.unknown:
            self.unknown.append(name)
        return ()

    def get(self, query: Query[T]) -> T:
        """The value, or ``Missing``. Raises NoDatacenter."""
        value: T = self.answer(query)
        return value

    def answer(self, query: Asked) -> Any:
        """The same for a question to whichever datacenter."""
        if self._datacenter and not isinstance(query, Elsewhere | Datacenters):
            query = Elsewhere(self._datacenter, query)
        try:
            value = self._values[query]
        except KeyError:
            raise Missing(query) from None
        if value is NOWHERE:
            raise NoDatacenter
        return value

    @property
    def full(self) -> bool:
        return len(self._values) >= FACTS_MAX
