"""Which waiting callers a change wakes.

A caller watches a query's footprint once: the first change to any of it calls back and ends the
watch. Changed keys come one by one; a watch on a prefix is found from the key, at the cost of one
look-up per length of prefix that anybody watches.

Pure: it keeps who waits and calls them. Deadlines and asking again are the shell's (store.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from raftstore.errors import QueueFull
from raftstore.queries import Footprint

_KEY = "kv"
_PREFIX = "kv-prefix"


class Watch:
    """One caller that waits. ``callback`` is None once it has been called, or gave up."""

    __slots__ = ("callback", "footprints", "patient")

    def __init__(
        self, footprints: tuple[Footprint, ...], callback: Callable[[], None], patient: bool
    ) -> None:
        self.footprints = footprints
        self.patient = patient
        self.callback: Callable[[], None] | None = callback


class Watches:
    """All watches of one server."""

    __slots__ = ("_count", "_max", "_of", "_prefix_lengths")

    def __init__(self, *, watches_max: int) -> None:
        self._max = watches_max
        self._count = 0
        # Dicts as sets that keep their order: the longest waiting is woken first.
        self._of: dict[Footprint, dict[Watch, None]] = {}
        self._prefix_lengths: dict[int, int] = {}  # length -> watched prefixes of that length

    def __len__(self) -> int:
        return self._count

    def watch_once(
        self,
        footprints: Iterable[Footprint],
        callback: Callable[[], None],
        *,
        patient: bool = False,
    ) -> Callable[[], None]:
        """Call back once when any of ``footprints`` changes; gives a function that cancels.

        A ``patient`` one may be called a moment after the others, when many are woken at once. The
        callback must not raise. Raises QueueFull when too many watch already.
        """
        if self._count >= self._max:
            raise QueueFull(f"too many queries are waiting (limit {self._max})")
        watch = Watch(tuple(dict.fromkeys(footprints)), callback, patient)
        self._count += 1
        for footprint in watch.footprints:
            watchers = self._of.get(footprint)
            if watchers is None:
                watchers = self._of[footprint] = {}
                self._count_prefix(footprint, 1)
            watchers[watch] = None
        return lambda: self._end(watch)

    def watching(self, touched: Iterable[Footprint]) -> list[Watch]:
        """Everyone who watches something of ``touched``, to be called one by one."""
        if not self._count:
            return []
        found = (watch for footprint in touched for watch in self._watching(footprint))
        return list(dict.fromkeys(found))

    def all(self) -> list[Watch]:
        """Everyone: the state was replaced, or the store ends."""
        return list(dict.fromkeys(watch for watchers in self._of.values() for watch in watchers))

    def call(self, watch: Watch) -> bool:
        """Call back and end a watch; False if it has ended meanwhile."""
        callback = watch.callback
        if callback is None:
            return False
        self._end(watch)
        callback()
        return True

    def wake(self, touched: Iterable[Footprint]) -> int:
        """Call back everyone who watches something of ``touched``; gives their number."""
        # All are found before the first is called: a callback may watch again, or cancel another.
        return sum([self.call(watch) for watch in self.watching(touched)])

    def wake_all(self) -> int:
        """Call back everyone; gives their number."""
        return sum([self.call(watch) for watch in self.all()])

    def _watching(self, footprint: Footprint) -> Iterator[Watch]:
        yield from self._of.get(footprint, ())
        table, key = footprint
        if table == _KEY:
            for length in self._prefix_lengths:
                if length <= len(key):
                    yield from self._of.get((_PREFIX, key[:length]), ())

    def _end(self, watch: Watch) -> None:
        if watch.callback is None:
            return
        watch.callback = None
        self._count -= 1
        for footprint in watch.footprints:
            watchers = self._of[footprint]
            del watchers[watch]
            if not watchers:
                del self._of[footprint]
                self._count_prefix(footprint, -1)

    def _count_prefix(self, footprint: Footprint, step: int) -> None:
        table, key = footprint
        if table != _PREFIX:
            return
        count = self._prefix_lengths.get(len(key), 0) + step
        if count:
            self._prefix_lengths[len(key)] = count
        else:
            del self._prefix_lengths[len(key)]
