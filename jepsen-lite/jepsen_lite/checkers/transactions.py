"""Transactions over lists, as the checkers see them: what was read, what was appended.

An operation's value is a list of steps ``["r", key, list or None]`` and ``["append", key, value]``;
its completion carries what the reads showed. Every appended value is unique for its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jepsen_lite.history import FAIL, OK, Json, Op, pair

TXN = "txn"
READ_STEP, APPEND_STEP = "r", "append"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction. ``reads`` are its first reads of each key without what it appended itself,
    ``appends`` its values in order. A transaction of unknown outcome has ``known`` False."""

    start: int
    end: float
    known: bool
    reads: dict[str, tuple[Json, ...]]
    appends: dict[str, tuple[Json, ...]]


@dataclass(slots=True)
class Transactions:
    """The committed and unknown transactions of a history, and what failed ones tried to write."""

    all: list[Transaction] = field(default_factory=list)
    failed: set[tuple[str, Json]] = field(default_factory=set)


def transactions(ops: Sequence[Op]) -> Transactions:
    """Reads a history. Raises ValueError on steps of another shape."""
    found = Transactions()
    for operation in pair(ops):
        invocation = operation.invocation
        if invocation.f != TXN:
            continue
        if operation.outcome == FAIL:
            found.failed |= {
                (key, value) for kind, key, value in _steps(invocation) if kind == APPEND_STEP
            }
            continue
        known = operation.outcome == OK
        told = operation.completion if known and operation.completion else invocation
        found.all.append(_transaction(operation.start, operation.end, known, _steps(told)))
    return found


def _steps(op: Op) -> list[tuple[str, str, Json]]:
    steps: list[tuple[str, str, Json]] = []
    for step in op.value if isinstance(op.value, list) else []:
        if not isinstance(step, list) or len(step) != 3:
            raise ValueError(f"line {op.index}: {step!r} is no step of a transaction")
        kind, key, value = step
        if kind not in (READ_STEP, APPEND_STEP) or not isinstance(key, str):
            raise ValueError(f"line {op.index}: {step!r} is no step of a transaction")
        steps.append((str(kind), key, value))
    return steps


def _transaction(
    start: int, end: float, known: bool, steps: Sequence[tuple[str, str, Json]]
) -> Transaction:
    reads: dict[str, tuple[Json, ...]] = {}
    appends: dict[str, tuple[Json, ...]] = {}
    for kind, key, value in steps:
        if kind == APPEND_STEP:
            appends[key] = (*appends.get(key, ()), value)
        elif known and key not in appends and key not in reads:
            reads[key] = tuple(value) if isinstance(value, list) else ()
    return Transaction(start, end, known, reads, appends)
