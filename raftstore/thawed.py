"""Frozen records made and copied at the price of mutable ones.

A frozen dataclass sets each field through ``object.__setattr__``, which costs more than all else
that is done to a small record. Here a value is built as its class's *twin*, which has the same
slots and nothing that is frozen, and becomes the class when it is complete: the interpreter allows
that between classes of equal layout. What comes out is the same as from ``__init__``: same type,
same fields, frozen.

Functions are written per class as source, unrolled, as ``dataclasses`` itself does it; the only
texts in them are the names of fields of our own classes.
"""

from __future__ import annotations

import dataclasses
import keyword
import types
from collections.abc import Callable
from typing import Any, TypeVar

Record = TypeVar("Record")

_TWINS: dict[type, type | None] = {}
_COPIERS: dict[type, Callable[[Any, dict[str, Any]], Any]] = {}


def twin_of(cls: type) -> type | None:
    """The class's mutable twin; None where values must be made by ``__init__``.

    That is so where ``__init__`` does more than to set fields, or where there are no slots.
    """
    if cls not in _TWINS:
        _TWINS[cls] = _make_twin(cls)
    return _TWINS[cls]


def _make_twin(cls: type) -> type | None:
    names = tuple(field.name for field in dataclasses.fields(cls))
    slotted = vars(cls).get("__slots__") == names and all(
        isinstance(vars(cls).get(name), types.MemberDescriptorType) for name in names
    )
    if not slotted or hasattr(cls, "__post_init__"):
        return None
    return type(f"{cls.__name__}Twin", cls.__bases__, {"__slots__": names})


def copier_of(cls: type) -> Callable[[Any, dict[str, Any]], Any]:
    """A function that copies a record of this class with some fields changed."""
    copier = _COPIERS.get(cls)
    if copier is None:
        copier = _COPIERS[cls] = _make_copier(cls)
    return copier


def _make_copier(cls: type) -> Callable[[Any, dict[str, Any]], Any]:
    twin = twin_of(cls)
    if twin is None:
        return lambda record, changes: dataclasses.replace(record, **changes)
    lines = ["def copy(record, changes):", " made = twin()"]
    lines += [f" made.{field.name} = record.{field.name}" for field in dataclasses.fields(cls)]
    lines += [
        " for name, value in changes.items():",
        "  setattr(made, name, value)",
        " made.__class__ = cls",
        " return made",
    ]
    copy: Callable[[Any, dict[str, Any]], Any] = compiled(lines, "copy", {"twin": twin, "cls": cls})
    return copy


def maker_of(cls: type[Record]) -> Callable[..., Record]:
    """A function that makes a value of the class from all of its fields, in order."""
    names = ", ".join(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
    twin = twin_of(cls)
    assert twin is not None, "made by its __init__ only"
    lines = [f"def make({names}):", " made = twin()"]
    lines += [f" made.{name} = {name}" for name in names.split(", ")]
    lines += [" made.__class__ = cls", " return made"]
    make: Callable[..., Record] = compiled(lines, "make", {"twin": twin, "cls": cls})
    return make


def compiled(lines: list[str], name: str, known: dict[str, Any]) -> Any:
    """The function of this name, from source whose free names are given."""
    for word in known:
        assert word.isidentifier(), "only names stand in such source"
        assert not keyword.iskeyword(word), "only names stand in such source"
    scope = dict(known)
    exec(compile("\n".join(lines), "<record>", "exec"), scope)  # noqa: S102  our own fields' names
    return scope[name]
