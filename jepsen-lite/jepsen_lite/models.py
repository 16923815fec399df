"""What a correct store does, one operation after the other: pure functions on small states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jepsen_lite.generator import CAS, READ, WRITE
from jepsen_lite.history import Json


@dataclass(frozen=True, slots=True)
class Call:
    """An operation for a model. ``known`` is False when the outcome is not (``info``): whatever
    would have been answered is then allowed."""

    f: str
    value: Json
    expected: Json = None
    known: bool = True


class Model(Protocol):
    """A sequential specification."""

    def init(self) -> Json: ...

    def step(self, state: Json, call: Call) -> tuple[bool, Json]:
        """Whether the call may happen in this state, and the state after it."""
        ...


class Register:
    """One key: a value or None; read, write, and compare-and-set that succeeded."""

    def init(self) -> Json:
        return None

    def step(self, state: Json, call: Call) -> tuple[bool, Json]:
        if call.f == WRITE:
            return True, call.value
        if call.f == READ:
            return not call.known or state == call.value, state
        assert call.f == CAS
        if state == call.expected:
            return True, call.value
        return not call.known, state
