"""Long answers in slices: a listing of a hundred thousand rows must not hold up the loop.

A listing of keys walks the table as it was when it began (frozen.py), so it is
exact whatever is written meanwhile. Others walk rows that may change between two slices; they
give up when the index of its answer has moved (``Moved``), and the caller begins again, at last
with nothing being applied. Which answers are long is a guess from sizes that cost nothing to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from raftstore import queries as q
from raftstore.catalog_queries import DumpNodes
from raftstore.queries import Answer, Query
from raftstore.state import past
from raftstore.state.heights import prefix_end
from raftstore.state.whole import State

T = TypeVar("T")

#: Rows that are gathered in one go: about a millisecond.
SLICE_ROWS = 256
#: Answers up to this many rows are made at once.
AT_ONCE_ROWS = 512
#: A node with its services and checks counts for so many.
_ROWS_OF_NODE = 8

#: Steps of a listing; the value is the answer.
Steps = Generator[None, None, Answer[Any]]


class Moved(Exception):
    """The answer changed while it was gathered."""


def gather(state: State, query: Query[Any]) -> Steps | None:
    """The answer to ``query`` in steps, or None if it is short enough to be made at once.

    The steps raise ``Moved`` where something got in between.
    """
    steps = _gather(state, query)
    return None if steps is None else in_force(state, steps)


def in_force(state: State, steps: Steps) -> Steps:
    """The steps as long as no archive takes the place of what they walk."""
    restored_index = state.restored_index
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return Answer(max(end.value.index, restored_index), end.value.value)
        yield
        if state.restored_index != restored_index:
            raise Moved


def answered(index: int, steps: Generator[None, None, Any]) -> Steps:
    """The value of steps as an answer of that index."""
    value = yield from steps
    return Answer(index, value)


def _gather(state: State, query: Query[Any]) -> Steps | None:
    if isinstance(query, q.KVList | q.KVKeys):
        if not _many_keys(state, query.prefix):
            return None
        if isinstance(query, q.KVKeys) and query.separator:
            return _stems(state, query)
        return _pairs(state, query)
    if isinstance(query, q.History | q.Diff):
        return _history(state, query) if len(state.history) > AT_ONCE_ROWS else None
    if isinstance(query, q.ListServices):
        return _services(state, query)
    rows = _rows(state, query)
    return None if rows is None else _unmoved(state, query, rows)


def _many_keys(state: State, prefix: str) -> bool:
    last = next(islice(state.kv.pairs.irange(minimum=prefix), AT_ONCE_ROWS, None), None)
    return last is not None and last.startswith(prefix)


def _pairs(state: State, query: q.KVList | q.KVKeys) -> Steps:
    kv, whole = state.kv, isinstance(query, q.KVList)
    index = max(1, kv.index_below(query.prefix))
    found: list[Any] = []
    for rows in kv.walk(query.prefix, SLICE_ROWS):
        found += rows if whole else [pair.key for pair in rows]
        yield
    return Answer(index, tuple(found))


def _stems(state: State, query: q.KVKeys) -> Steps:
    """Names cut after the separator: most keys are never looked at, so the walk is a live one."""
    kv, prefix, separator = state.kv, query.prefix, query.separator
    index = state.index_of(query)
    names: list[str] = []
    start: str | None = prefix
    while start is not None:
        batch = list(islice(kv.each_name(prefix, separator, start), SLICE_ROWS))
        if not batch:
            break
        names += batch
        is_cut = separator in batch[-1][len(prefix) :]
        start = prefix_end(batch[-1]) if is_cut else batch[-1] + "\0"
        yield
        if state.index_of(query) != index:
            raise Moved
    return Answer(index, tuple(names))


def _history(state: State, query: q.History | q.Diff) -> Steps:
    state.finish()
    index = max(1, state.history.index)
    if isinstance(query, q.History):
        value = yield from past.changes(state, query)
    else:
        value = yield from past.difference(state, query)
    return Answer(index, value)


def _services(state: State, query: q.ListServices) -> Steps | None:
    registry, look = state.registry, state.lookups
    if query.node_meta:
        return _services_on(state, query) if len(registry.nodes) > AT_ONCE_ROWS else None
    if look.has_listing or len(registry.names) <= AT_ONCE_ROWS:
        return None
    return _all_services(state, query)


def _all_services(state: State, query: q.ListServices) -> Steps:
    index = state.index_of(query)
    listing: dict[str, tuple[str, ...]] = {}
    source = state.lookups.each_name()
    while batch := _slice(source):
        for tags in batch:
            listing.update(tags)
        yield
        if state.index_of(query) != index:
            raise Moved
    state.lookups.keep_listing(listing, index)
    return Answer(index, listing)


def _services_on(state: State, query: q.ListServices) -> Steps:
    index = state.index_of(query)
    tags: dict[str, set[str]] = {}
    source = state.lookups.each_service_on(query.node_meta)
    while batch := _slice(source):
        for service in batch:
            tags.setdefault(service.name, set()).update(service.tags)
        yield
        if state.index_of(query) != index:
            raise Moved
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(tags):
        found[name] = tuple(sorted(tags[name]))
        if len(found) % SLICE_ROWS == 0:
            yield
    return Answer(index, found)


def at_index(state: State, earlier: State, query: Query[Any], index: int) -> Steps:
    """The answer as it was at ``index``, by way of an empty state that is ``earlier`` then."""
    stamp, restored_index = past.stamp(state, query), state.restored_index
    for _ in past.fill(earlier, state, query, index):
        yield
        if state.restored_index != restored_index or past.stamp(state, query) != stamp:
            raise Moved
    steps = earlier.gather(query)
    answer = earlier.answer(query) if steps is None else (yield from steps)
    yield from earlier.dissolve()
    return answer


def whole(steps: Generator[None, None, T]) -> T:
    """The value of steps that are taken at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value


def _unmoved(state: State, query: Query[Any], rows: Callable[[], Iterable[Any]]) -> Steps:
    # The walk goes over the table of nodes, so that must not move either.
    index, nodes = state.index_of(query), state.indexes.of("nodes")
    found: list[Any] = []
    source = iter(rows())
    while batch := _slice(source):
        found += batch
        yield
        if (state.index_of(query), state.indexes.of("nodes")) != (index, nodes):
            raise Moved
    return Answer(index, tuple(found))


def _slice(source: Iterator[Any]) -> list[Any]:
    try:
        return list(islice(source, SLICE_ROWS))
    except (RuntimeError, LookupError) as error:  # a table changed under the walk
        raise Moved from error


def _rows(state: State, query: Query[Any]) -> Callable[[], Iterable[Any]] | None:
    """The rows of a long answer, lazily."""
    registry, look = state.registry, state.lookups
    match query:
        case q.HealthService() | q.ServiceNodes():
            names = registry.connect if query.connect else registry.names
            row = names.get(query.service.lower())
            if row is None or len(row.instances) <= AT_ONCE_ROWS:
                return None
            each = look.each_health if isinstance(query, q.HealthService) else look.each_instance
            return lambda: each(query.service, query.tags, connect=query.connect)
        case q.ServiceChecks():
            named = registry.names.get(query.service.lower())
            if named is None or len(named.instances) <= AT_ONCE_ROWS:
                return None
            return lambda: look.each_service_check(query.service)
        case q.ListNodes():
            return look.each_node if len(registry.nodes) > AT_ONCE_ROWS else None
        case DumpNodes():
            # Each of these rows stands for several.
            return look.each_dump if len(registry.nodes) * _ROWS_OF_NODE > AT_ONCE_ROWS else None
        case q.ChecksInState():
            states = registry.states
            held = states.values() if query.state == "any" else [states.get(query.state, ())]
            if sum(map(len, held)) <= AT_ONCE_ROWS:
                return None
            return lambda: look.each_check_in(query.state)
    return None
