"""Answers kept as bytes until the catalog moves.

Decides what is kept, how it is shuffled when served again, and what makes room. The key is the
whole packet without its id, plus the transport, so that a hit is found without reading the
question. Watching the catalog is the server's business: it calls ``drop`` for a query that moved.

Order: an answer holds ``VARIANTS`` packets, each shuffled on its own, served in turn; one of
them is drawn anew at every ``VARIANTS``-th reply, so each order is served ``VARIANTS`` times and
then never again. Every single reply is thus a uniform draw, load stays even over time, and the
cost of shuffling and writing is paid once in eight replies. Fixed permutations would favour some
instances for as long as the catalog is quiet; shuffling per reply would cost more than the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from raftstore.queries import Query

VARIANTS = 8
#: Longer questions are never kept: an ordinary one with EDNS has less than 350 bytes.
KEY_BYTES_MAX = 512

#: All ready answers together, counted as if each held all its variants.
READY_BYTES_MAX = 64 * 1024 * 1024

#: Makes a packet (id 0) with a fresh order; the argument is the SOA serial.
Writer = Callable[[int], bytes]


class ReadyAnswer:
    """One question's replies as bytes after the id. ``variants`` is 1 where order is fixed."""

    __slots__ = (
        "_packets",
        "_second",
        "_served",
        "_timed",
        "_variants",
        "_write",
        "cost_bytes",
        "queries",
    )

    def __init__(
        self, write: Writer, *, shuffled: bool, timed: bool, queries: tuple[Query[Any], ...]
    ) -> None:
        """``timed``: the reply tells the time (in an SOA serial) and lives one second."""
        self._write = write
        self._variants = VARIANTS if shuffled else 1
        self._timed = timed
        self._packets: list[bytes] = []
        self._second = 0
        self._served = 0
        self.queries = queries
        #: What all variants take, known once ``body`` has been called.
        self.cost_bytes = 0

    @property
    def timed(self) -> bool:
        """Whether ``body`` looks at its argument."""
        return self._timed

    def body(self, now_s: int) -> bytes:
        """The next reply, without its id."""
        if self._timed and now_s != self._second:
            self._second = now_s
            self._packets.clear()
        served = self._served
        self._served = served + 1
        if len(self._packets) < self._variants:
            packet = self._write(now_s)[2:]
            self._packets.append(packet)
            self.cost_bytes = self.cost_bytes or len(packet) * self._variants
            return packet
        if self._variants == 1:
            return self._packets[0]
        if served % VARIANTS == 0:
            self._packets[served // VARIANTS % VARIANTS] = self._write(now_s)[2:]
        return self._packets[served % VARIANTS]


class ReadyAnswers:
    """A set of ready answers, bounded in number and bytes; when full, the oldest goes first."""

    __slots__ = ("_answers", "_by_query", "_bytes", "_bytes_max", "_max", "get")

    def __init__(self, answers_max: int, bytes_max: int = READY_BYTES_MAX) -> None:
        assert answers_max > 0
        self._bytes = 0
        self._bytes_max = bytes_max
        self._answers: dict[bytes, ReadyAnswer] = {}
        self._by_query: dict[Query[Any], set[bytes]] = {}
        self._max = answers_max
        #: Looks up a key; bound once, as this is the hot path.
        self.get = self._answers.get

    def __len__(self) -> int:
        return len(self._answers)

    def watched(self, query: Query[Any]) -> bool:
        """Whether an answer that is kept depends on this query."""
        return query in self._by_query

    def keep(self, key: bytes, answer: ReadyAnswer) -> list[Query[Any]]:
        """Keep an answer whose ``body`` has been made. Gives back the queries on which nothing
        depends any more."""
        forgotten = self._remove(key)
        while self._answers and (
            len(self._answers) >= self._max or self._bytes + answer.cost_bytes > self._bytes_max
        ):
            forgotten += self._remove(next(iter(self._answers)))
        self._answers[key] = answer
        self._bytes += answer.cost_bytes
        for query in answer.queries:
            self._by_query.setdefault(query, set()).add(key)
        return [query for query in forgotten if query not in self._by_query]

    def drop(self, query: Query[Any]) -> list[Query[Any]]:
        """Forget every answer that depends on ``query``; result as for ``keep``, without it."""
        forgotten: list[Query[Any]] = []
        for key in tuple(self._by_query.get(query, ())):
            forgotten += self._remove(key)
        return [other for other in forgotten if other != query]

    def clear(self) -> Iterable[Query[Any]]:
        """Forget everything; gives back all queries that were depended on."""
        queries = tuple(self._by_query)
        self._answers.clear()
        self._by_query.clear()
        self._bytes = 0
        return queries

    def _remove(self, key: bytes) -> list[Query[Any]]:
        answer = self._answers.pop(key, None)
        if answer is None:
            return []
        self._bytes -= answer.cost_bytes
        forgotten = []
        for query in answer.queries:
            keys = self._by_query[query]
            keys.discard(key)
            if not keys:
                del self._by_query[query]
                forgotten.append(query)
        return forgotten

    def check(self) -> None:
        """Invariants: the two maps tell the same, within the bound."""
        assert len(self._answers) <= self._max
        assert self._bytes == sum(answer.cost_bytes for answer in self._answers.values())
        pairs = {(query, key) for key, a in self._answers.items() for query in a.queries}
        assert pairs == {(query, key) for query, keys in self._by_query.items() for key in keys}
        assert all(self._by_query.values())
