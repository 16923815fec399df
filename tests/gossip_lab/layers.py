"""A mapping of a shared base and what one holder has changed of it.

Ten thousand members that know ten thousand members are a hundred million records. Nearly all of
them are equal, and records are values; so all tables share one base and keep their differences.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, ValuesView
from typing import Any, Generic, TypeVar

V = TypeVar("V")
GONE: Any = object()


class Layered(MutableMapping[str, V], Generic[V]):
    """Reads fall through to the base, writes and deletions stay in the own layer."""

    __slots__ = ("_base", "_length", "_reshaped", "own")

    def __init__(self, base: dict[str, V]) -> None:
        self._base = base
        self.own: dict[str, V] = {}
        self._length = len(base)
        self._reshaped = False  # whether the names differ from the base's

    def get(self, name: str, default: Any = None) -> Any:
        value = self.own.get(name)
        if value is None:
            return self._base.get(name, default)
        return default if value is GONE else value

    def __getitem__(self, name: str) -> V:
        value = self.own.get(name)
        if value is None:
            return self._base[name]
        if value is GONE:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        value = self.own.get(name)  # type: ignore[call-overload]
        return name in self._base if value is None else value is not GONE

    def __setitem__(self, name: str, value: V) -> None:
        if name not in self:
            self._length += 1
            self._reshaped = True
        self.own[name] = value

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self.own[name] = GONE
        self._length -= 1
        self._reshaped = True

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[str]:
        if not self._reshaped:
            return iter(self._base)
        kept = [name for name in self._base if self.own.get(name) is not GONE]
        more = [n for n, v in self.own.items() if v is not GONE and n not in self._base]
        return iter(kept + more)

    def values(self) -> ValuesView[V]:
        return _Values(self)


class _Values(ValuesView[V]):
    """Values without a look-up for each name that the holder has not changed."""

    _mapping: Layered[V]

    def __iter__(self) -> Iterator[V]:
        layered = self._mapping
        if layered._reshaped:
            return (layered[name] for name in layered)
        own = layered.own
        return iter([own.get(name, value) for name, value in layered._base.items()])
