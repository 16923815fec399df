"""A matrix of runs and its table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jepsen_lite.checkers import Validity
from jepsen_lite.checkers.compose import RANK, worst
from jepsen_lite.cluster import ClusterError, NoStartError
from jepsen_lite.history import pair
from jepsen_lite.network import NetworkError
from jepsen_lite.report import longest_gap_s
from jepsen_lite.run import CannotRunError, Options, Result, run
from jepsen_lite.targets import TargetError

#: What is run without a choice: each kind of promise under each kind of fault.
WORKLOADS = ("modes", "append", "set", "counter", "lock")
NEMESES = (
    "kill-all",
    "kill-leader",
    "pause-leader",
    "isolate-leader",
    "halves",
    "one-way",
    "loss",
    "power-loss",
    "sync-hang",
    "rolling",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of a matrix. Without a verdict it could not be made, and ``note`` says why."""

    options: Options
    validity: Validity | None
    operations: int = 0
    took_s: float = 0.0
    gap_s: float = 0.0
    note: str = ""


def one(options: Options, told: Callable[[Options, Result], str]) -> Row:
    """Carry out one run; ``told`` writes its report."""
    began = time.monotonic()
    try:
        result = run(options)
    except (ClusterError, NetworkError, TargetError, CannotRunError) as error:
        # a cluster that does not heal is a finding; what the machine lacks is none
        broken = isinstance(error, ClusterError) and not isinstance(error, NoStartError)
        validity = Validity.INVALID if broken else None
        took_s = time.monotonic() - began
        return Row(options=options, validity=validity, took_s=took_s, note=str(error))
    told(options, result)
    problems = [problem for verdict in result.verdicts for problem in verdict.problems]
    return Row(
        options=options,
        validity=worst(result.verdicts),
        operations=len(pair(result.ops)),
        took_s=time.monotonic() - began,
        gap_s=longest_gap_s(result.ops),
        note=problems[0].splitlines()[0] if problems else "",
    )


def worst_of(rows: Sequence[Row]) -> Validity:
    """The worst verdict; runs that could not be made say nothing."""
    known = [row.validity for row in rows if row.validity is not None]
    return max(known, key=RANK.index) if known else Validity.UNKNOWN


def as_line(row: Row) -> str:
    """One row for people who wait."""
    verdict = row.validity.value if row.validity else "not run"
    return (
        f"{row.options.workload:<10} {','.join(row.options.nemesis):<16} {verdict:<8} "
        f"{row.operations:>7} operations  {row.took_s:6.1f} s  {row.note}\n"
    )


def as_table(rows: Sequence[Row]) -> str:
    """The matrix as a table in Markdown."""
    lines = [
        "| target | workload | nemesis | verdict | operations | longest gap s | took s | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = row.validity.value if row.validity else "not run"
        lines.append(
            f"| {row.options.target.name} | {row.options.workload} "
            f"| {','.join(row.options.nemesis)} | {verdict} | {row.operations} "
            f"| {row.gap_s:.1f} | {row.took_s:.0f} | {row.note} |"
        )
    return "\n".join(lines) + "\n"
