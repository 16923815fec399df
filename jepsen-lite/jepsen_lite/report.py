"""A verdict as text for people."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict
from jepsen_lite.checkers.compose import worst
from jepsen_lite.generator import READ
from jepsen_lite.history import INVOKE, NEMESIS, OK, Op, Operation, pair

_LOOKS = frozenset({READ, "list", "watch", "http", "dns", "pass"})


def as_text(title: str, ops: Sequence[Op], verdicts: Sequence[Verdict]) -> str:
    """The result of a run: counts of outcomes, the faults, the verdicts, the worst one last."""
    operations = pair(ops)
    lines = [title, ""]
    counts = Counter((each.invocation.f, each.outcome) for each in operations)
    lines.append("operations")
    for kind in sorted({kind for kind, _ in counts}):
        row = "  ".join(f"{outcome} {counts[kind, outcome]}" for outcome in ("ok", "fail", "info"))
        lines.append(f"  {kind:<10} {row}  {_latencies(operations, kind)}")
    faults = [op for op in ops if op.process == NEMESIS and op.type != INVOKE]
    lines += ["", "faults"]
    lines += [f"  {op.at:8.2f} s  {op.f:<7} {op.value or ''}" for op in faults] or ["  none"]
    lines += ["", f"longest time without an acknowledged change: {longest_gap_s(ops):.2f} s"]
    lines += ["", "verdicts"]
    for verdict in verdicts:
        lines.append(
            f"  {verdict.name:<18} {verdict.validity.value:<8} ({verdict.checked} checked)"
        )
        lines += [f"      {problem}" for problem in verdict.problems]
    lines += ["", f"overall: {worst(verdicts).value}"]
    return "\n".join(lines) + "\n"


def longest_gap_s(ops: Sequence[Op]) -> float:
    """The longest span without an acknowledged change: how long writers were shut out."""
    times = [
        each.completion.at
        for each in pair(ops)
        if each.outcome == OK and each.invocation.f not in _LOOKS and each.completion
    ]
    times = [0.0, *sorted(times), max((op.at for op in ops if op.type == INVOKE), default=0.0)]
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def _latencies(operations: Sequence[Operation], kind: str) -> str:
    """Median, 99th percentile and longest time of the acknowledged ones."""
    took = sorted(
        each.completion.at - each.invocation.at
        for each in operations
        if each.invocation.f == kind and each.outcome == OK and each.completion
    )
    if not took:
        return ""
    median, late, longest = took[len(took) // 2], took[int(len(took) * 0.99)], took[-1]
    return f"p50 {median * 1000:.0f} ms  p99 {late * 1000:.0f} ms  max {longest * 1000:.0f} ms"
