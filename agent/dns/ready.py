"""Answers kept as bytes until the catalog moves.

Decides what is kept, how it is shuffled when served again, and what makes room. The key is the
whole packet without its id (in a tuple for TCP, whose answers are of another size), so that a hit
is found without reading the question. Watching the catalog is the server's business: it calls
``drop`` for a query that moved.

Order: an order is drawn, and one round of replies takes it turn by turn, each beginning with
another instance. So within a round every instance stands at every place exactly once: load is
evener than if each reply were drawn for itself. The packets of a question that is asked often are
kept and served again for a moment; then an order is drawn anew, or the same instance would follow
the same for as long as the catalog is quiet. Where a round would take too many bytes, fewer turns
are made and none is served twice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Protocol

from raftstore.queries import Query

#: What the packets of one question may take.
ANSWER_BYTES_MAX = 128 * 1024
#: So many packets are kept of a question that is asked often: of few instances several orders.
PACKETS_KEPT = 64
#: An order is drawn anew after so many rounds, but no sooner than after so many seconds.
ROUNDS = 2
REDRAW_S = 0.05
#: Longer questions are never kept: an ordinary one with EDNS has less than 350 bytes.
KEY_BYTES_MAX = 512

#: All ready answers together, counted as if each held all its packets.
READY_BYTES_MAX = 256 * 1024 * 1024


class Turns(Protocol):
    """Makes packets (id 0). ``count`` is how many beginnings an order has, 1 for one that never
    changes; ``again`` says whether its packets may be served again."""

    count: int
    again: bool

    def draw(self) -> None:
        """Draw another order."""
        ...

    def write(self, turn: int, now_s: int) -> bytes:
        """The packet that begins with the ``turn``-th; ``now_s`` is the SOA's serial."""
        ...


class ReadyAnswer:
    """One question's replies as bytes after the id."""

    __slots__ = ("_clock", "_second", "_told", "_turns", "cost_bytes", "next", "queries", "timed")

    def __init__(
        self,
        turns: Turns,
        *,
        timed: bool,
        queries: tuple[Query[Any], ...],
        clock: Callable[[], float],
    ) -> None:
        """``timed``: the reply tells the time (in an SOA serial) and lives one second. ``clock``
        gives seconds and only grows."""
        self._turns = turns
        self._clock = clock
        self.timed = timed
        self._second = -1
        self._told = b""
        self.queries = queries
        #: What all packets take, known once one has been made.
        self.cost_bytes = 0
        #: The next reply, without its id, of an answer that is not ``timed``: bound once, as this
        #: is the hot path.
        self.next: Callable[[], bytes] = self._replies().__next__

    def body(self, now_s: int) -> bytes:
        """The next reply, without its id."""
        if not self.timed:
            return self.next()
        if now_s != self._second:
            self._second = now_s
            self._turns.draw()
            self._told = self._turns.write(0, now_s)[2:]
            self.cost_bytes = self.cost_bytes or len(self._told)
        return self._told

    def _replies(self) -> Iterator[bytes]:
        turns, clock, count = self._turns, self._clock, self._turns.count
        while True:
            turns.draw()
            first = turns.write(0, 0)[2:]
            made = max(1, min(count, ANSWER_BYTES_MAX // len(first)))
            kept = max(made, min(PACKETS_KEPT, ANSWER_BYTES_MAX // len(first)) if count > 1 else 1)
            self.cost_bytes = self.cost_bytes or len(first) * kept
            yield first
            if count == 1 and turns.again:
                while True:
                    yield first
            rounds, until = 1, clock() + REDRAW_S
            for number in range(1, made):
                yield turns.write(number * count // made, 0)[2:]
            if made < count or not turns.again or clock() >= until:
                continue  # seldom asked: nothing is gained by keeping what was made
            packets: list[bytes] = []
            while len(packets) + count <= kept:
                turns.draw()
                for number in range(count):
                    packets.append(turns.write(number, 0)[2:])
                    yield packets[-1]
            while rounds < ROUNDS or clock() < until:
                yield from packets
                rounds += 1


def _nobody(key: bytes) -> None:
    return None


class ReadyAnswers:
    """A set of ready answers, bounded in number and bytes; when full, the oldest goes first."""

    __slots__ = ("_answers", "_by_query", "_bytes", "_bytes_max", "_max", "get", "hot",
                 "on_dropped")  # fmt: skip

    def __init__(self, answers_max: int, bytes_max: int = READY_BYTES_MAX) -> None:
        assert answers_max > 0
        self._bytes = 0
        self._bytes_max = bytes_max
        self._answers: dict[Hashable, ReadyAnswer] = {}
        self._by_query: dict[Query[Any], set[Hashable]] = {}
        self._max = answers_max
        #: Looks up a key; bound once, as this is the hot path.
        self.get = self._answers.get
        #: Told of each key that is plain bytes and not kept any more; b"" means all of them.
        self.on_dropped: Callable[[bytes], None] = _nobody
        #: Keys that are plain bytes -> the answer's next reply, where it does not tell the time.
        self.hot: dict[bytes, Callable[[], bytes]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def watched(self, query: Query[Any]) -> bool:
        """Whether an answer that is kept depends on this query."""
        return query in self._by_query

    def keep(self, key: Hashable, answer: ReadyAnswer, *, hot: bool = True) -> list[Query[Any]]:
        """Keep an answer whose ``body`` has been made; one that is not ``hot`` must be looked at
        each time. Gives back the queries on which nothing depends any more."""
        forgotten = self._remove(key)
        while self._answers and (
            len(self._answers) >= self._max or self._bytes + answer.cost_bytes > self._bytes_max
        ):
            forgotten += self._remove(next(iter(self._answers)))
        self._answers[key] = answer
        if hot and isinstance(key, bytes) and not answer.timed:
            self.hot[key] = answer.next
        self._bytes += answer.cost_bytes
        for query in answer.queries:
            self._by_query.setdefault(query, set()).add(key)
        return [query for query in forgotten if query not in self._by_query]

    def expire(self, key: Hashable, answer: ReadyAnswer) -> list[Query[Any]]:
        """Forget this answer, if it is still the one that is kept; result as for ``keep``."""
        return self._remove(key) if self._answers.get(key) is answer else []

    def cool(self) -> None:
        """Each answer must be looked at from now on."""
        self.hot.clear()
        self.on_dropped(b"")

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
        self.hot.clear()
        self.on_dropped(b"")
        self._by_query.clear()
        self._bytes = 0
        return queries

    def _remove(self, key: Hashable) -> list[Query[Any]]:
        answer = self._answers.pop(key, None)
        if answer is None:
            return []
        self._bytes -= answer.cost_bytes
        if isinstance(key, bytes) and self.hot.pop(key, None) is not None:
            self.on_dropped(key)
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
        kept = {key for key, answer in self._answers.items() if not answer.timed}
        assert self.hot.keys() <= {key for key in kept if isinstance(key, bytes)}
        assert self._bytes == sum(answer.cost_bytes for answer in self._answers.values())
        pairs = {(query, key) for key, a in self._answers.items() for query in a.queries}
        assert pairs == {(query, key) for query, keys in self._by_query.items() for key in keys}
        assert all(self._by_query.values())
