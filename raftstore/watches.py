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


class _Watch:
    __slots__ = ("callback", "footprints")

    def __init__(self, footprints: tuple[Footprint, ...], callback: Callable[[], None]) -> None:
        self.footprints = footprints
        self.callback: Callable[[], None] | None = callback


class Watches:
    """All watches of one server."""

    __slots__ = ("_count", "_max", "_of", "_prefix_lengths")

    def __init__(self, *, watches_max: int) -> None:
        self._max = watches_max
        self._count = 0
        # Dicts as sets that keep their order: the longest waiting is woken first.
        self._of: dict[Footprint, dict[_Watch, None]] = {}
        self._prefix_lengths: dict[int, int] = {}  # length -> watched prefixes of that length

    def __len__(self) -> int:
        return self._count

    def watch_once(
        self, footprints: Iterable[Footprint], callback: Callable[[], None]
    ) -> Callable[[], None]:
        """Call back once when any of ``footprints`` changes; gives a function that cancels.

        The callback must not raise. Raises QueueFull when too many watch already.
        """
        if self._count >= self._max:
            raise QueueFull(f"too many queries are waiting (limit {self._max})")
        watch = _Watch(tuple(dict.fromkeys(footprints)), callback)
        self._count += 1
        for footprint in watch.footprints:
            watchers = self._of.get(footprint)
            if watchers is None:
                watchers = self._of[footprint] = {}
                self._count_prefix(footprint, 1)
            watchers[watch] = None
        return lambda: self._end(watch)

    def wake(self, touched: Iterable[Footprint]) -> int:
        """Call back everyone who watches something of ``touched``; gives their number."""
        return self._call(watch for footprint in touched for watch in self._watching(footprint))

    def wake_all(self) -> int:
        """Call back everyone: the state was replaced, or the store ends."""
        return self._call(watch for watchers in self._of.values() for watch in watchers)

    def _call(self, watches: Iterator[_Watch]) -> int:
        # All are found before the first is called: a callback may watch again, or cancel another.
        found = list(dict.fromkeys(watches))
        called = 0
        for watch in found:
            callback = watch.callback
            if callback is not None:
                self._end(watch)
                callback()
                called += 1
        return called

    def _watching(self, footprint: Footprint) -> Iterator[_Watch]:
        yield from self._of.get(footprint, ())
        table, key = footprint
        if table == _KEY:
            for length in self._prefix_lengths:
                if length <= len(key):
                    yield from self._of.get((_PREFIX, key[:length]), ())

    def _end(self, watch: _Watch) -> None:
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
