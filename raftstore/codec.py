"""Typed values to plain data and back, derived once per type from its annotations.

Decides which shapes of plain data (None, bool, int, float, str, bytes, list, dict) stand for which
Python type. A dataclass becomes the array of its fields in order, less those at its end that have
their defaults; so a shorter array is read, which is also how a field is appended. Anything else
that does not fit is refused: ``DecodeError`` for bytes from outside, ``EncodeError`` for a value
that could not be read back. Mappings are written sorted by key, so equal values give equal bytes.

Left to others: what the messages are (wire.py) and where they travel.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgpack

from raftstore.errors import DecodeError, EncodeError
from raftstore.record_codec import FieldCodec, reader_of, writer_of

T = TypeVar("T")
K = TypeVar("K")
_Convert = Callable[[Any], Any]

#: What msgpack can carry in an integer.
_INT_MIN = -(2**63)
_INT_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecLimits:
    """Bounds on values whose shape the types leave open."""

    #: Nesting of lists and maps in a Json value.
    json_depth_max: int = 32
    #: Entries of all lists and maps of one Json value together.
    json_items_max: int = 16_384


LIMITS = CodecLimits()


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Both directions for one type."""

    to_plain: Callable[[T], Any]
    from_plain: Callable[[Any], T]

    def encode(self, value: T) -> bytes:
        """As msgpack bytes. Raises EncodeError."""
        return pack(self.to_plain(value))

    def decode(self, data: bytes, *, bytes_max: int) -> T:
        """From msgpack bytes. Raises DecodeError."""
        return self.from_plain(unpack(data, bytes_max=bytes_max))


def pack(plain: Any) -> bytes:
    """Plain data as msgpack. Raises EncodeError for what msgpack or UTF-8 cannot carry."""
    try:
        packed: bytes = msgpack.packb(plain, use_bin_type=True)
    except (ValueError, OverflowError, TypeError) as error:
        raise EncodeError(f"cannot be encoded: {error}") from error
    return packed


def bytes_header(size: int) -> bytes:
    """What stands before so many bytes in msgpack, for whom packing them would be one copy more."""
    if size < 1 << 8:
        return bytes((0xC4, size))
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


def unpack(data: bytes, *, bytes_max: int) -> Any:
    """One msgpack object and nothing behind it. Raises DecodeError."""
    if len(data) > bytes_max:
        raise DecodeError(f"message of {len(data)} bytes is over the limit of {bytes_max}")
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0)
    except Exception as error:  # msgpack raises many kinds for bad input; all mean the same here
        raise DecodeError(f"no msgpack: {type(error).__name__}") from error


def codec_for(kind: Any) -> Codec[Any]:
    """The codec of a type, built at the first call. Raises TypeError for an unsupported type."""
    codec = _BUILT.get(kind)
    if codec is None:
        codec = _BUILT[kind] = _build(kind)
    return codec


def types_in(kind: Any, seen: set[Any]) -> Iterator[Any]:
    """The types that a type is made of, itself last; without those that are ``seen``."""
    if kind in seen:
        return
    seen.add(kind)
    supertype = getattr(kind, "__supertype__", None)
    parts: Iterable[Any] = typing.get_args(kind)
    if supertype is not None:
        parts = (supertype,)
    elif dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        parts = [hints[field.name] for field in dataclasses.fields(kind)]
    elif typing.get_origin(kind) is Literal:
        parts = ()
    for part in parts:
        if part is not Ellipsis and part is not types.NoneType:
            yield from types_in(part, seen)
    yield kind


class LazyCodecs(dict[K, Codec[Any]]):
    """Codecs by key, each built at its first use: all at once they were a third of a start."""

    def __init__(self, types: Mapping[K, Any]) -> None:
        super().__init__()
        self.types = types

    def __missing__(self, key: K) -> Codec[Any]:
        codec = self[key] = codec_for(self.types[key])
        return codec

    def build(self, seen: set[Any]) -> Iterator[None]:
        """Build all, a step a type; those in ``seen`` are not looked at again."""
        for key, kind in self.types.items():
            for part in types_in(kind, seen):
                codec_for(part)
                yield
            self[key] = codec_for(kind)


def _build(kind: Any) -> Codec[Any]:
    supertype = getattr(kind, "__supertype__", None)
    if supertype is not None:
        return codec_for(supertype)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(kind, arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(codec_for(arguments[0]))
    if origin is tuple:
        return _fixed(tuple(codec_for(argument) for argument in arguments))
    if origin is Mapping and arguments[0] is str:
        return _mapping(codec_for(arguments[1]))
    if origin is Literal:
        return _literal(frozenset(arguments))
    raise TypeError(f"no codec for {kind!r}")


def _both(check: Callable[[Any, type[Exception]], Any]) -> Codec[Any]:
    """A codec whose two directions differ in the error alone."""
    return Codec(lambda v: check(v, EncodeError), lambda v: check(v, DecodeError))


def _exactly(kind: type) -> Codec[Any]:
    def to_plain(value: Any) -> Any:
        if type(value) is not kind:
            raise EncodeError(f"{kind.__name__} expected, not {type(value).__name__}")
        return value

    def from_plain(value: Any) -> Any:
        if type(value) is not kind:
            raise DecodeError(f"{kind.__name__} expected, not {type(value).__name__}")
        return value

    return Codec(to_plain, from_plain)


def _int() -> Codec[Any]:
    def check(value: Any, error: type[Exception]) -> Any:
        if type(value) is not int or not _INT_MIN <= value <= _INT_MAX:
            raise error("64-bit int expected")
        return value

    return _both(check)


def _float() -> Codec[Any]:
    def to_plain(value: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise EncodeError("finite float expected")
        return float(value)

    def from_plain(value: Any) -> float:
        if type(value) is not float or not math.isfinite(value):
            raise DecodeError("finite float expected")
        return value

    return Codec(to_plain, from_plain)


def _none() -> Codec[Any]:
    def check(value: Any, error: type[Exception]) -> None:
        if value is not None:
            raise error("nothing expected")

    return _both(check)


class _JsonWalk:
    """One pass over a Json value: checks it and, on the way out, sorts its maps."""

    __slots__ = ("_error", "_items")

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self._items = 0

    def value(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            if not _INT_MIN <= value <= _INT_MAX:
                raise self._error("number out of range")
            return value
        if kind is float:
            if not math.isfinite(value):
                raise self._error("number is not finite")
            return value
        if kind is not list and kind is not dict:
            raise self._error(f"no JSON value: {kind.__name__}")
        self._items += len(value)
        if depth >= LIMITS.json_depth_max or self._items > LIMITS.json_items_max:
            raise self._error("JSON value is too deep or too large")
        if kind is list:
            return [self.value(item, depth + 1) for item in value]
        if any(type(key) is not str for key in value):
            raise self._error("keys of a JSON object are texts")
        return {key: self.value(value[key], depth + 1) for key in sorted(value)}


def _optional(kind: Any, arguments: tuple[Any, ...]) -> Codec[Any]:
    inner = [argument for argument in arguments if argument is not types.NoneType]
    if len(inner) != 1 or len(arguments) != 2:
        raise TypeError(f"no codec for {kind!r}: only X | None")
    codec = codec_for(inner[0])
    encode, decode = codec.to_plain, codec.from_plain
    return Codec(
        lambda v: None if v is None else encode(v), lambda v: None if v is None else decode(v)
    )


def _sequence(item: Codec[Any]) -> Codec[Any]:
    encode, decode = item.to_plain, item.from_plain

    def to_plain(value: Any) -> list[Any]:
        if type(value) is not tuple:
            raise EncodeError(f"tuple expected, not {type(value).__name__}")
        return [encode(item) for item in value]

    def from_plain(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise DecodeError(f"array expected, not {type(value).__name__}")
        return tuple([decode(item) for item in value])

    return Codec(to_plain, from_plain)


def _fixed(items: tuple[Codec[Any], ...]) -> Codec[Any]:
    encoders = tuple(item.to_plain for item in items)
    decoders = tuple(item.from_plain for item in items)

    def to_plain(value: Any) -> list[Any]:
        if type(value) is not tuple or len(value) != len(encoders):
            raise EncodeError(f"tuple of {len(encoders)} expected")
        return [encode(item) for encode, item in zip(encoders, value, strict=True)]

    def from_plain(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(decoders):
            raise DecodeError(f"array of {len(decoders)} expected")
        return tuple([decode(item) for decode, item in zip(decoders, value, strict=True)])

    return Codec(to_plain, from_plain)


def _mapping(item: Codec[Any]) -> Codec[Any]:
    encode, decode = item.to_plain, item.from_plain

    def to_plain(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or any(type(key) is not str for key in value):
            raise EncodeError("mapping with text keys expected")
        return {key: encode(value[key]) for key in sorted(value)}

    def from_plain(value: Any) -> dict[str, Any]:
        if type(value) is not dict or any(type(key) is not str for key in value):
            raise DecodeError("map with text keys expected")
        return {key: decode(item) for key, item in value.items()}

    return Codec(to_plain, from_plain)


def _literal(choices: frozenset[Any]) -> Codec[Any]:
    def check(value: Any, error: type[Exception]) -> Any:
        if type(value) is not str or value not in choices:
            raise error(f"one of {sorted(choices)} expected")
        return value

    return _both(check)


def _dataclass(cls: type) -> Codec[Any]:
    hints = typing.get_type_hints(cls)
    fields = []
    for field in dataclasses.fields(cls):
        kind = getattr(hints[field.name], "__supertype__", hints[field.name])
        codec = codec_for(kind)
        fields.append(FieldCodec(field, kind, codec.to_plain, codec.from_plain))
    return Codec(writer_of(cls, fields), reader_of(cls, fields))


#: Built codecs by type; the scalars are the ground on which the others stand.
_BUILT: dict[Any, Codec[Any]] = {
    str: _exactly(str),
    bytes: _exactly(bytes),
    bool: _exactly(bool),
    int: _int(),
    float: _float(),
    None: _none(),
    types.NoneType: _none(),
    Any: Codec(
        lambda v: _JsonWalk(EncodeError).value(v), lambda v: _JsonWalk(DecodeError).value(v)
    ),
}
