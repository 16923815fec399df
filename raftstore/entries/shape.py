"""What an object of a config entry may hold: read from JSON or HCL, and shown again.

Decides spelling (CamelCase, snake_case, any case), which loose types are taken, and which fields
are shown when they are empty (mesh contract C.1). Canonical content is plain JSON: CamelCase keys,
durations in nanoseconds, nothing that is empty unless its presence means something. Reading
canonical content gives the same content.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raftstore.durations import DurationError, format_ns, parse_ns
from raftstore.records import Json

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False", ""})
_INTEGER = re.compile(r"[+-]?\d+")
_INT_MAX = 1 << 63
#: Nesting of a free-form object.
DEPTH_MAX = 64
#: Go's names of what can come out of JSON.
_GO_TYPES = {bool: "bool", int: "int", float: "float64", str: "string", list: "slice", dict: "map"}


class Undecodable(ValueError):
    """A body that is no config entry; the text is Consul's, without any prefix."""


class Kind(enum.Enum):
    """What a field holds."""

    TEXT = "string"
    INT = "int"
    UINT = "uint"
    BOOL = "bool"
    FLOAT = "float32"
    #: Nanoseconds, given as text or number; shown as text, or as a number with ``raw``.
    DURATION = "duration"
    TEXTS = "[]string"
    INTS = "[]uint32"
    TEXT_MAP = "map[string]string"
    #: An object that nobody looks into.
    FREE = "map"
    OBJECT = "object"
    OBJECTS = "[]object"
    OBJECT_MAP = "map of objects"


#: An empty field is not shown.
HIDDEN: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. ``empty`` is what is shown when it is not set (HIDDEN: nothing).

    ``kept``: a zero that was given is not the same as none. ``raw``: a duration is shown in
    nanoseconds, as the reference does where its record has no text form.
    """

    name: str
    kind: Kind
    shape: Shape | None = None
    empty: Any = HIDDEN
    kept: bool = False
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of an object, in the order in which they are shown."""

    fields: tuple[Field, ...]
    by_key: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[str, Field] = {}
        for one in self.fields:
            found[snake(one.name)] = one
        for one in self.fields:
            found[one.name.lower()] = one
        object.__setattr__(self, "by_key", found)


def snake(name: str) -> str:
    """The spelling with underscores: ``CAFile`` is ``ca_file``."""
    return _CAMEL.sub("_", name).lower().replace("consecutive5xx", "consecutive_5xx")


# -- fields in short -----------------------------------------------------------------------------


def text(name: str, *, always: bool = False) -> Field:
    """A text."""
    return Field(name=name, kind=Kind.TEXT, empty="" if always else HIDDEN)


def integer(name: str, *, always: bool = False, kept: bool = False) -> Field:
    """A whole number."""
    return Field(name=name, kind=Kind.INT, empty=0 if always else HIDDEN, kept=kept)


def unsigned(name: str, *, always: bool = False, kept: bool = False) -> Field:
    """A whole number from 0."""
    return Field(name=name, kind=Kind.UINT, empty=0 if always else HIDDEN, kept=kept)


def boolean(name: str, *, always: bool = False) -> Field:
    """Yes or no."""
    return Field(name=name, kind=Kind.BOOL, empty=False if always else HIDDEN)


def number(name: str, *, always: bool = False) -> Field:
    """Any number."""
    return Field(name=name, kind=Kind.FLOAT, empty=0 if always else HIDDEN)


def duration(name: str, *, raw: bool = False, kept: bool = False) -> Field:
    """A duration."""
    return Field(name=name, kind=Kind.DURATION, raw=raw, kept=kept)


def texts(name: str, *, always: bool = False) -> Field:
    """Texts; ``always`` shows none as null."""
    return Field(name=name, kind=Kind.TEXTS, empty=None if always else HIDDEN)


def numbers(name: str) -> Field:
    """Whole numbers from 0."""
    return Field(name=name, kind=Kind.INTS)


def text_map(name: str) -> Field:
    """Texts by name."""
    return Field(name=name, kind=Kind.TEXT_MAP)


def free(name: str, *, always: bool = False) -> Field:
    """An object that nobody looks into; ``always`` shows none as null."""
    return Field(name=name, kind=Kind.FREE, empty=None if always else HIDDEN)


def record(name: str, *fields: Field, always: bool = False) -> Field:
    """An object. Without ``always`` an empty one is told from none; with it, it is always shown."""
    return Field(name=name, kind=Kind.OBJECT, shape=Shape(fields), empty={} if always else HIDDEN)


def records(name: str, *fields: Field, always: bool = False) -> Field:
    """Objects in order; ``always`` shows none as null."""
    return Field(
        name=name, kind=Kind.OBJECTS, shape=Shape(fields), empty=None if always else HIDDEN
    )


def record_map(name: str, *fields: Field) -> Field:
    """Objects by name."""
    return Field(name=name, kind=Kind.OBJECT_MAP, shape=Shape(fields))


# -- reading -------------------------------------------------------------------------------------


class _Reader:
    """Collects what is wrong, so that all of it is told at once."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.errors: list[str] = []

    def object(self, shape: Shape, value: Mapping[str, Any], path: str) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            one = shape.by_key.get(key.lower())
            if one is None:
                self.unknown.append(where)
            elif one.name not in given or key.lower() == one.name.lower():
                given[one.name] = item
        found: dict[str, Any] = {}
        for one in shape.fields:
            if given.get(one.name) is None:
                continue
            read = self.value(one, given[one.name], f"{path}.{one.name}" if path else one.name)
            if read is not None and (one.kept or _counts(one, read)):
                found[one.name] = read
        return found

    def value(self, one: Field, value: Any, path: str) -> Any:
        match one.kind:
            case Kind.OBJECTS:
                return self.objects(one, value, path)
            case Kind.TEXTS | Kind.INTS:
                scalar = Kind.TEXT if one.kind is Kind.TEXTS else Kind.UINT
                items = value if isinstance(value, list) else [value]
                read = [self.scalar(scalar, item, f"{path}[{at}]") for at, item in enumerate(items)]
                return [("" if scalar is Kind.TEXT else 0) if x is None else x for x in read]
        if isinstance(value, list) and len(value) == 1 and value[0] is not None:
            value = value[0]  # the shape of HCL's blocks
        match one.kind:
            case Kind.OBJECT:
                assert one.shape is not None
                return self.object(one.shape, value, path) if self.is_map(value, path) else None
            case Kind.OBJECT_MAP:
                assert one.shape is not None
                return self.object_map(one.shape, value, path)
            case Kind.TEXT_MAP:
                if not self.is_map(value, path):
                    return None
                return {
                    key: self.scalar(Kind.TEXT, item, f"{path}[{key}]") or ""
                    for key, item in value.items()
                }
            case Kind.FREE:
                return _plain(value) if self.is_map(value, path) else None
        return self.scalar(one.kind, value, path)

    def objects(self, one: Field, value: Any, path: str) -> list[Any]:
        assert one.shape is not None
        if isinstance(value, dict):
            value = [value] if value else []
        elif not isinstance(value, list):
            value = [value]
        found = []
        for at, item in enumerate(value):
            where = f"{path}[{at}]"
            if isinstance(item, list) and len(item) == 1:
                item = item[0]
            if item is not None and self.is_map(item, where):
                found.append(self.object(one.shape, item, where))
        return found

    def object_map(self, shape: Shape, value: Any, path: str) -> dict[str, Any] | None:
        if not self.is_map(value, path):
            return None
        found: dict[str, Any] = {}
        for key, item in value.items():
            where = f"{path}[{key}]"
            if isinstance(item, list) and len(item) == 1:
                item = item[0]
            if item is None:
                found[key] = {}
            elif self.is_map(item, where):
                found[key] = self.object(shape, item, where)
        return found

    def is_map(self, value: Any, path: str) -> bool:
        if isinstance(value, dict):
            return True
        self.errors.append(f"'{path}' expected a map, got '{_go_type(value)}'")
        return False

    def scalar(self, kind: Kind, value: Any, path: str) -> Any:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None:
            return None
        if isinstance(value, list | dict):
            wanted = {Kind.UINT: "uint", Kind.DURATION: "time.Duration"}.get(kind, kind.value)
            self.errors.append(
                f"'{path}' expected type '{wanted}', got unconvertible type '{_go_full(value)}'"
            )
            return None
        try:
            return _SCALARS[kind](value, path)
        except _BadValue as error:
            self.errors.append(str(error))
            return None


class _BadValue(ValueError):
    """A scalar that cannot be read."""


def _go_type(value: Any) -> str:
    return _GO_TYPES.get(type(value), "map" if isinstance(value, dict) else "slice")


def _go_full(value: Any) -> str:
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"


def _text(value: Any, _path: str) -> str:
    match value:
        case bool():
            return "1" if value else "0"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case _:
            return str(value)


def _int(value: Any, path: str, *, kind: str = "int") -> int:
    match value:
        case bool():
            return int(value)
        case int() | float() if -_INT_MAX <= value < _INT_MAX:
            return int(value)
        case str() if _INTEGER.fullmatch(value) and -_INT_MAX <= int(value) < _INT_MAX:
            return int(value)
    parse = "ParseInt" if kind == "int" else "ParseUint"
    reason = "invalid syntax"
    if not isinstance(value, str) or _INTEGER.fullmatch(value):
        reason = "value out of range"
    raise _BadValue(
        f"cannot parse '{path}' as {kind}: strconv.{parse}: parsing \"{value}\": {reason}"
    )


def _uint(value: Any, path: str) -> int:
    found = _int(value, path, kind="uint")
    if found < 0:
        raise _BadValue(f"cannot parse '{path}', {found} overflows uint")
    return found


def _bool(value: Any, path: str) -> bool:
    if isinstance(value, str):
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise _BadValue(
            f"cannot parse '{path}' as bool: strconv.ParseBool: parsing \"{value}\": invalid syntax"
        )
    return bool(value)


def _float(value: Any, path: str) -> int | float:
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise _BadValue(
            f"cannot parse '{path}' as float: strconv.ParseFloat: "
            f'parsing "{value}": invalid syntax'
        ) from None
    if not abs(found) < 1e30:
        raise _BadValue(f"cannot parse '{path}' as float: value out of range")
    return int(found) if found.is_integer() else found


def _duration(value: Any, path: str) -> int:
    if isinstance(value, str):
        try:
            return parse_ns(value)
        except DurationError as error:
            raise _BadValue(f"error decoding '{path}': {error}") from None
    return _int(value, path)


_SCALARS: Mapping[Kind, Any] = {
    Kind.TEXT: _text,
    Kind.INT: _int,
    Kind.UINT: _uint,
    Kind.BOOL: _bool,
    Kind.FLOAT: _float,
    Kind.DURATION: _duration,
}


def _plain(value: Any, depth: int = 0) -> Json:
    """A free-form object as JSON: HCL's blocks that stand alone become objects."""
    if depth > DEPTH_MAX:
        raise Undecodable("exceeded max depth")
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        alone = type(value) is not list and len(value) == 1
        plain = [_plain(item, depth + 1) for item in value]
        return plain[0] if alone else plain
    return value


def _counts(one: Field, value: Any) -> bool:
    """Whether a value is more than the field's zero. An object counts by being there."""
    return (one.kind is Kind.OBJECT and one.empty is HIDDEN) or bool(value)


def read(shape: Shape, value: Mapping[str, Any]) -> dict[str, Any]:
    """Canonical content of what was given. Raises Undecodable."""
    reader = _Reader()
    found = reader.object(shape, value, "")
    if reader.errors:
        count = len(reader.errors)
        lines = "\n".join(f"* {line}" for line in sorted(reader.errors))
        raise Undecodable(f"{count} error(s) decoding:\n\n{lines}")
    unknown = [key for key in reader.unknown if key not in {"CreateIndex", "ModifyIndex"}]
    if unknown:
        raise Undecodable(several(_unknown_key(key) for key in unknown))
    return found


def _unknown_key(key: str) -> str:
    hint = ""
    for what in ("namespace", "partition"):
        if key.lower().endswith(what):
            hint = f", {what}s are a consul enterprise feature"
    return f'invalid config key "{key}"{hint}'


def several(problems: Iterable[str]) -> str:
    """Problems as Go's list of errors shows them."""
    found = list(problems)
    count = f"{len(found)} error{'' if len(found) == 1 else 's'} occurred:"
    return count + "".join(f"\n\t* {line}" for line in found) + "\n\n"


# -- showing -------------------------------------------------------------------------------------


def show(shape: Shape, content: Mapping[str, Any]) -> dict[str, Any]:
    """Content as clients see it."""
    shown: dict[str, Any] = {}
    for one in shape.fields:
        value = content.get(one.name)
        if value is not None:
            shown[one.name] = _shown(one, value)
        elif one.kind is Kind.OBJECT and one.empty is not HIDDEN:
            assert one.shape is not None
            shown[one.name] = show(one.shape, {})
        elif one.empty is not HIDDEN:
            shown[one.name] = one.empty
    return shown


def _shown(one: Field, value: Any) -> Any:
    if one.shape is None:
        return format_ns(value) if one.kind is Kind.DURATION and not one.raw else value
    if one.kind is Kind.OBJECTS:
        return [show(one.shape, item) for item in value]
    if one.kind is Kind.OBJECT_MAP:
        return {key: show(one.shape, value[key]) for key in sorted(value)}
    return show(one.shape, value)
