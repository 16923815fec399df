"""Every acknowledged increment counts once, an unknown one at most once, a failed one never.

An ``increment`` says which number it made; a strong read of the counter lies between the increments
that had ended before it began and those that had begun before it ended.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.checkers.linearizable import STRONG
from jepsen_lite.generator import READ
from jepsen_lite.history import FAIL, OK, Op, Operation, pair

NAME = "exactly-once"
INCREMENT = "increment"


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about all counters."""
    increments: dict[str, list[Operation]] = defaultdict(list)
    reads: dict[str, list[Operation]] = defaultdict(list)
    for operation in pair(ops):
        invocation = operation.invocation
        if invocation.f == INCREMENT and operation.outcome != FAIL:
            increments[invocation.key].append(operation)
        elif invocation.f == READ and operation.outcome == OK and invocation.mode in STRONG:
            reads[invocation.key].append(operation)
    problems: list[str] = []
    for key in sorted({*increments, *reads}):
        problems += _twice(key, increments[key])
        problems += _out_of_bounds(key, increments[key], reads[key])
    known = sum(len(found) for found in increments.values())
    return verdict(NAME, known if all(reads[key] for key in increments) else 0, problems)


def number(operation: Operation) -> int:
    """The number that was made or read; a counter that is not there yet is 0."""
    assert operation.completion is not None
    value = operation.completion.value
    return int(value) if isinstance(value, int | str) and value != "" else 0


def _twice(key: str, increments: Sequence[Operation]) -> list[str]:
    """Numbers are given out once, and a later increment makes a higher one."""
    known = [each for each in increments if each.outcome == OK]
    problems: list[str] = []
    first: dict[int, int] = {}
    for each in known:
        made = number(each)
        if made in first:
            problems.append(f"lines {first[made]} and {each.start}: both made {key} {made}")
        first.setdefault(made, each.start)
    highest, at, ended = 0, -1, 0
    by_end = sorted(known, key=lambda each: each.end)
    for each in sorted(known, key=lambda each: each.start):
        while by_end[ended].end < each.start:
            if number(by_end[ended]) > highest:
                highest, at = number(by_end[ended]), by_end[ended].start
            ended += 1
        if number(each) < highest:
            problems.append(
                f"line {each.start}: {key} became {number(each)} after it was {highest} (line {at})"
            )
    return problems


def _out_of_bounds(
    key: str, increments: Sequence[Operation], reads: Sequence[Operation]
) -> list[str]:
    ends = sorted(each.end for each in increments if each.outcome == OK)
    starts = sorted(each.start for each in increments)
    problems: list[str] = []
    for read in reads:
        least, most = bisect_left(ends, read.start), bisect_right(starts, read.end)
        if not least <= number(read) <= most:
            what = "counted twice" if number(read) > most else "lost"
            problems.append(
                f"line {read.start}: {key} is {number(read)}, "
                f"but must lie between {least} and {most}: increments were {what}"
            )
    return problems
