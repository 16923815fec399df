"""Which source wins (cli-config contract, section B1).

Scalars: the last source that sets one. Lists: appended, those of flags first. Maps: merged key by
key. Single ``service`` and ``check`` objects of all files end in the lists of the same thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.config.decode import Values

_SINGLES = (("service", "services"), ("check", "checks"))


def merge(*, files: Sequence[Values], flags: Values, fragments: Sequence[Values] = ()) -> Values:
    """One set of values; files in their order, then flags, then ``-hcl`` fragments."""
    merged: Values = {}
    for source in (*files, flags, *fragments):
        _add(merged, _collected(source), lists_first=source is flags)
    return merged


def origins(sources: Sequence[tuple[str, Values]]) -> dict[str, tuple[str, ...]]:
    """Which sources, by name, say something of each key, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for name, source in sources:
        for path in _collected(source):
            found[path] = (*found.get(path, ()), name)
    return found


def _collected(source: Values) -> Values:
    values = dict(source)
    for single, many in _SINGLES:
        if single in values:
            values[many] = (*values.get(many, ()), values.pop(single))
    return values


def _add(merged: Values, source: Values, *, lists_first: bool) -> None:
    for path, value in source.items():
        merged[path] = _joined(merged.get(path), value, lists_first=lists_first)


def _joined(old: Any, new: Any, *, lists_first: bool) -> Any:
    if isinstance(old, tuple) and isinstance(new, tuple):
        return (*new, *old) if lists_first else (*old, *new)
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **new}
    return new
