"""Whoever watches sees values in order, never an older one, and in the end the last one.

One writer per key writes 1, 2, 3, …; a ``watch`` answers a mapping of keys to numbers, and the
index it answered at. An index that goes backwards makes clients start over, so it must not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.generator import WRITE
from jepsen_lite.history import FAIL, OK, Op, Operation, pair

NAME = "watching"
WATCH = "watch"


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about all watchers."""
    writes: dict[str, list[Operation]] = defaultdict(list)
    watchers: dict[str, list[Operation]] = defaultdict(list)
    for operation in pair(ops):
        if operation.invocation.f == WRITE:
            writes[operation.invocation.key].append(operation)
        elif operation.invocation.f == WATCH and operation.outcome == OK:
            watchers[operation.invocation.process].append(operation)
    problems: list[str] = []
    for process, seen in watchers.items():
        problems += _in_order(process, seen) + _invented(process, seen, writes)
    finals = [w for seen in watchers.values() for w in seen if w.invocation.mode == FINAL]
    for last in finals:
        problems += _incomplete(last, writes)
    return verdict(NAME, sum(map(len, watchers.values())) if finals else 0, problems)


def shown(watch: Operation) -> dict[str, int]:
    """What a watch answered."""
    assert watch.completion is not None
    value = watch.completion.value
    assert isinstance(value, dict)
    return {key: int(str(number)) for key, number in value.items()}


def _in_order(process: str, seen: Sequence[Operation]) -> list[str]:
    problems: list[str] = []
    index, values, line = 0, dict[str, int](), -1
    for watch in seen:
        assert watch.completion is not None
        now, at = shown(watch), watch.completion.modify_index
        where = f"line {watch.start}: {process}"
        if at < index:
            problems.append(f"{where}: index {at} after {index} (line {line})")
        if at == index and now != values:
            problems.append(f"{where}: other values at the same index {at} (line {line})")
        for key, number in values.items():
            if now.get(key, 0) < number:
                problems.append(f"{where}: {key} is {now.get(key, 0)} after {number} (line {line})")
        index, values, line = max(index, at), now, watch.start
    return problems


def _invented(
    process: str, seen: Sequence[Operation], writes: dict[str, list[Operation]]
) -> list[str]:
    by_value = {
        (key, int(str(write.invocation.value))): write
        for key, made in writes.items()
        for write in made
    }
    problems: list[str] = []
    for watch in seen:
        for key, number in shown(watch).items():
            write = by_value.get((key, number))
            if write is None or write.outcome == FAIL or write.start > watch.end:
                problems.append(
                    f"line {watch.start}: {process} sees {key} at {number}, which was not written"
                )
    return problems


def _incomplete(last: Operation, writes: dict[str, list[Operation]]) -> list[str]:
    """The last look of a watcher, after all was healed, shows what was acknowledged last."""
    problems: list[str] = []
    now = shown(last)
    for key, made in writes.items():
        acknowledged = [w for w in made if w.outcome == OK and w.end < last.start]
        newest = max((int(str(w.invocation.value)) for w in acknowledged), default=0)
        if now.get(key, 0) < newest:
            problems.append(
                f"line {last.start}: {last.invocation.process} never saw {key} at {newest}, "
                f"it still has {now.get(key, 0)}"
            )
    return problems
