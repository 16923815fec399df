"""A journal of how to take changes back, for transactions that fail half way.

While a transaction is open every change to the state first notes what was there; ``rollback`` puts
it back, last change first. Outside of one a note costs a comparison and is forgotten. Whoever
changes state that a transaction may reach notes it here: that is the whole contract, and a property
test holds it (a failed transaction leaves the same bytes).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

_ABSENT: Any = object()


class Undo:
    """The steps back of the open transaction, if one is open."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] | None = None

    @property
    def open(self) -> bool:
        """Whether changes are being noted."""
        return self._steps is not None

    def begin(self) -> None:
        """Note every change from here on."""
        assert self._steps is None, "transactions do not nest"
        self._steps = []

    def commit(self) -> None:
        """Keep the changes."""
        self._steps = None

    def rollback(self) -> None:
        """Take all changes since ``begin`` back."""
        steps, self._steps = self._steps, None
        assert steps is not None, "nothing has begun"
        for step in reversed(steps):
            step()

    def step(self, back: Callable[[], object]) -> None:
        """A change is coming that ``back`` takes back."""
        if self._steps is not None:
            self._steps.append(back)

    def item(self, mapping: MutableMapping[Any, Any], key: Any) -> None:
        """The entry of ``key`` is about to be set or deleted."""
        if self._steps is not None:
            before = mapping.get(key, _ABSENT)
            self._steps.append(lambda: _put_back(mapping, key, before))

    def attr(self, thing: object, name: str) -> None:
        """An attribute is about to be set."""
        if self._steps is not None:
            before = getattr(thing, name)
            self._steps.append(lambda: setattr(thing, name, before))


def _put_back(mapping: MutableMapping[Any, Any], key: Any, before: Any) -> None:
    # By assignment and deletion only: a frozen table takes note of those (frozen.py).
    if before is not _ABSENT:
        mapping[key] = before
    elif key in mapping:
        del mapping[key]
