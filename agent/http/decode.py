"""JSON bodies into typed values, with the rules and the error words of Go's decoder.

Field names match without regard to case, unknown fields are errors, ``null`` is absence (http-api
contract 1.2). Tables of fields say what a body may hold; `parse` owns the tables.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from agent.durations import DurationError, parse_ns
from raftstore.records import Json


class DecodeFailure(ValueError):
    """The body cannot be used; the text is the reason without any prefix."""


#: Turns a JSON value (never null) into what the field holds. The name is for error texts.
Convert = Callable[[str, Json], Any]
#: JSON name -> (our name, conversion).
Fields = Mapping[str, tuple[str, Convert]]

_INTEGER_MAX = 1 << 63
_UNSIGNED_MAX = 1 << 64
_SPACE = " \t\r\n"
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]*")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _constant(name: str) -> NoReturn:
    raise DecodeFailure(f"invalid character '{name.lstrip('-')[0]}' looking for beginning of value")


_decoder = json.JSONDecoder(parse_constant=_constant)


def load(body: bytes) -> Json:
    """The first JSON value of a body. Broken UTF-8 becomes U+FFFD, as in Go.

    Raises DecodeFailure with the text Go's decoder gives.
    """
    text = body.decode("utf-8", "replace").lstrip(_SPACE)
    if not text:
        raise DecodeFailure("EOF")
    try:
        value, _ = _decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        raise DecodeFailure(_explain(text, error)) from None
    except RecursionError:
        raise DecodeFailure("exceeded max depth") from None
    except DecodeFailure:
        raise
    except ValueError:  # a number with more digits than int() reads
        raise DecodeFailure("invalid number literal") from None
    return _without_surrogates(value) if "\\u" in text else value


def _without_surrogates(value: Json) -> Json:
    """Lone surrogates cannot be stored or sent; Go reads them as U+FFFD."""
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        case list():
            return [_without_surrogates(item) for item in value]
        case dict():
            return {
                _without_surrogates(key): _without_surrogates(item) for key, item in value.items()
            }
        case _:
            return value


def _explain(text: str, error: json.JSONDecodeError) -> str:
    position = error.pos
    if error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    in_string = "control character" in error.msg or "escape" in error.msg
    while not in_string and position < len(text) and text[position] in _SPACE:
        position += 1
    if position >= len(text):
        return "unexpected EOF"
    char = text[position]
    literal = _LITERALS.get(char, "")
    if literal and error.msg.startswith("Expecting value"):
        return _broken_literal(text[position:], literal)
    shown = {"'": "\\'", '"': '"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, char)
    if error.msg.startswith("Expecting property name") or error.msg.startswith("Illegal trailing"):
        where = "looking for beginning of object key string"
    elif error.msg.startswith("Expecting ':'"):
        where = "after object key"
    elif error.msg.startswith("Expecting ','"):
        where = (
            "after object key:value pair"
            if _in_object(text, error.pos)
            else ("after array element")
        )
    elif "control character" in error.msg:
        where = "in string literal"
    elif "escape" in error.msg:
        where = "in string escape code"
    else:
        where = "looking for beginning of value"
    return f"invalid character '{shown}' {where}"


#: First character -> the word that it begins.
_LITERALS = {"n": "null", "t": "true", "f": "false"}


def _broken_literal(text: str, literal: str) -> str:
    for char, expected in zip(text, literal, strict=False):
        if char != expected:
            return f"invalid character '{char}' in literal {literal} (expecting '{expected}')"
    return "unexpected EOF"


def _in_object(text: str, end: int) -> bool:
    """Whether the innermost container that is open at ``end`` is an object."""
    open_brackets: list[str] = []
    in_string = escaped = False
    for char in text[:end]:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "{[":
            open_brackets.append(char)
        elif char in "}]" and open_brackets:
            open_brackets.pop()
    return bool(open_brackets) and open_brackets[-1] == "{"


# -- conversions ---------------------------------------------------------------------------------


def kind_of(value: Json) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _mismatch(name: str, value: Json, wanted: str) -> DecodeFailure:
    return DecodeFailure(
        f"json: cannot unmarshal {kind_of(value)} into Go struct field .{name} of type {wanted}"
    )


def string(name: str, value: Json) -> str:
    """A JSON string."""
    if not isinstance(value, str):
        raise _mismatch(name, value, "string")
    return value


def integer(name: str, value: Json) -> int:
    """A whole JSON number that fits 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _mismatch(name, value, "int")
    if not -_INTEGER_MAX <= value < _INTEGER_MAX:
        raise DecodeFailure(
            f"json: cannot unmarshal number {value} into Go struct field .{name} of type int"
        )
    return value


def unsigned(name: str, value: Json) -> int:
    """A whole JSON number from 0 on that fits 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _mismatch(name, value, "uint64")
    if not 0 <= value < _UNSIGNED_MAX:
        raise DecodeFailure(
            f"json: cannot unmarshal number {value} into Go struct field .{name} of type uint64"
        )
    return value


def octets(name: str, value: Json) -> bytes:
    """Bytes as base64 with its padding; line ends in it mean nothing."""
    if not isinstance(value, str):
        raise _mismatch(name, value, "[]uint8")
    try:
        return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        clean = _BASE64.match(value)
        at = clean.end() if clean else 0
        raise DecodeFailure(f"illegal base64 data at input byte {at}") from None


def boolean(name: str, value: Json) -> bool:
    """A JSON boolean."""
    if not isinstance(value, bool):
        raise _mismatch(name, value, "bool")
    return value


def duration_ns(name: str, value: Json) -> int:
    """A duration text, or a number of nanoseconds."""
    if isinstance(value, str):
        if not value:
            return 0
        try:
            return parse_ns(value)
        except DurationError as error:
            raise DecodeFailure(str(error)) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(name, value, "time.Duration")
    if not -_INTEGER_MAX <= value < _INTEGER_MAX:
        raise DecodeFailure(f"time: invalid duration {value}")
    return int(value)


def duration_s(name: str, value: Json) -> float:
    """A duration in seconds."""
    return duration_ns(name, value) / 1e9


def strings(name: str, value: Json) -> tuple[str, ...]:
    """A list of strings; null elements are empty strings as in Go."""
    if not isinstance(value, list):
        raise _mismatch(name, value, "[]string")
    return tuple("" if item is None else string(name, item) for item in value)


def string_map(name: str, value: Json) -> dict[str, str]:
    """An object whose values are strings. Keys keep their case."""
    if not isinstance(value, dict):
        raise _mismatch(name, value, "map[string]string")
    return {key: "" if item is None else string(name, item) for key, item in value.items()}


def strings_map(name: str, value: Json) -> dict[str, tuple[str, ...]]:
    """An object whose values are lists of strings."""
    if not isinstance(value, dict):
        raise _mismatch(name, value, "map[string][]string")
    return {key: () if item is None else strings(name, item) for key, item in value.items()}


def any_object(name: str, value: Json) -> dict[str, Json]:
    """An object that nobody looks into."""
    if not isinstance(value, dict):
        raise _mismatch(name, value, "map[string]interface {}")
    return value


def ignored(_name: str, _value: Json) -> None:
    """A field that is allowed and means nothing here."""


class _ListOf:
    """A list of objects; null elements are left out."""

    __slots__ = ("convert",)

    def __init__(self, convert: Convert) -> None:
        self.convert = convert

    def __call__(self, name: str, value: Json) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _mismatch(name, value, "[]struct")
        return tuple(self.convert(name, item) for item in value if item is not None)


class _MapOf:
    """An object whose values are objects of one kind. Keys keep their case."""

    __slots__ = ("convert",)

    def __init__(self, convert: Convert) -> None:
        self.convert = convert

    def __call__(self, name: str, value: Json) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _mismatch(name, value, "map[string]struct")
        return {key: self.convert(name, item) for key, item in value.items() if item is not None}


objects = _ListOf
object_map = _MapOf


# -- objects -------------------------------------------------------------------------------------


class Shape:
    """What an object may hold. ``snake`` accepts snake_case spellings as well."""

    __slots__ = ("_fields", "fields", "name")

    def __init__(self, name: str, fields: Fields, *, snake: bool = False) -> None:
        self.name = name
        self.fields = {json_name: convert for json_name, (_, convert) in fields.items()}
        self._fields: dict[str, tuple[str, str, Convert]] = {}
        for json_name, (our_name, convert) in fields.items():
            entry = (json_name, our_name, convert)
            self._fields[json_name.lower()] = entry
            if snake:
                self._fields[_CAMEL.sub("_", json_name).lower()] = entry

    def read(self, name: str, value: Json) -> dict[str, Any]:
        """The given fields by our names. Raises DecodeFailure for anything unexpected."""
        if value is None and not name:
            return {}  # a body that is null says nothing
        if not isinstance(value, dict):
            where = f"Go struct field .{name} of type" if name else "Go value of type"
            raise DecodeFailure(f"json: cannot unmarshal {kind_of(value)} into {where} {self.name}")
        found: dict[str, Any] = {}
        for key, item in value.items():
            entry = self._fields.get(key.lower())
            if entry is None:
                raise DecodeFailure(f'json: unknown field "{key}"')
            json_name, our_name, convert = entry
            if item is not None and convert is not ignored:
                found[our_name] = convert(json_name, item)
        return found


#: Conversions that read a shape and make something of it, for those who describe bodies.
_SHAPES: dict[Convert, Callable[[], Shape]] = {}
C = TypeVar("C", bound=Convert)


def reads(shape: Callable[[], Shape]) -> Callable[[C], C]:
    """Says of a conversion which shape it reads."""

    def note(convert: C) -> C:
        _SHAPES[convert] = shape
        return convert

    return note


#: JSON schemas of the plain conversions.
_PLAIN: Mapping[Convert, Json] = {
    string: {"type": "string"},
    integer: {"type": "integer", "format": "int64"},
    unsigned: {"type": "integer", "minimum": 0},
    octets: {"type": "string", "contentEncoding": "base64"},
    boolean: {"type": "boolean"},
    duration_ns: {"type": ["string", "integer"], "examples": ["10s"]},
    duration_s: {"type": ["string", "integer"], "examples": ["10s"]},
    strings: {"type": "array", "items": {"type": "string"}},
    string_map: {"type": "object", "additionalProperties": {"type": "string"}},
    strings_map: {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    },
    any_object: {"type": "object"},
    ignored: {"description": "Accepted, and without effect"},
}


def schema_of(convert: Convert, found: dict[str, Shape]) -> Json:
    """The JSON schema of what a conversion reads; shapes are put into ``found`` and referred to."""
    if isinstance(convert, _ListOf):
        return {"type": "array", "items": schema_of(convert.convert, found)}
    if isinstance(convert, _MapOf):
        return {"type": "object", "additionalProperties": schema_of(convert.convert, found)}
    shape = getattr(convert, "__self__", None)
    if not isinstance(shape, Shape):
        make = _SHAPES.get(convert)
        if make is None:
            return _PLAIN.get(convert, {})
        shape = make()
    return _refer(shape, found)


def _refer(shape: Shape, found: dict[str, Shape]) -> Json:
    name, number = shape.name, 1
    while found.setdefault(name, shape) is not shape:
        number += 1
        name = f"{shape.name}{number}"
    return {"$ref": f"#/components/schemas/{name}"}
