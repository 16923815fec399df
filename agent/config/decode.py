"""A file's plain data -> values by key path, strictly typed (cli-config contract, section B1).

Decides which keys exist and whether a value has the right type, in the words of Consul's loader:
first all type errors, then all unknown keys. What the values mean is decided in `build`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.config.definition_keys import CHECK_ALIASES, Fields, Kind, Shape
from agent.config.hcl import Blocks
from agent.config.keys import REMOVED, TREE, Tree
from agent.errors import ConfigError

#: What one source says: key path -> value. Lists are tuples, objects are dicts.
Values = dict[str, Any]

_ABSENT = object()


def decode(data: Any, name: str) -> Values:
    """What the file ``name`` says. Raises ConfigError with every error of one sort."""
    if not isinstance(data, dict):
        raise ConfigError(f"failed to parse {name}: expected an object, got {_go_type(data)}")
    found = _Decoder()
    values: Values = {}
    found.stanza("", data, TREE, values)
    found.report(name)
    return values


def several(errors: list[str]) -> str:
    """A list of errors as Consul's loader prints it."""
    count = "1 error occurred" if len(errors) == 1 else f"{len(errors)} errors occurred"
    return f"{count}:\n" + "".join(f"\t* {error}\n" for error in errors) + "\n"


class _Decoder:
    """Walks the data and collects what is wrong."""

    __slots__ = ("types", "unknown")

    def __init__(self) -> None:
        self.types: list[str] = []
        self.unknown: list[str] = []

    def report(self, name: str) -> None:
        if self.types:
            lines = "\n".join(f"* {error}" for error in sorted(self.types))
            raise ConfigError(
                f"failed to parse {name}: {len(self.types)} error(s) decoding:\n\n{lines}"
            )
        if self.unknown:
            errors = [f"invalid config key {path}" for path in sorted(self.unknown)]
            raise ConfigError(f"failed to parse {name}: {several(errors)}")

    def stanza(self, path: str, data: Mapping[str, Any], tree: Tree, values: Values) -> None:
        """One level of the table of keys; fills ``values`` by full path."""
        for spelled, value in data.items():
            key = spelled.lower()
            full = f"{path}{key}"
            inner = tree.get(key)
            if inner is None:
                successor = REMOVED.get(full)
                hint = f" (removed; use {successor})" if successor else ""
                self.unknown.append(f"{path}{spelled}{hint}")
            elif isinstance(inner, dict):
                block = self._map(full, value)
                if block is not None:
                    self.stanza(f"{full}.", block, inner, values)
            else:
                decoded = self.value(full, value, inner)
                if decoded is not _ABSENT:
                    values[full] = decoded

    def value(self, name: str, value: Any, kind: Kind | Shape) -> Any:
        """A decoded value; _ABSENT when it is null or wrong."""
        if value is None:
            return _ABSENT
        if isinstance(kind, Shape):
            return self._shape(name, value, kind)
        if kind in _SCALARS:
            return self._scalar(name, value, kind)
        if kind in {Kind.STRINGS, Kind.OPAQUES}:
            inner = Kind.STRING if kind is Kind.STRINGS else Kind.OPAQUE
            return self._list(name, value, lambda at, item: self.value(at, item, inner))
        block = self._map(name, value)
        if block is None:
            return _ABSENT
        if kind is Kind.OPAQUE:
            return opaque(block)
        return self._entries(name, block, kind)

    def _entries(self, name: str, block: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
        inner = Kind.STRINGS if kind is Kind.STRINGS_MAP else Kind.STRING
        entries: dict[str, Any] = {}
        for key, item in block.items():
            if inner is Kind.STRINGS and isinstance(item, str):
                item = [item]
            decoded = self.value(f"{name}[{key}]", item, inner)
            if decoded is not _ABSENT:
                entries[key] = decoded
        return entries

    def _shape(self, name: str, value: Any, shape: Shape) -> Any:
        if shape.form == "many":
            if isinstance(value, dict):
                value = [value]
            return self._list(name, value, lambda at, item: self._one(at, item, shape.fields))
        block = self._map(name, value)
        if block is None:
            return _ABSENT
        if shape.form == "named":
            entries = {
                key: self._one(f"{name}[{key}]", item, shape.fields) for key, item in block.items()
            }
            return {key: item for key, item in entries.items() if item is not _ABSENT}
        return self._fields(name, block, shape.fields)

    def _one(self, name: str, value: Any, fields: Fields) -> Any:
        block = self._map(name, value)
        return _ABSENT if block is None else self._fields(name, block, fields)

    def _fields(self, name: str, block: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for spelled, value in block.items():
            key = spelled.lower()
            kind = fields.get(key)
            if kind is None:
                self.unknown.append(f"{name}.{spelled}")
                continue
            decoded = self.value(f"{name}.{key}", value, kind)
            if decoded is not _ABSENT:
                read[CHECK_ALIASES.get(key, key)] = decoded
        return read

    def _list(self, name: str, value: Any, decode_one: Callable[[str, Any], Any]) -> Any:
        if not isinstance(value, list):
            self.types.append(
                f"'{name}': source data must be an array or slice, got {_go_kind(value)}"
            )
            return _ABSENT
        items = [decode_one(f"{name}[{at}]", item) for at, item in enumerate(value)]
        return tuple(item for item in items if item is not _ABSENT)

    def _map(self, name: str, value: Any) -> Mapping[str, Any] | None:
        """An object, or a list of exactly one (how HCL writes a block)."""
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            value = value[0]
        if isinstance(value, dict):
            return value
        if value is not None:
            self.types.append(f"'{name}' expected a map, got '{_go_kind(value)}'")
        return None

    def _scalar(self, name: str, value: Any, kind: Kind) -> Any:
        if kind is Kind.BOOL and isinstance(value, bool):
            return value
        if kind in {Kind.INT, Kind.FLOAT} and isinstance(value, int | float):
            whole = not isinstance(value, bool) and (
                kind is Kind.FLOAT or float(value).is_integer()
            )
            if whole:
                return float(value) if kind is Kind.FLOAT else int(value)
        if kind in {Kind.STRING, Kind.DURATION} and isinstance(value, str):
            return value
        wanted = "string" if kind is Kind.DURATION else kind.value
        self.types.append(
            f"'{name}' expected type '{wanted}', got unconvertible type '{_go_type(value)}', "
            f"value: '{_go_text(value)}'"
        )
        return _ABSENT


_SCALARS = frozenset({Kind.STRING, Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.DURATION})


def opaque(value: Any) -> Any:
    """Free data as it is, with HCL's blocks of one taken out of their list."""
    if isinstance(value, dict):
        return {key: opaque(item) for key, item in value.items()}
    if isinstance(value, Blocks) and len(value) == 1:
        return opaque(value[0])
    if isinstance(value, list):
        return [opaque(item) for item in value]
    return value


def _go_kind(value: Any) -> str:
    """The word for a value's kind in Go: what type errors about lists and maps name."""
    if isinstance(value, list):
        return "slice"
    return "map" if isinstance(value, dict) else _go_type(value)


def _go_type(value: Any) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "float64"
    if isinstance(value, str):
        return "string"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


def _go_text(value: Any) -> str:
    """A value as Go's %v prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return "[" + " ".join(_go_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{_go_text(v)}" for k, v in sorted(value.items())) + "]"
    return "<nil>" if value is None else str(value)
