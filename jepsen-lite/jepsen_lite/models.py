"""What a correct store does, one operation after the other: pure functions on small states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jepsen_lite.generator import CAS, READ, WRITE


@dataclass(frozen=True, slots=True)
class Call:
    """An operation for a model. ``known`` is False when the outcome is not (``info``): whatever
    would have been answered is then allowed."""

    f: str
    value: str | None
    expected: str | None = None
    known: bool = True


class Model(Protocol):
    """A sequential specification."""

    def init(self) -> str | None: ...

    def step(self, state: str | None, call: Call) -> tuple[bool, str | None]:
        """Whether the call may happen in this state, and the state after it."""
        ...


class Register:
    """One key: a value or None; read, write, and compare-and-set that succeeded."""

    def init(self) -> str | None:
        return None

    def step(self, state: str | None, call: Call) -> tuple[bool, str | None]:
        if call.f == WRITE:
            return True, call.value
        if call.f == READ:
            return not call.known or state == call.value, state
        assert call.f == CAS
        if state == call.expected:
            return True, call.value
        return not call.known, state
