"""Long answers as bytes and back, in steps: the bytes are those of wire.py.

A listing of a hundred thousand rows takes half a second to encode, and as long to decode. So the
rows of a listing are written and read one by one, and whoever takes the steps may let others in
between. An answer that outgrows its limit ends there, before more memory is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgpack

from raftstore import wire
from raftstore.codec import codec_for
from raftstore.errors import DecodeError, EncodeError
from raftstore.queries import Answer, HistoryAnswer, NodeServicesAnswer, Query
from raftstore.records import TxnAnswer

T = TypeVar("T")

#: Rows in one step: a few hundred microseconds.
STEP_ROWS = 16
#: A shorter message is read in one step: it takes less than a millisecond.
SHORT_BYTES = 16 * 1024

#: What is long in answers that are more than rows: the field.
_ROWS_OF: dict[Any, str] = {
    HistoryAnswer: "changes",
    NodeServicesAnswer: "services",
    TxnAnswer: "results",
}


class AnswerTooLarge(EncodeError):
    """The bytes are more than the receiver would take."""


def encode_answer(
    query: Query[T], answer: Answer[T], *, bytes_max: int
) -> Generator[None, None, bytes | memoryview]:
    """``wire.encode_answer`` in steps. Raises EncodeError, AnswerTooLarge."""
    kind = query.answer_type
    field, value = _ROWS_OF.get(kind), answer.value
    held: Any = value if field is None else getattr(value, field)
    if not isinstance(held, tuple | Mapping) or len(held) <= STEP_ROWS:
        data = wire.encode_answer(query, answer)
        if len(data) > bytes_max:
            raise AnswerTooLarge(f"the answer is over the limit of {bytes_max} bytes")
        return data
    writer = _Writer(bytes_max)
    writer.packer.pack_array_header(3)
    writer.put(wire.VERSION)
    writer.put(answer.index)
    if field is None:
        yield from writer.rows(kind, held)
        return writer.written()
    plain = codec_for(kind).to_plain(replace(value, **{field: ()}))  # type: ignore[type-var]
    place = _place(kind, field)
    # A field that has a default is left out where nothing comes behind it.
    writer.packer.pack_array_header(max(len(plain), place + 1))
    for part in plain[:place]:
        writer.put(part)
    yield from writer.rows(_type_of(kind, field), held)
    for part in plain[place + 1 :]:
        writer.put(part)
    return writer.written()


class _Writer:
    """Bytes of one message."""

    def __init__(self, bytes_max: int) -> None:
        self.packer = msgpack.Packer(use_bin_type=True, autoreset=False)
        self._bytes_max = bytes_max

    def written(self) -> memoryview:
        """Without a copy: at eight megabytes one takes three milliseconds."""
        buffer: memoryview = self.packer.getbuffer()
        if buffer.nbytes > self._bytes_max:
            raise AnswerTooLarge(f"the answer is over the limit of {self._bytes_max} bytes")
        return buffer

    def put(self, plain: Any) -> None:
        try:
            self.packer.pack(plain)
        except (ValueError, OverflowError, TypeError) as error:
            raise EncodeError(f"cannot be encoded: {error}") from error

    def rows(self, kind: Any, held: Any) -> Generator[None, None, None]:
        to_plain = codec_for(_item_type(kind)).to_plain
        entries: Iterable[tuple[Any, ...]]
        if isinstance(held, tuple):
            self.packer.pack_array_header(len(held))
            entries = ((row,) for row in held)
        else:
            self.packer.pack_map_header(len(held))
            entries = ((name, held[name]) for name in sorted(held))
        for number, (*name, row) in enumerate(entries, start=1):
            for key in name:
                self.put(key)
            self.put(to_plain(row))
            if number % STEP_ROWS == 0:
                self.written()
                yield


def decode_answer(query: Query[T], payload: bytes) -> Generator[None, None, Answer[T]]:
    """``wire.decode_answer`` in steps. Raises DecodeError."""
    kind = query.answer_type
    field = _ROWS_OF.get(kind)
    listed = kind if field is None else _type_of(kind, field)
    if len(payload) <= SHORT_BYTES or get_origin(listed) not in (tuple, Mapping):
        return wire.decode_answer(query, payload)
    reader = _Reader(payload)
    if reader.items() != 3 or reader.number() != wire.VERSION:
        raise DecodeError("this version is not known here")
    index = reader.number()
    value: Any
    if field is None:
        value = yield from reader.rows(kind)
    else:
        place, count = _place(kind, field), reader.items()
        if count <= place:  # nothing is listed, and the field is left out; or it is no answer
            return wire.decode_answer(query, payload)
        plain = [reader.next() for _ in range(place)]
        rows = yield from reader.rows(listed)
        plain += [[], *(reader.next() for _ in range(place + 1, count))]
        value = replace(codec_for(kind).from_plain(plain), **{field: rows})
    reader.end()
    return Answer(index, value)


def decode_txn_answer(value: Any) -> Generator[None, None, TxnAnswer]:
    """``wire.decode_txn_answer`` in steps. Raises DecodeError."""
    if type(value) is not bytes or len(value) <= SHORT_BYTES:
        return wire.decode_txn_answer(value)
    reader = _Reader(value)
    parts = reader.items()
    if not parts:
        return wire.decode_txn_answer(value)
    results = yield from reader.rows(_type_of(TxnAnswer, "results"))
    errors = [reader.next() for _ in range(1, parts)]
    reader.end()
    answer: TxnAnswer = codec_for(TxnAnswer).from_plain([[], *errors])
    return replace(answer, results=results)


class _Reader:
    """Reads one message part by part."""

    def __init__(self, payload: bytes) -> None:
        if len(payload) > wire.LIMITS.answer_bytes_max:
            raise DecodeError(f"message of {len(payload)} bytes is over the limit")
        self._size = len(payload)
        self._unpacker = msgpack.Unpacker(
            raw=False, strict_map_key=True, max_ext_len=0, max_buffer_size=max(1, self._size)
        )
        self._unpacker.feed(payload)

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Exception as error:  # msgpack raises many kinds for bad input; all mean the same
            raise DecodeError(f"no msgpack: {type(error).__name__}") from error

    def next(self) -> Any:
        return self._read(self._unpacker.unpack)

    def number(self) -> int:
        found = self.next()
        if type(found) is not int or found < 0:
            raise DecodeError("index expected")
        return found

    def items(self) -> int:
        count: int = self._read(self._unpacker.read_array_header)
        return count

    def rows(self, kind: Any) -> Generator[None, None, Any]:
        """A tuple, or a dict, of the items."""
        from_plain = codec_for(_item_type(kind)).from_plain
        if get_origin(kind) is tuple:
            rows: list[Any] = []
            for number in range(1, self.items() + 1):
                rows.append(from_plain(self.next()))
                if number % STEP_ROWS == 0:
                    yield
            return tuple(rows)
        found: dict[str, Any] = {}
        for number in range(1, self._read(self._unpacker.read_map_header) + 1):
            name = self.next()
            if type(name) is not str:
                raise DecodeError("map with text keys expected")
            found[name] = from_plain(self.next())
            if number % STEP_ROWS == 0:
                yield
        return found

    def end(self) -> None:
        if self._unpacker.tell() != self._size:
            raise DecodeError("no msgpack: ExtraData")


def _item_type(kind: Any) -> Any:
    """What a listing lists: tuple[X, ...] or Mapping[str, X]."""
    arguments = get_args(kind)
    return arguments[0] if get_origin(kind) is tuple else arguments[1]


def _place(kind: Any, field: str) -> int:
    return list(kind.__dataclass_fields__).index(field)


@cache
def _type_of(kind: Any, field: str) -> Any:
    return get_type_hints(kind)[field]
