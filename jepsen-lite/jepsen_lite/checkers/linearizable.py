"""Every key behaves like one register to all clients (Herlihy and Wing 1990).

Keys are independent, so each is searched alone (register_search.py). Operations of unknown outcome
may take effect at any time after their start, or never. The search is bounded; beyond the bound the
verdict is unknown, never valid. What breaks the rule is made small before it is shown: the shortest
beginning of the history that has no explanation, without the reads it does not need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from jepsen_lite.checkers import Validity, Verdict, verdict
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.checkers.register_search import Found, Span, search
from jepsen_lite.generator import CAS, READ, WRITE
from jepsen_lite.history import FAIL, OK, Op, Operation, pair
from jepsen_lite.models import Call

NAME = "linearizable"
#: Configurations (set of operations done, state) tried for one key.
CONFIGURATIONS_MAX = 200_000
#: Searches spent on making one counterexample small.
SHRINKS_MAX = 300
#: Configurations of each of those.
_SHRINK_CONFIGURATIONS_MAX = 20_000
#: Modes of reads that promise the newest value; stale ones promise less (staleness.py).
STRONG = frozenset({"consistent", "default", FINAL})


def check(ops: Sequence[Op], *, configurations_max: int = CONFIGURATIONS_MAX) -> Verdict:
    """The verdict about all keys."""
    keys: dict[str, list[Span]] = defaultdict(list)
    checked = 0
    for operation in pair(ops):
        span = span_of(operation)
        if span is not None:
            keys[operation.invocation.key].append(span)
            checked += 1
    problems: list[str] = []
    unknown: list[str] = []
    for key, spans in sorted(keys.items()):
        found = search(spans, configurations_max)
        if found.possible is None:
            unknown.append(f"{key}: gave up after {configurations_max} configurations")
        elif not found.possible:
            problems.append(explain(key, spans))
    if unknown and not problems:
        return Verdict(NAME, Validity.UNKNOWN, checked, tuple(unknown))
    return verdict(NAME, checked, problems)


def span_of(operation: Operation) -> Span | None:
    """What the search needs to know; None for what changed nothing and told nothing."""
    invocation, outcome = operation.invocation, operation.outcome
    if invocation.f not in {READ, WRITE, CAS} or outcome == FAIL:
        return None
    if invocation.f == READ and (outcome != OK or invocation.mode not in STRONG):
        return None
    value = invocation.value
    if invocation.f == READ:
        assert operation.completion is not None
        value = operation.completion.value
    known = outcome == OK
    call = Call(invocation.f, value, invocation.expected, known)
    return Span(operation.start, operation.end, call, known)


def explain(key: str, spans: Sequence[Span]) -> str:
    """A small set of operations of the key that no order explains, as text."""
    few, found = minimal(spans)
    lines = [f"{key}: no order of its {len(spans)} operations explains the answers. Enough is:"]
    lines += [f"    {_told(span)}" for span in few]
    blocked = ", ".join(_short(span) for span in found.blocked)
    lines.append(
        f"    after {len(found.stuck)} of these in some order, none can come next: {blocked}"
    )
    return "\n".join(lines)


def minimal(spans: Sequence[Span]) -> tuple[list[Span], Found]:
    """The shortest beginning without an order, and of it only what is needed.

    Every beginning of a linearizable history is linearizable, and so is one without some of its
    reads or without a write whose value nobody saw: what is left is a counterexample of its own.
    """
    ends = sorted({span.end for span in spans if span.must})
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if _fails(_until(spans, ends[middle])):
            high = middle
        else:
            low = middle + 1
    few = _until(spans, ends[high])
    tries = SHRINKS_MAX
    size = max(1, len(few) // 2)
    while tries > 0:
        spare = [span for span in few if _spare(span, few)]
        before = len(few)
        for at in range(0, len(spare), size):
            leave = {id(span) for span in spare[at : at + size]}
            fewer = [span for span in few if id(span) not in leave]
            tries -= 1
            if _fails(fewer):
                few = fewer
            if tries <= 0:
                break
        if size == 1 and len(few) == before:
            break
        size = max(1, size // 2)
    return few, search(few, _SHRINK_CONFIGURATIONS_MAX)


def _until(spans: Sequence[Span], end: float) -> list[Span]:
    """The history up to one completion: what was open then has no outcome yet."""
    cut: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if span.start > end:
            break
        if span.end <= end:
            cut.append(span)
        elif span.call.f != READ:
            cut.append(
                replace(span, end=float("inf"), must=False, call=replace(span.call, known=False))
            )
    return cut


def _spare(span: Span, among: Sequence[Span]) -> bool:
    """Whether an operation may be left out without making a good history bad."""
    if span.call.f == READ:
        return True
    value = span.call.value
    return not any(
        value == (other.call.value if other.call.f == READ else other.call.expected)
        for other in among
        if other is not span and other.call.f in {READ, CAS}
    )


def _fails(spans: Sequence[Span]) -> bool:
    return search(spans, _SHRINK_CONFIGURATIONS_MAX).possible is False


def _short(span: Span) -> str:
    call = span.call
    if call.f == READ:
        return f"read {call.value}"
    if call.f == CAS:
        return f"cas {call.expected} to {call.value}"
    return f"write {call.value}"


def _told(span: Span) -> str:
    until = f"{span.end:g}" if span.end != float("inf") else "?"
    return f"lines {span.start:g}-{until}: {_short(span)}" + ("" if span.must else " (unknown)")
