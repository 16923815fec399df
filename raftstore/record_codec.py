"""The codec of one dataclass, written out as source: its array from a value and back.

Every entry of the log is read this way on every server, so it is unrolled per class: no loop over
fields, scalars checked in place, values made by ``thawed``. A registration was read in 33 us by
the loop that did the same, and in 14 by this; a key in 10 and 4.

The rules are codec.py's: fields in order, those at the end that have their defaults left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from raftstore.errors import DecodeError, EncodeError
from raftstore.thawed import compiled, twin_of

#: Scalars whose only rule is their type. What msgpack reads is in range, and it refuses to write
#: what is not.
_PLAIN_TYPES = frozenset({str, bytes, bool, int})


@dataclass(frozen=True, slots=True)
class FieldCodec:
    """A field, its type, and how that type is written and read."""

    field: dataclasses.Field[Any]
    kind: Any
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]

    @property
    def default(self) -> Any:
        """The default's value; MISSING if there is none."""
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        return self.field.default

    @property
    def plain(self) -> bool:
        """Whether it is checked in place."""
        return isinstance(self.kind, type) and self.kind in _PLAIN_TYPES


def _required(fields: Sequence[FieldCodec]) -> int:
    """How many fields must be there: up to the last one without a default."""
    count = 0
    for position, each in enumerate(fields, start=1):
        if each.default is dataclasses.MISSING:
            count = position
    return count


def _refuse_write(kind: type, value: Any) -> None:
    raise EncodeError(f"{kind.__name__} expected, not {type(value).__name__}")


def _refuse_read(kind: type, value: Any) -> None:
    raise DecodeError(f"{kind.__name__} expected, not {type(value).__name__}")


def writer_of(cls: type, fields: Sequence[FieldCodec]) -> Callable[[Any], list[Any]]:
    """Writes a value of the class as the array of its fields. It raises EncodeError."""
    required, count = _required(fields), len(fields)
    known: dict[str, Any] = {"cls": cls, "refuse": _refuse_write}
    lines = ["def write(value):", " if type(value) is not cls: refuse(cls, value)"]
    lines += [f" v{at} = value.{each.field.name}" for at, each in enumerate(fields)]
    # Which fields at the end have their defaults: looked at from the last one on, and nearly all
    # of them are the very object that the class has.
    for at in range(count - 1, required - 1, -1):
        each = fields[at]
        known[f"d{at}"] = each.default
        word = "if" if at == count - 1 else "elif"
        differs = f"v{at} is not d{at} and (type(v{at}) is not type(d{at}) or v{at} != d{at})"
        lines.append(f" {word} {differs}: count = {at + 1}")
    lines.append(f" else: count = {required}" if required < count else f" count = {count}")
    lines.append(" plain = []")
    for at, each in enumerate(fields):
        if at >= required:
            lines.append(f" if count == {at}: return plain")
        if each.plain:
            lines.append(f" if type(v{at}) is not k{at}: refuse(k{at}, v{at})")
            lines.append(f" plain.append(v{at})")
            known[f"k{at}"] = each.kind
        else:
            lines.append(f" plain.append(w{at}(v{at}))")
            known[f"w{at}"] = each.to_plain
    lines.append(" return plain")
    written: Callable[[Any], list[Any]] = compiled(lines, "write", known)
    return written


def reader_of(cls: type, fields: Sequence[FieldCodec]) -> Callable[[Any], Any]:
    """Makes a value of the array of its first fields. It raises DecodeError."""
    twin = twin_of(cls)
    required, count = _required(fields), len(fields)
    known: dict[str, Any] = {"cls": cls, "refuse": _refuse_read, "twin": twin, "_list": list}
    lines = [
        "def read(plain):",
        " if type(plain) is not _list: refuse(cls, plain)",
        " count = len(plain)",
        f" if not {required} <= count <= {count}: refuse(cls, plain)",
    ]
    for at, each in enumerate(fields):
        lines += _read_field(at, each, optional=at >= required, known=known)
    names = [each.field.name for each in fields]
    if twin is None:
        given = ", ".join(f"{name}=v{at}" for at, name in enumerate(names))
        lines.append(f" return cls({given})")
    else:
        lines.append(" made = twin()")
        lines += [f" made.{name} = v{at}" for at, name in enumerate(names)]
        lines += [" made.__class__ = cls", " return made"]
    read: Callable[[Any], Any] = compiled(lines, "read", known)
    return read


def _read_field(at: int, each: FieldCodec, *, optional: bool, known: dict[str, Any]) -> list[str]:
    indent = " "
    lines = []
    if optional:
        lines.append(f" if count > {at}:")
        indent = "  "
    if each.plain:
        known[f"k{at}"] = each.kind
        lines.append(f"{indent}v{at} = plain[{at}]")
        lines.append(f"{indent}if type(v{at}) is not k{at}: refuse(k{at}, v{at})")
    else:
        known[f"r{at}"] = each.from_plain
        lines.append(f"{indent}v{at} = r{at}(plain[{at}])")
    if optional and each.field.default_factory is not dataclasses.MISSING:
        known[f"f{at}"] = each.field.default_factory
        lines.append(f" else: v{at} = f{at}()")
    elif optional:
        known[f"d{at}"] = each.field.default
        lines.append(f" else: v{at} = d{at}")
    return lines
