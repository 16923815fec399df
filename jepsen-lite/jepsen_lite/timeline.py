"""A run as one HTML file that needs nothing else: who did what when, and what was broken then."""

from __future__ import annotations

import html
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict
from jepsen_lite.history import NEMESIS, Op, Operation, pair

#: More operations than this are not drawn: browsers have their limits too. The ones that verdicts
#: name come first.
DRAWN_MAX = 4000
_SCALE = 60  # pixels for a second
_ROW = 18
_LEFT = 70
_COLOURS = {"ok": "#4a8", "fail": "#aaa", "info": "#e90"}


def as_html(title: str, ops: Sequence[Op], verdicts: Sequence[Verdict]) -> str:
    """The page: verdicts, then a row for each process and bands for faults."""
    operations = pair(ops)
    named = _named(verdicts)
    shown = sorted(operations, key=lambda each: each.start not in named)[:DRAWN_MAX]
    processes = sorted({each.invocation.process for each in operations}, key=_order)
    rows = {process: number for number, process in enumerate(processes, start=1)}
    last = max((op.at for op in ops), default=0.0)
    height = _ROW * (len(rows) + 2)
    parts = [
        "<!doctype html><meta charset=utf-8>",
        f"<title>{html.escape(title)}</title>",
        "<style>body{font:13px sans-serif}svg{background:#fafafa}pre{white-space:pre-wrap}</style>",
        f"<h1>{html.escape(title)}</h1>",
        *map(_verdict, verdicts),
        f"<p>{len(operations)} operations, {len(shown)} drawn. Green happened, grey did not, "
        "orange: nobody knows. Red: named by a verdict. Point at one to read it.</p>",
        f'<div style="overflow-x:auto"><svg width="{_LEFT + (last + 1) * _SCALE:.0f}" '
        f'height="{height}" font-size="11">',
        *_bands(ops, height, last),
        *(
            f'<text x="2" y="{_ROW * row + 13}">{html.escape(name)}</text>'
            for name, row in rows.items()
        ),
        *(_bar(each, rows[each.invocation.process], last, each.start in named) for each in shown),
        "</svg></div>",
    ]
    return "\n".join(parts) + "\n"


def _order(process: str) -> tuple[int, str]:
    return len(process), process


def _named(verdicts: Sequence[Verdict]) -> set[int]:
    """The lines of the history that verdicts speak of."""
    words = " ".join(problem for verdict in verdicts for problem in verdict.problems)
    words = words.replace(",", " ").replace(":", " ").replace("-", " ").replace(")", " ")
    return {int(word) for word in words.split() if word.isdigit()} if words else set()


def _verdict(verdict: Verdict) -> str:
    problems = html.escape("\n".join(verdict.problems))
    return (
        f"<h2>{html.escape(verdict.name)}: {verdict.validity.value} "
        f"({verdict.checked} checked)</h2>" + (f"<pre>{problems}</pre>" if problems else "")
    )


def _bands(ops: Sequence[Op], height: int, last: float) -> list[str]:
    """A band from each fault to its healing, with what was done."""
    bands: list[str] = []
    since: tuple[float, str] | None = None
    for op in [*(op for op in ops if op.process == NEMESIS), None]:
        if op is not None and op.f == "inject":
            since = since or (op.at, str(op.value))
        elif since is not None:
            until = op.at if op is not None else last
            left, width = _LEFT + since[0] * _SCALE, max(2.0, (until - since[0]) * _SCALE)
            bands.append(
                f'<rect x="{left:.1f}" y="0" width="{width:.1f}" height="{height}" fill="#fdd"/>'
                f'<text x="{left + 3:.1f}" y="12">{html.escape(since[1])}</text>'
            )
            since = None
    return bands


def _bar(operation: Operation, row: int, last: float, named: bool) -> str:
    invocation, completion = operation.invocation, operation.completion
    end = completion.at if completion is not None else last
    left, width = _LEFT + invocation.at * _SCALE, max(1.5, (end - invocation.at) * _SCALE)
    colour = "#c22" if named else _COLOURS[operation.outcome]
    value = completion.value if completion is not None else invocation.value
    text = (
        f"line {operation.start}: {invocation.f} {invocation.key} {value} {invocation.mode} "
        f"at {invocation.node}: {operation.outcome} {completion.error if completion else ''}"
    )
    return (
        f'<rect x="{left:.1f}" y="{_ROW * row + 3}" width="{width:.1f}" height="{_ROW - 5}" '
        f'fill="{colour}"><title>{html.escape(text[:400])}</title></rect>'
    )
