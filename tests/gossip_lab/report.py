"""Figures out of observations: quantiles, ratios with their uncertainty, tables."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], fraction: float) -> float:
    """The smallest value that at least this fraction does not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def poisson_upper(count: int) -> float:
    """95 % upper bound of the mean when ``count`` events were seen; 3 when none (the rule of 3)."""
    if count == 0:
        return 3.0
    return count + 1.645 * math.sqrt(count) + 1.0


def fewer(before: int, after: int) -> str:
    """How many times fewer; of nothing left, only a bound can be stated."""
    if before == 0:
        return "-"
    if after == 0:
        return f"> {before / 3:.0f}"
    return f"{before / after:.0f}" if before / after >= 10 else f"{before / after:.1f}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def write(folder):
    return ""
