"""A verdict as text for people."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict
from jepsen_lite.checkers.compose import worst
from jepsen_lite.history import INVOKE, NEMESIS, Op, pair


def as_text(title: str, ops: Sequence[Op], verdicts: Sequence[Verdict]) -> str:
    """The result of a run: counts of outcomes, the faults, the verdicts, the worst one last."""
    lines = [title, ""]
    counts = Counter((pair_.invocation.f, pair_.outcome) for pair_ in pair(ops))
    lines.append("operations")
    for kind in sorted({kind for kind, _ in counts}):
        row = "  ".join(f"{outcome} {counts[kind, outcome]}" for outcome in ("ok", "fail", "info"))
        lines.append(f"  {kind:<8} {row}")
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
    """The longest span between two acknowledged changes: how long writers were shut out."""
    times = [
        pair_.completion.at
        for pair_ in pair(ops)
        if pair_.outcome == "ok" and pair_.invocation.f != "read" and pair_.completion
    ]
    times.sort()
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)
