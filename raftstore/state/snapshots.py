"""The whole state as chunks of plain data, and back.

Decides the shape: a chunk is [section, rows], sections in a fixed order, rows sorted or in an order
that is itself part of the state; so equal states give equal bytes. Records are written by their
codecs, so a field may be appended without a new version. Framing, checksums and disk are left to
those who store or send the chunks.

No step of taking or loading is long. ``gather`` copies references in slices, and the state must not
change before the last one; then it may, for rows are immutable and those that are not are copied.
A table too large even for that keeps aside what changes while it is read (``frozen.py``). Encoding
and loading go chunk by chunk. A table's ``rows`` should therefore be lazy.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from raftstore.codec import codec_for, pack, unpack
from raftstore.errors import DecodeError
from raftstore.records import (
    Actor,
    AutopilotConfig,
    CAConfig,
    CAProviderState,
    CARoot,
    Check,
    KVPair,
    Node,
    Service,
    Session,
    SessionEnd,
)
from raftstore.records import ServiceIntentions as Entry
from raftstore.rows import CODECS
from raftstore.state.definitions import TABLES
from raftstore.state.frozen import Table
from raftstore.state.history import Change
from raftstore.state.registry import NodeRow
from raftstore.state.tables import Cell, RowKey
from raftstore.wire import outcome_from_plain, outcome_to_plain

if TYPE_CHECKING:
    from raftstore.state.machine import StateMachine

#: [section, rows]
Chunk = list[Any]

VERSION = 1

#: Rows in a chunk: small enough that writing one does not hold up the loop.
_ROWS_MAX = 256

#: Bytes of a packed chunk after which no more rows are put into it.
_CHUNK_BYTES = 128 * 1024

#: The largest packed chunk that is read: one row may be a node with very many services.
CHUNK_BYTES_MAX = 64 * 1024 * 1024

#: Rows whose references are copied in one slice: 0.1 to 2 ms, by the kind of row.
_SLICE_ROWS = 1000

_Section = tuple[str, Iterable[Any] | Table, Callable[[Any], Any]]
_Held = list[tuple[str, Iterator[list[Any]], Callable[[Any], Any]]]

_NODE = codec_for(Node)
_SERVICES = codec_for(tuple[Service, ...])
_CHECKS = codec_for(tuple[Check, ...])
_PAIR = codec_for(KVPair)
_ENTRY = codec_for(Entry)
_SESSION = codec_for(Session)
_SESSION_END = codec_for(SessionEnd)
_CONFIG = codec_for(CAConfig | None)
_ROOTS = codec_for(tuple[CARoot, ...])
_PROVIDER = codec_for(CAProviderState | None)
_AUTOPILOT = codec_for(AutopilotConfig)
_ACTOR = codec_for(Actor | None)
_OUTCOMES = "outcomes"
_GROUPS = "groups"
_FLOOR = "history-floor"
_HISTORY = "history"


def _sections(state: StateMachine) -> list[_Section]:
    """Name, rows and how a row is written, in the order of the snapshot. The head is the first."""
    registry, ca = state.registry, state.ca
    return [
        ("head", [[VERSION, state.index, state.stamp, state.kv.tombstones.floor]], _same),
        ("indexes", state.indexes.rows(), _same),
        ("nodes", (_NodeCopy(row) for row in registry.nodes.values()), _NodeCopy.plain),
        ("names", ([name, row.index] for name, row in registry.names.items()), _same),
        ("connect", ([n, registry.connect[n].index] for n in sorted(registry.connect)), _same),
        ("kv", state.kv.pairs, _PAIR.to_plain),
        ("tombstones", state.kv.tombstones.rows(), _same),
        ("sessions", state.sessions.rows(), _SESSION.to_plain),
        ("session-ends", state.sessions.ends(), _SESSION_END.to_plain),
        ("lock-delays", state.locks.delays.rows(), _same),
        ("intentions", state.intentions.rows(), _ENTRY.to_plain),
        ("ca", [(ca.config, ca.roots, ca.provider, ca.serial)], _ca_to_plain),
        ("autopilot", [found for found in (state.autopilot.config,) if found], _AUTOPILOT.to_plain),
        (_OUTCOMES, state.dedupe.rows(), _outcomes_to_plain),
        *[
            (name, table.records.values(), CODECS[name].to_plain)
            for name, table in state.definitions.tables.items()
        ],
        (_GROUPS, state.definitions.group_rows(), _same),
        (_FLOOR, [[state.history.floor, state.history.floor_stamp]], _same),
        (_HISTORY, state.history.rows(), _change_to_plain),
    ]


def gather(state: StateMachine) -> Generator[None, None, _Held]:
    """Hold the rows still, slice by slice; the state must not change before this ends."""
    sections: list[tuple[str, list[list[Any]] | Table, Callable[[Any], Any]]] = []
    for section, rows, to_plain in _sections(state):
        if isinstance(rows, Table):
            sections.append((section, rows, to_plain))
            continue
        slices: list[list[Any]] = []
        source = iter(rows)
        while batch := list(islice(source, _SLICE_ROWS)):
            slices.append(batch)
            yield
        sections.append((section, slices, to_plain))
    return [
        (name, rows.freeze(_SLICE_ROWS) if isinstance(rows, Table) else _drained(rows), to_plain)
        for name, rows, to_plain in sections
    ]


def _drained(slices: list[list[Any]]) -> Iterator[list[Any]]:
    """What was written is let go."""
    slices.reverse()
    while slices:
        yield slices.pop()


def _gathered(state: StateMachine) -> _Held:
    steps = gather(state)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            held: _Held = end.value
            return held


def take(state: StateMachine) -> Iterator[Chunk]:
    """The chunks of ``state`` as it is at this call."""
    return _chunks(_gathered(state))


def _rows(held: _Held) -> Iterator[tuple[str, Iterator[Any]]]:
    """Section by section the plain rows."""
    for section, slices, to_plain in held:
        yield section, (to_plain(row) for batch in slices for row in batch)


def _chunks(held: _Held) -> Iterator[Chunk]:
    for section, rows in _rows(held):
        while chunk := list(islice(rows, _ROWS_MAX)):
            yield [section, chunk]


def encoded(held: _Held) -> Iterator[bytes]:
    """The chunks as bytes; a chunk ends at a number of rows or of bytes, whatever comes first."""
    for section, rows in _rows(held):
        head = b"\x92" + pack(section)
        parts: list[bytes] = []
        size = 0
        for row in rows:
            parts.append(pack(row))
            size += len(parts[-1])
            if len(parts) == _ROWS_MAX or size >= _CHUNK_BYTES:
                yield head + b"\xdc" + len(parts).to_bytes(2, "big") + b"".join(parts)
                parts, size = [], 0
        if parts:
            yield head + b"\xdc" + len(parts).to_bytes(2, "big") + b"".join(parts)


class Loading:
    """Fills an empty state chunk by chunk."""

    def __init__(self, state: StateMachine) -> None:
        self._state = state
        self._headed = False
        self._loaders = _loaders()

    def feed(self, chunk: Chunk) -> None:
        """Load one chunk. Raises DecodeError; the state is then worth nothing."""
        try:
            section, rows = chunk
            loader = self._loaders[section]
            for row in rows:
                loader(self._state, row)
        except (LookupError, TypeError, ValueError) as error:
            raise DecodeError(f"damaged snapshot: {type(error).__name__}") from error
        if section == "head":
            self._headed = True
            # An older version kept no history, or what follows says how far it goes back.
            self._state.history.begin_at(self._state.index, self._state.stamp)
        if not self._headed:
            raise DecodeError("a snapshot begins with its head")

    def feed_bytes(self, chunk: bytes) -> None:
        """The same for one of ``encoded``."""
        self.feed(unpack(chunk, bytes_max=CHUNK_BYTES_MAX))

    def finish(self) -> None:
        """All was fed. Raises DecodeError if nothing was."""
        if not self._headed:
            raise DecodeError("the snapshot is empty")
        self._state.indexes.cells.clear()  # loading wrote rows, but changed nothing


def load(state: StateMachine, chunks: Iterable[Chunk]) -> None:
    """Fill an empty state. Raises DecodeError."""
    loading = Loading(state)
    for chunk in chunks:
        loading.feed(chunk)
    loading.finish()


class _NodeCopy:
    """A node's row, held still while the state moves on."""

    __slots__ = ("checks", "index", "node", "services")

    def __init__(self, row: NodeRow) -> None:
        self.node = row.node
        self.index = row.index
        self.services = tuple(row.services.values())
        self.checks = tuple([check for held in row.checks.values() for check in held.values()])

    def plain(self) -> list[Any]:
        services = tuple(sorted(self.services, key=lambda service: service.id))
        checks = tuple(sorted(self.checks, key=lambda check: check.id))
        return [
            _NODE.to_plain(self.node),
            self.index,
            _SERVICES.to_plain(services),
            _CHECKS.to_plain(checks),
        ]


def _load_head(state: StateMachine, row: Any) -> None:
    version, index, stamp, floor = row
    if version != VERSION:
        raise DecodeError("this version of snapshots is not known here")
    state.index, state.stamp = _index(index), float(stamp)
    state.kv.tombstones.floor = _index(floor)


def _load_node(state: StateMachine, row: Any) -> None:
    node, index, services, checks = row
    held = state.registry.load_node(_NODE.from_plain(node), _index(index))
    for service in _SERVICES.from_plain(services):
        state.registry.load_service(held, service)
    for check in _CHECKS.from_plain(checks):
        state.registry.load_check(held, check)


def _load_name(state: StateMachine, row: Any) -> None:
    state.registry.names[row[0]].index = _index(row[1])


def _load_connect(state: StateMachine, row: Any) -> None:
    state.registry.connect[row[0]].index = _index(row[1])


def _ca_to_plain(parts: tuple[Any, ...]) -> list[Any]:
    config, roots, provider, serial = parts
    return [
        _CONFIG.to_plain(config), _ROOTS.to_plain(roots), _PROVIDER.to_plain(provider), serial
    ]  # fmt: skip


def _load_ca(state: StateMachine, row: Any) -> None:
    config, roots, provider, serial = row
    state.ca.config = _CONFIG.from_plain(config)
    state.ca.roots = _ROOTS.from_plain(roots)
    state.ca.provider = _PROVIDER.from_plain(provider)
    state.ca.serial = _index(serial)


def _load_autopilot(state: StateMachine, row: Any) -> None:
    state.autopilot.config = _AUTOPILOT.from_plain(row)


def _outcomes_to_plain(row: tuple[Any, ...]) -> list[Any]:
    sender, floor, last_at, outcomes = row
    return [sender, floor, last_at, [[n, outcome_to_plain(outcome)] for n, outcome in outcomes]]


def _load_outcomes(state: StateMachine, row: Any) -> None:
    sender, floor, last_at, plain = row
    outcomes = [(_index(counter), outcome_from_plain(outcome)) for counter, outcome in plain]
    state.dedupe.load(_text(sender), _index(floor), float(last_at), outcomes)


def _record_loader(name: str) -> Callable[[StateMachine, Any], None]:
    from_plain = CODECS[name].from_plain
    return lambda state, row: state.definitions.tables[name].load(from_plain(row))


def _load_group(state: StateMachine, row: Any) -> None:
    table, kind, value, index = row
    state.definitions.tables[table].load_index(kind, value, _index(index))


def _load_floor(state: StateMachine, row: Any) -> None:
    floor, stamp = row
    state.history.begin_at(_index(floor), float(stamp))


def _change_to_plain(change: Change) -> list[Any]:
    index, stamp, actor, number, cells, _ = change
    plain = [_cell_to_plain(*cell) for cell in cells]
    return [index, stamp, _ACTOR.to_plain(actor), number, plain]


def _cell_to_plain(table: str, key: RowKey, before: Any, after: Any) -> list[Any]:
    shown: str | list[str] = key if isinstance(key, str) else list(key)
    if table.startswith("#"):
        return [table, shown, before, after]
    to_plain = CODECS[table].to_plain
    return [
        table,
        shown,
        None if before is None else to_plain(before),
        None if after is None else to_plain(after),
    ]


def _load_change(state: StateMachine, row: Any) -> None:
    index, stamp, actor, number, plain = row
    cells = [_cell_from_plain(*cell) for cell in plain]
    state.history.add(_index(index), float(stamp), _ACTOR.from_plain(actor), _index(number), cells)


def _cell_from_plain(table: Any, shown: Any, before: Any, after: Any) -> Cell:
    key: RowKey = (
        _text(shown) if not isinstance(shown, list) else (_text(shown[0]), _text(shown[1]))
    )
    if _text(table).startswith("#"):
        return table, key, _index(before), _index(after)
    from_plain = CODECS[table].from_plain
    return (
        table,
        key,
        None if before is None else from_plain(before),
        None if after is None else from_plain(after),
    )


def _loaders() -> dict[str, Callable[[StateMachine, Any], None]]:
    """How a row of each section is read."""
    return {
        "head": _load_head,
        "indexes": lambda state, row: state.indexes.load(_text(row[0]), _index(row[1])),
        "nodes": _load_node,
        "names": _load_name,
        "connect": _load_connect,
        "kv": lambda state, row: state.kv.load(_PAIR.from_plain(row)),
        "tombstones": lambda state, row: state.kv.load_tombstone(_text(row[0]), _index(row[1])),
        "sessions": lambda state, row: state.sessions.load(_SESSION.from_plain(row)),
        "session-ends": lambda state, row: state.sessions.load_end(_SESSION_END.from_plain(row)),
        "lock-delays": lambda state, row: state.locks.delays.load(_text(row[0]), float(row[1])),
        "intentions": lambda state, row: state.intentions.load(_ENTRY.from_plain(row)),
        "ca": _load_ca,
        "autopilot": _load_autopilot,
        _OUTCOMES: _load_outcomes,
        **{name: _record_loader(name) for name in TABLES},
        _GROUPS: _load_group,
        _FLOOR: _load_floor,
        _HISTORY: _load_change,
    }


def _same(row: Any) -> Any:
    return row


def _text(value: Any) -> str:
    if type(value) is not str:
        raise DecodeError("text expected")
    return value


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise DecodeError("index expected")
    return value
