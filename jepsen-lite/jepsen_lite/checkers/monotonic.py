"""Consistent reads never go back in time.

For each key, a consistent read that began after another had ended sees the same modify index or a
higher one. A key that is gone counts as index 0 (workloads here never delete). Stale reads promise
no such thing and are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.generator import READ
from jepsen_lite.history import OK, Op, Operation, pair

NAME = "monotonic-reads"
CONSISTENT = "consistent"


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about consistent reads."""
    reads: dict[str, list[Operation]] = defaultdict(list)
    for operation in pair(ops):
        invocation = operation.invocation
        strong = invocation.f == READ and invocation.mode in {CONSISTENT, FINAL}
        if strong and operation.outcome == OK:
            reads[invocation.key].append(operation)
    problems: list[str] = []
    for key, found in reads.items():
        problems += _backwards(key, found)
    return verdict(NAME, sum(map(len, reads.values())), problems)


def _backwards(key: str, reads: list[Operation]) -> list[str]:
    """Compares every read with the highest index that was seen before it began."""
    problems: list[str] = []
    by_end = sorted(reads, key=lambda read: read.end)
    ended, highest, seen_at = 0, 0, -1
    for read in sorted(reads, key=lambda read: read.start):
        while by_end[ended].end < read.start:
            if _index(by_end[ended]) > highest:
                highest, seen_at = _index(by_end[ended]), by_end[ended].start
            ended += 1
        if _index(read) < highest:
            problems.append(
                f"line {read.start}: {key} is read at index {_index(read)} "
                f"after index {highest} was seen (line {seen_at})"
            )
    return problems


def _index(read: Operation) -> int:
    assert read.completion is not None
    return read.completion.modify_index
