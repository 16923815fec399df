"""Acknowledged writes are still there at the end, and refused ones never show up.

Looks at the final reads (mode "final") of each key. A final value is right when no acknowledged
write of that key began after the write of that value had ended: that later write was lost. A value
whose write definitely failed, or that nobody wrote, is a phantom wherever it is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.generator import READ
from jepsen_lite.history import FAIL, OK, Json, Op, Operation, pair

NAME = "lost-writes"
FINAL = "final"


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about writes."""
    writes: dict[str, dict[Json, Operation]] = defaultdict(dict)
    reads: list[Operation] = []
    for operation in pair(ops):
        invocation = operation.invocation
        if invocation.f == READ:
            if operation.outcome == OK:
                reads.append(operation)
        elif invocation.value is not None:
            writes[invocation.key][invocation.value] = operation
    problems: list[str] = []
    checked = len(reads)
    for read in reads:
        problems += _phantom(read, writes[read.invocation.key])
        if read.invocation.mode == FINAL:
            problems += _lost(read, writes[read.invocation.key])
    missing = set(writes) - {r.invocation.key for r in reads if r.invocation.mode == FINAL}
    if missing and not problems:
        checked = 0  # without a final read of every written key nothing can be promised
    return verdict(NAME, checked, problems)


def _value(read: Operation) -> Json:
    assert read.completion is not None
    return read.completion.value


def _phantom(read: Operation, writes: dict[Json, Operation]) -> list[str]:
    value = _value(read)
    if value is None:
        return []
    key, at = read.invocation.key, read.invocation.index
    write = writes.get(value)
    if write is None:
        return [f"line {at}: {key} holds {value}, which nobody wrote"]
    if write.outcome == FAIL:
        return [f"line {at}: {key} holds {value}, whose write failed (line {write.start})"]
    if write.start > read.end:
        return [f"line {at}: {key} holds {value} before it was written (line {write.start})"]
    return []


def _lost(read: Operation, writes: dict[Json, Operation]) -> list[str]:
    value = _value(read)
    shown = writes.get(value) if value is not None else None
    shown_end = shown.end if shown is not None else -1.0
    key = read.invocation.key
    return [
        f"line {write.start}: acknowledged write {written} to {key} is lost; "
        f"the final read shows {value}"
        for written, write in writes.items()
        if write.outcome == OK and write.start > shown_end and write.end < read.start
    ]
