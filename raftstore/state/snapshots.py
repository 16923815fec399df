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

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from raftstore.codec import codec_for, pack, unpack
from raftstore.definitions import KINDS
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
    Restored,
    Service,
    Session,
    SessionEnd,
    replace,
)
from raftstore.records import ServiceIntentions as Entry
from raftstore.rows import CODECS
from raftstore.state.frozen import Table
from raftstore.state.history import Change
from raftstore.state.parts import NodePart, change_parts, node_parts
from raftstore.state.tables import Cell, RowKey
from raftstore.state.whole import State
from raftstore.wire import outcome_from_plain, outcome_to_plain

#: [section, rows]
Chunk = list[Any]

VERSION = 1

#: Rows in a chunk: small enough that loading one does not hold up the loop, at 20 us a key.
_ROWS_MAX = 128

#: Bytes of a packed chunk after which no more rows are put into it: a node may have many services.
_CHUNK_BYTES = 32 * 1024

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
_RESTORED_ROW = codec_for(Restored)
_OUTCOMES = "outcomes"
_GROUPS = "groups"
_FLOOR = "history-floor"
_HISTORY = "history"
_RESTORED = "restored"
_STAGED = "staged"
#: What belongs to the log and not to what clients keep in it: no archive has these.
_OF_THE_LOG = frozenset({_OUTCOMES, _FLOOR, _HISTORY, _RESTORED, _STAGED})
#: Fewer rows in a chunk where loading one is more work.
_ROWS_MAX_OF = {_STAGED: 1}


def _sections(state: State) -> list[_Section]:
    """Name, rows and how a row is written, in the order of the snapshot. The head is the first."""
    registry, ca = state.registry, state.ca
    return [
        ("head", [[VERSION, state.index, state.stamp, state.kv.tombstones.floor]], _same),
        ("indexes", state.indexes.rows(), _same),
        ("nodes", (p for row in registry.nodes.values() for p in node_parts(row)), _node_to_plain),
        ("names", ([name, row.index] for name, row in registry.names.items()), _same),
        ("connect", ([n, registry.connect[n].index] for n in sorted(registry.connect)), _same),
        ("kv", state.kv.pairs, _PAIR.to_plain),
        ("tombstones", state.kv.tombstones.rows(), _same),
        ("sessions", state.sessions.rows(), _SESSION.to_plain),
        ("session-ends", state.sessions.ends(), _SESSION_END.to_plain),
        ("lock-delays", state.locks.delays.rows(), _same),
        ("intentions", state.intentions.rows(), _ENTRY.to_plain),
        ("ca", [(ca.config, ca.roots, ca.provider, ca.serial, ca.requested)], _ca_to_plain),
        ("autopilot", [found for found in (state.autopilot.config,) if found], _AUTOPILOT.to_plain),
        (_OUTCOMES, state.dedupe.rows(), _outcomes_to_plain),
        *[
            (name, table.records.values(), functools.partial(_record_to_plain, name))
            for name, table in state.definitions.tables.items()
        ],
        (_GROUPS, state.definitions.group_rows(), _same),
        (_FLOOR, [[state.history.floor, state.history.floor_stamp]], _same),
        (
            _HISTORY,
            (part for change in state.history.rows() for part in change_parts(change)),
            _change_to_plain,
        ),
        (_RESTORED, [row for row in (state.restored,) if row], _RESTORED_ROW.to_plain),
        (_STAGED, state.staged_rows(), _same),
    ]


def gather(state: State) -> Generator[None, None, _Held]:
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


def _gathered(state: State) -> _Held:
    steps = gather(state)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            held: _Held = end.value
            return held


def take(state: State) -> Iterator[Chunk]:
    """The chunks of ``state`` as it is at this call."""
    return _chunks(_gathered(state))


def _rows(held: _Held) -> Iterator[tuple[str, Iterator[Any]]]:
    """Section by section the plain rows."""
    for section, slices, to_plain in held:
        yield section, (to_plain(row) for batch in slices for row in batch)


def _chunks(held: _Held) -> Iterator[Chunk]:
    for section, rows in _rows(held):
        rows_max = _ROWS_MAX_OF.get(section, _ROWS_MAX)
        while chunk := list(islice(rows, rows_max)):
            yield [section, chunk]


def encoded(held: _Held) -> Iterator[bytes]:
    """The chunks as bytes; a chunk ends at a number of rows or of bytes, whatever comes first."""
    for section, rows in _rows(held):
        rows_max = _ROWS_MAX_OF.get(section, _ROWS_MAX)
        yield from _packed(section, rows, rows_max=rows_max, bytes_max=_CHUNK_BYTES)


def _packed(section: str, rows: Iterable[Any], *, rows_max: int, bytes_max: int) -> Iterator[bytes]:
    head = b"\x92" + pack(section)
    parts: list[bytes] = []
    size = 0
    for row in rows:
        parts.append(pack(row))
        size += len(parts[-1])
        if len(parts) == rows_max or size >= bytes_max:
            yield head + b"\xdc" + len(parts).to_bytes(2, "big") + b"".join(parts)
            parts, size = [], 0
    if parts:
        yield head + b"\xdc" + len(parts).to_bytes(2, "big") + b"".join(parts)


def chunk_head(chunk: bytes) -> tuple[str, int]:
    """Section and number of rows of one of ``encoded``. Raises DecodeError."""
    name_end = 2 + (chunk[1] & 0x1F) if len(chunk) > 2 else 0
    head = chunk[name_end : name_end + 3]
    if not name_end or chunk[:1] != b"\x92" or chunk[1] & 0xE0 != 0xA0 or len(head) < 3:
        raise DecodeError("damaged snapshot: no chunk")
    if head[0] == 0xDC:
        count = int.from_bytes(head[1:3], "big")
    elif head[0] & 0xF0 == 0x90:
        count = head[0] & 0x0F
    else:
        raise DecodeError("damaged snapshot: no chunk")
    return chunk[2:name_end].decode("ascii", "replace"), count


def is_archived(chunk: bytes) -> bool:
    """Whether archives have chunks of this section."""
    return chunk_head(chunk)[0] not in _OF_THE_LOG


def smaller(chunk: bytes, *, rows_max: int, bytes_max: int) -> Iterator[bytes]:
    """One of ``encoded`` as several, so that loading each is little work. Raises DecodeError."""
    section, rows = unpack(chunk, bytes_max=CHUNK_BYTES_MAX)
    yield from _packed(section, rows, rows_max=rows_max, bytes_max=bytes_max)


class Loading:
    """Fills an empty state chunk by chunk."""

    def __init__(self, state: State, *, renumber_to: int | None = None) -> None:
        """``renumber_to``: these are the chunks of an archive, and everything gets this index in
        place of the one it has, which may be of another log. What belongs to the log is refused."""
        self._state = state
        self._headed = False
        self._loaders = _loaders(renumber_to)
        if renumber_to is not None:
            self._loaders = {n: f for n, f in self._loaders.items() if n not in _OF_THE_LOG}

    def feed(self, chunk: Chunk) -> None:
        """Load one chunk. Raises DecodeError; the state is then worth nothing."""
        try:
            section, rows = chunk
            loader = self._loaders[section]
            for row in rows:
                loader(self._state, row)
        except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
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


def load(state: State, chunks: Iterable[Chunk]) -> None:
    """Fill an empty state. Raises DecodeError."""
    loading = Loading(state)
    for chunk in chunks:
        loading.feed(chunk)
    loading.finish()


def _record_to_plain(name: str, record: Any) -> Any:
    # Looked up for each: a codec is built at its first use, and all at once would be 20 ms.
    return CODECS[name].to_plain(record)


def _node_to_plain(part: NodePart) -> list[Any]:
    services, checks = _SERVICES.to_plain(part.services), _CHECKS.to_plain(part.checks)
    return [_NODE.to_plain(part.node), part.index, services, checks]


class _Numbers:
    """Which indexes the rows get: those that they had, or one for all."""

    __slots__ = ("_to",)

    def __init__(self, to: int | None) -> None:
        self._to = to

    def index(self, value: Any) -> int:
        """An index; 0 stays 0, for it means that there is none."""
        index = _index(value)
        return index if self._to is None or not index else self._to

    def record(self, record: Any) -> Any:
        """A record with its two indexes."""
        if self._to is None or record is None:
            return record
        return replace(record, create_index=self._to, modify_index=self._to)

    def all(self, records: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same for several."""
        return tuple([self.record(record) for record in records])


def _load_head(state: State, row: Any, numbers: _Numbers) -> None:
    version, index, stamp, floor = row
    if version != VERSION:
        raise DecodeError("this version of snapshots is not known here")
    state.index, state.stamp = _index(index), float(stamp)
    state.kv.tombstones.floor = numbers.index(floor)


def _load_node(state: State, row: Any, numbers: _Numbers) -> None:
    node, index, services, checks = row
    record = numbers.record(_NODE.from_plain(node))
    held = state.registry.nodes.get(record.name.lower())
    if held is None:  # else it is another part of it
        held = state.registry.load_node(record, numbers.index(index))
    for service in numbers.all(_SERVICES.from_plain(services)):
        state.registry.load_service(held, service)
    for check in numbers.all(_CHECKS.from_plain(checks)):
        state.registry.load_check(held, check)


def _load_session_end(state: State, row: Any, numbers: _Numbers) -> None:
    end = _SESSION_END.from_plain(row)
    session = numbers.record(end.session)
    state.sessions.load_end(replace(end, session=session, index=numbers.index(end.index)))


def _ca_to_plain(parts: tuple[Any, ...]) -> list[Any]:
    config, roots, provider, serial, requested = parts
    return [
        _CONFIG.to_plain(config), _ROOTS.to_plain(roots), _PROVIDER.to_plain(provider), serial,
        requested,
    ]  # fmt: skip


def _load_ca(state: State, row: Any, numbers: _Numbers) -> None:
    config, roots, provider, serial, *rest = row
    state.ca.config = numbers.record(_CONFIG.from_plain(config))
    state.ca.roots = numbers.all(_ROOTS.from_plain(roots))
    state.ca.provider = _PROVIDER.from_plain(provider)
    state.ca.serial = _index(serial)
    state.ca.requested = _text(rest[0]) if rest else ""  # older snapshots have none


def _outcomes_to_plain(row: tuple[Any, ...]) -> list[Any]:
    sender, floor, last_at, outcomes = row
    return [sender, floor, last_at, [[n, outcome_to_plain(outcome)] for n, outcome in outcomes]]


def _load_outcomes(state: State, row: Any) -> None:
    sender, floor, last_at, plain = row
    outcomes = [(_index(counter), outcome_from_plain(outcome)) for counter, outcome in plain]
    state.dedupe.load(_text(sender), _index(floor), float(last_at), outcomes)


def _record_loader(name: str, numbers: _Numbers) -> Callable[[State, Any], None]:
    from_plain = CODECS[name].from_plain
    return lambda state, row: state.definitions.tables[name].load(numbers.record(from_plain(row)))


def _load_group(state: State, row: Any, numbers: _Numbers) -> None:
    table, kind, value, index = row
    state.definitions.tables[table].load_index(kind, value, numbers.index(index))


def _load_floor(state: State, row: Any) -> None:
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


def _load_change(state: State, row: Any) -> None:
    index, stamp, actor, number, plain = row
    cells = [_cell_from_plain(*cell) for cell in plain]
    state.history.load(_index(index), float(stamp), _ACTOR.from_plain(actor), _index(number), cells)


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


def _load_restored(state: State, row: Any) -> None:
    state.restored = _RESTORED_ROW.from_plain(row)
    state.restored_index = state.history.barrier = state.restored.index


def _loaders(renumber_to: int | None) -> dict[str, Callable[[State, Any], None]]:
    """How a row of each section is read."""
    n = _Numbers(renumber_to)
    at = n.index
    return {
        "head": lambda state, row: _load_head(state, row, n),
        "indexes": lambda state, row: state.indexes.load(_text(row[0]), at(row[1])),
        "nodes": lambda state, row: _load_node(state, row, n),
        "names": lambda state, row: setattr(state.registry.names[row[0]], "index", at(row[1])),
        "connect": lambda state, row: setattr(state.registry.connect[row[0]], "index", at(row[1])),
        "kv": lambda state, row: state.kv.load(n.record(_PAIR.from_plain(row))),
        "tombstones": lambda state, row: state.kv.load_tombstone(_text(row[0]), at(row[1])),
        "sessions": lambda state, row: state.sessions.load(n.record(_SESSION.from_plain(row))),
        "session-ends": lambda state, row: _load_session_end(state, row, n),
        "lock-delays": lambda state, row: state.locks.delays.load(_text(row[0]), float(row[1])),
        "intentions": lambda state, row: state.intentions.load(n.record(_ENTRY.from_plain(row))),
        "ca": lambda state, row: _load_ca(state, row, n),
        "autopilot": lambda state, row: setattr(
            state.autopilot, "config", n.record(_AUTOPILOT.from_plain(row))
        ),
        _OUTCOMES: _load_outcomes,
        **{name: _record_loader(name, n) for name in KINDS},
        _GROUPS: lambda state, row: _load_group(state, row, n),
        _FLOOR: _load_floor,
        _HISTORY: _load_change,
        _RESTORED: _load_restored,
        _STAGED: lambda state, row: state.load_staged(row),
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
