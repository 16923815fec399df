"""The state as it was: a query answered at an earlier index, and what changed between two.

Decides which rows a query needs, from its footprint. Those rows are put, as they were, into an
empty state, and its readers do the rest: there is one definition of every answer. What a row was
is what the oldest change after that index found, or what it is now. The cost is that of the query
and of the changes since, not of the catalog.

It is done in steps. Rows are read as they are when their step comes, so a row that the query needs
must not change in between: whoever takes the steps begins again when ``stamp`` has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from sortedcontainers import SortedDict

from raftstore import queries as q
from raftstore import rows
from raftstore.dns_queries import HealthSample, WhoHasAddress
from raftstore.errors import NotInHistory
from raftstore.queries import Change, Footprint, HistoryAnswer, Query
from raftstore.records import Actor, Check, KVPair, Service, Session
from raftstore.restore_queries import GetRestore
from raftstore.state.connect import without_secrets
from raftstore.state.registry import (
    CONNECT_INDEX,
    NAME_INDEX,
    NODE_INDEX,
    NameRow,
    NodeRow,
    connect_name,
)
from raftstore.state.tables import TABLE_INDEX, TOMBSTONE_FLOOR, TOMBSTONE_INDEX, RowKey
from raftstore.state.whole import State

_CATALOG = frozenset(
    {"nodes", "services", "checks", TABLE_INDEX, NODE_INDEX, NAME_INDEX, CONNECT_INDEX}
)
#: Footprint -> the tables whose changes bear on it.
_TABLES: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("nodes", "services", "service-names", "service", "connect", "node", "checks"), _CATALOG
    ),
    **dict.fromkeys(("kv", "kv-prefix"), frozenset({"kv", TABLE_INDEX, TOMBSTONE_INDEX})),
    **dict.fromkeys(
        ("intentions", "intentions:destination"), frozenset({"intentions", TABLE_INDEX})
    ),
    "ca-roots": frozenset({"ca-roots", "ca-config", TABLE_INDEX}),
    "ca-config": frozenset({"ca-config", TABLE_INDEX}),
    "autopilot": frozenset({"autopilot", TABLE_INDEX}),
    **dict.fromkeys(("sessions", "session", "session-node"), frozenset({"sessions", TABLE_INDEX})),
}


#: Steps of an answer about the history; the value is the answer.
Steps = Generator[None, None, HistoryAnswer]

#: Cells that are walked in one step: about a millisecond. One that is written out counts for many.
_WALKED_AT_ONCE = 4096
_WRITTEN_COUNTS = 40

#: Rows that are put into the earlier state in one step: about a millisecond.
_LOADED_AT_ONCE = 64

#: What is asked of the history itself, and of what no journal keeps.
_NOW_ONLY = (q.History, q.Diff, q.WhySessionEnded, GetRestore, WhoHasAddress, HealthSample)


def stamp(state: State, query: Query[Any]) -> tuple[int, ...]:
    """What moves when a row changes that the query's earlier answers need."""
    index = state.index_of(query)
    if all(name in ("kv", "kv-prefix") for name, _ in query.footprint()):
        return (index, state.kv.tombstones.floor)
    # Wider than the index of the answer: an instance may take the place of another unnoticed.
    return (index, *map(state.indexes.of, ("nodes", "services", "checks")))


def fill(past: State, state: State, query: Query[Any], index: int) -> Generator[None, None, None]:
    """Put into an empty state, in steps, what ``query`` needs of ``state`` as it was at ``index``.

    Raises NotInHistory for a query about secrets, or about the history itself.
    """
    if query.server_only or isinstance(query, _NOW_ONLY):
        raise NotInHistory(f"{type(query).__name__} is answered for now only")
    past.restored_index = state.restored_index
    footprint = query.footprint()
    tables: frozenset[str] = frozenset({TABLE_INDEX})
    for name, _ in footprint:
        table = state.definitions.table_of(name)
        tables |= _TABLES[name] if table is None else frozenset(table.cell_tables())
    # The rows that hold no more than an index move with any write: as they are in the first step.
    indexes = dict(state.indexes.all())
    undone = yield from state.history.undone_steps(index, tables)
    earlier = _Earlier(past, state, undone, indexes)
    for item in footprint:
        yield from earlier.load(item)


class _Earlier:
    """Copies rows as they were."""

    def __init__(
        self,
        past: State,
        state: State,
        undone: dict[str, dict[RowKey, Any]],
        indexes: dict[str, int],
    ) -> None:
        self._past = past
        self._state = state
        self._undone = undone
        self._by_node: dict[str, dict[str, dict[str, Any]]] = {}
        self._long: dict[str, Callable[[str], Iterator[None]]] = {
            "nodes": lambda _: self._each(self._node, self._node_keys()),
            "services": lambda _: self._each(self._services_of, self._node_keys()),
            "service-names": lambda _: self._each(self._services_of, self._node_keys()),
            "checks": lambda _: self._each(self._holdings_of, self._node_keys()),
            "service": self._named,
            "connect": self._connected,
            "kv-prefix": self._prefix,
        }
        self._loaders: dict[str, Callable[[str], None]] = {
            "node": self._holdings_of,
            "kv": self._key,
            "intentions": lambda _: self._intentions(),
            "intentions:destination": self._intentions_of,
            "ca-roots": lambda _: self._ca(),
            "ca-config": lambda _: self._ca(),
            "autopilot": lambda _: self._autopilot(),
            "sessions": lambda _: self._sessions(lambda session: True),
            "session": lambda key: self._sessions(lambda session: session.id == key),
            "session-node": lambda key: self._sessions(lambda s: s.node.lower() == key),
        }
        for table, index in (indexes | undone[TABLE_INDEX]).items():
            past.indexes.load(str(table), index)

    def load(self, footprint: Footprint) -> Iterator[None]:
        """What one footprint speaks of, in steps."""
        name, key = footprint
        table = self._state.definitions.table_of(name)
        if name in self._long:
            yield from self._long[name](key)
        elif table is None:
            self._loaders[name](key)
        else:
            table.fill(self._past.definitions.tables[table.name], self._undone, footprint)

    def _was(self, table: str, key: RowKey, now: Any) -> Any:
        return self._undone[table].get(key, now)

    @staticmethod
    def _each(load: Callable[[Any], object], rows: Iterable[Any]) -> Iterator[None]:
        source = iter(rows)
        while batch := list(islice(source, _LOADED_AT_ONCE)):
            for row in batch:
                load(row)
            yield

    # Nodes, services, checks

    def _node_keys(self) -> list[str]:
        now = self._state.registry.nodes
        gone = [key for key in self._undone["nodes"] if key not in now]
        return [*now, *map(str, gone)]

    def _node(self, key: str) -> NodeRow | None:
        """The node's row, without what it holds."""
        row: NodeRow | None = self._past.registry.nodes.get(key)
        if row is not None:
            return row
        now: NodeRow | None = self._state.registry.nodes.get(key)
        node = self._was("nodes", key, now.node if now else None)
        if node is None:
            return None
        index = self._was(NODE_INDEX, key, now.index if now else 0)
        return self._past.registry.load_node(node, index)

    def _services_of(self, key: str) -> None:
        """A node with its services."""
        row = self._node(key)
        if row is not None:
            for service in self._rows_on(key, "services"):
                self._service(row, service)

    def _holdings_of(self, key: str) -> None:
        """A node with its services and checks."""
        self._services_of(key)
        row = self._node(key)
        if row is not None:
            for check in self._rows_on(key, "checks"):
                self._past.registry.load_check(row, check)

    def _rows_on(self, node: str, table: str) -> Iterator[Any]:
        """The node's services or checks as they were."""
        changed = self._changed_on(table).get(node, {})
        row: NodeRow | None = self._state.registry.nodes.get(node)
        if row is not None:
            held = row.services.values() if table == "services" else row.all_checks()
            yield from [record for record in held if record.id not in changed]
        yield from [record for record in changed.values() if record is not None]

    def _changed_on(self, table: str) -> dict[str, dict[str, Any]]:
        """Changed rows by node and id; grouped once per query."""
        grouped = self._by_node.get(table)
        if grouped is None:
            grouped = self._by_node[table] = {}
            for key, record in self._undone[table].items():
                assert isinstance(key, tuple), "holdings of nodes are named by two parts"
                grouped.setdefault(key[0], {})[key[1]] = record
        return grouped

    def _service(self, row: NodeRow, service: Service) -> None:
        registry, now = self._past.registry, self._state.registry
        registry.load_service(row, service)
        name = service.name.lower()
        if not registry.names[name].index:
            registry.names[name].index = self._name_index(NAME_INDEX, now.names.get(name), name)
        endpoint = connect_name(service)
        if endpoint and not registry.connect[endpoint].index:
            registry.connect[endpoint].index = self._name_index(
                CONNECT_INDEX, now.connect.get(endpoint), endpoint
            )

    def _name_index(self, cells: str, row: NameRow | None, name: str) -> int:
        index: int = self._was(cells, name, row.index if row else 0)
        return index

    def _named(self, name: str) -> Iterator[None]:
        """The instances of a name with their nodes and the checks that decide about them."""
        row = self._state.registry.names.get(name)
        return self._instances(row, lambda service: service.name.lower() == name)

    def _connected(self, name: str) -> Iterator[None]:
        """The same for the mesh endpoints of a name."""
        row = self._state.registry.connect.get(name)
        return self._instances(row, lambda service: connect_name(service) == name)

    def _instances(
        self, now: NameRow | None, is_meant: Callable[[Service], bool]
    ) -> Iterator[None]:
        changed = self._undone["services"]
        held = now.instances.items() if now else ()
        found: dict[RowKey, Service] = {key: item for key, item in held if key not in changed}
        found |= {key: was for key, was in changed.items() if was is not None and is_meant(was)}
        checks: dict[str, list[Check]] = {}
        self._changed_on("checks")  # long in itself, so not in one step with rows

        def load(item: tuple[RowKey, Service]) -> None:
            instance, service = item
            node = instance[0]
            row = self._node(node)
            assert row is not None, "an instance has its node"
            self._service(row, service)
            if node not in checks:
                checks[node] = list(self._rows_on(node, "checks"))
                self._load_checks(row, checks[node], "")
            self._load_checks(row, checks[node], service.id)

        yield
        yield from self._each(load, found.items())

    def _load_checks(self, row: NodeRow, checks: list[Check], service_id: str) -> None:
        for check in checks:
            if check.service_id == service_id:
                self._past.registry.load_check(row, check)

    # Flat tables

    def _key(self, key: str) -> None:
        pair: KVPair | None = self._was("kv", key, self._state.kv.get(key))
        if pair is not None:
            self._past.kv.load(pair)

    def _prefix(self, prefix: str) -> Iterator[None]:
        kv, past = self._state.kv, self._past.kv
        changed = self._undone["kv"]
        rows: list[KVPair]
        for rows in kv.pairs.freeze(_LOADED_AT_ONCE, prefix):
            for pair in rows:
                if pair.key not in changed:
                    past.load(pair)
            yield
        below = [w for key, w in changed.items() if w is not None and str(key).startswith(prefix)]
        yield from self._each(past.load, below)
        buried = dict(kv.tombstones.below(prefix))
        for key, index in self._undone[TOMBSTONE_INDEX].items():
            if str(key).startswith(prefix):
                buried[str(key)] = index
        for name, index in buried.items():
            if index:
                past.load_tombstone(name, index)
        past.tombstones.floor = self._was(TABLE_INDEX, TOMBSTONE_FLOOR, kv.tombstones.floor)

    def _intentions(self) -> None:
        now = self._state.intentions.entries()
        for key in {**now, **dict.fromkeys(map(str, self._undone["intentions"]))}:
            self._intentions_of(key)

    def _intentions_of(self, key: str) -> None:
        entry = self._was("intentions", key, self._state.intentions.entries().get(key))
        if entry is not None:
            self._past.intentions.load(entry)

    def _ca(self) -> None:
        ca, past = self._state.ca, self._past.ca
        past.config = self._was("ca-config", "", without_secrets(ca.config))
        if "ca-roots" in self._undone:
            past.roots = self._was("ca-roots", "", ca.roots) or ()

    def _autopilot(self) -> None:
        self._past.autopilot.config = self._was("autopilot", "", self._state.autopilot.config)

    def _sessions(self, is_meant: Callable[[Session], bool]) -> None:
        changed = self._undone["sessions"]
        now = [session for session in self._state.sessions.all() if session.id not in changed]
        for session in (*now, *changed.values()):
            if session is not None and is_meant(session):
                self._past.sessions.load(session)


def changes(state: State, query: q.History) -> Steps:
    """The rows that were written, oldest first, in steps. Raises NotInHistory."""
    history, now = state.history, state.index
    # Rows that were written before a restore are told, though no state before it can be.
    first = history.floor if query.since is None else history.locate(query.since, now)
    last = history.locate(query.until, now)
    floor, walked = history.floor, 0
    found: list[Change] = []
    # Oldest first, so that the limit keeps a page that the next one can follow.
    for change in [change for change in history.rows() if first < change[0] <= last]:
        if len(found) >= max(1, query.limit):
            return HistoryAnswer(floor, tuple(found), True)
        index, stamp, actor, number, cells, _ = change
        for table, key, before, after in cells:
            if _is_wanted(query, table, key):
                found.append(_changed(table, key, before, after, (index, stamp, actor, number)))
                walked += _WRITTEN_COUNTS
            walked += 1
            if walked >= _WALKED_AT_ONCE:
                walked = 0
                yield
    return HistoryAnswer(floor, tuple(found))


def difference(state: State, query: q.Diff) -> Steps:
    """The rows that are not the same at two indexes, by table and key. Raises NotInHistory."""
    history, now = state.history, state.index
    since, until = history.resolve(query.since, now), history.resolve(query.until, now)
    first, last = min(since, until), max(since, until)
    floor, walked = history.floor, 0
    # (table, key as text, key) -> what it was, and the latest change.
    rows_between: SortedDict = SortedDict()
    for change in [change for change in history.rows() if first < change[0] <= last]:
        index, stamp, actor, number, cells, _ = change
        for table, key, before, after in cells:
            if _is_wanted(query, table, key):
                place = (table, _shown(key), key)
                was = rows_between[place][0] if place in rows_between else before
                rows_between[place] = (was, after, (index, stamp, actor, number))
                walked += _WRITTEN_COUNTS
            walked += 1
            if walked >= _WALKED_AT_ONCE:
                walked = 0
                yield
    found: list[Change] = []
    for (table, _, key), (before, after, who) in rows_between.items():
        walked += _WRITTEN_COUNTS
        if walked >= _WALKED_AT_ONCE:
            walked = 0
            yield
        if before == after:
            continue
        if len(found) >= max(1, query.limit):
            return HistoryAnswer(floor, tuple(found), True)
        if since > until:
            before, after = after, before
        found.append(_changed(table, key, before, after, who))
    return HistoryAnswer(floor, tuple(found))


def _changed(
    table: str,
    key: RowKey,
    before: Any,
    after: Any,
    who: tuple[int, float, Actor | None, int],
) -> Change:
    index, stamp, actor, number = who
    return Change(
        index=index,
        stamp=stamp,
        table=table,
        key=_shown(key),
        before=rows.write(table, before),
        after=rows.write(table, after),
        command=number,
        actor=actor,
    )


def _is_wanted(query: q.History | q.Diff, table: str, key: RowKey) -> bool:
    if table.startswith("#") or (query.table and table != query.table):
        return False
    return not query.key or _shown(key).startswith(query.key)


def _shown(key: RowKey) -> str:
    return key if isinstance(key, str) else "/".join(key)
