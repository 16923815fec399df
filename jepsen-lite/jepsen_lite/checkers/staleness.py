"""A stale read shows something that was true, and not longer ago than the answer says.

The server says with a stale answer how old its knowledge may be (``X-Consul-LastContact``). What
had been acknowledged before that must be in it. Seconds of the tester's clock count, with a little
slack for the time the answer itself took.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.generator import READ
from jepsen_lite.history import FAIL, OK, Json, Op, Operation, pair

NAME = "staleness"
STALE = "stale"
#: The age has a resolution of milliseconds and is measured between two heartbeats.
SLACK_S = 0.2


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about all stale reads."""
    writes: dict[str, dict[Json, Operation]] = defaultdict(dict)
    reads: list[Operation] = []
    for operation in pair(ops):
        invocation = operation.invocation
        if invocation.f == READ:
            if operation.outcome == OK and invocation.mode == STALE:
                reads.append(operation)
        elif invocation.value is not None and isinstance(invocation.value, str | int):
            writes[invocation.key][invocation.value] = operation
    problems: list[str] = []
    for read in reads:
        problems += _judged(read, writes[read.invocation.key])
    return verdict(NAME, len(reads), problems)


def _judged(read: Operation, writes: dict[Json, Operation]) -> list[str]:
    assert read.completion is not None
    value, key = read.completion.value, read.invocation.key
    write = writes.get(value) if value is not None else None
    if value is not None and (write is None or write.outcome == FAIL or write.start > read.end):
        return [f"line {read.start}: {key} shows {value}, which was not written"]
    if read.completion.age_s is None:
        return []
    shown_end = write.end if write is not None else -1.0
    horizon = read.invocation.at - read.completion.age_s - SLACK_S
    for newer in writes.values():
        if newer.outcome != OK or newer.completion is None or newer.start < shown_end:
            continue
        if newer.completion.at < horizon:
            late = read.invocation.at - newer.completion.at
            return [
                f"line {read.start}: {key} shows {value} and says it is at most "
                f"{read.completion.age_s:.3f} s old, but {newer.invocation.value} was acknowledged "
                f"{late:.3f} s before (line {newer.start})"
            ]
    return []
