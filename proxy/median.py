"""The middle of some numbers.

``statistics`` has it too, and brings decimal and rational numbers with it: 1 MB in each sidecar.
"""

from __future__ import annotations

from collections.abc import Iterable


def median(values: Iterable[float]) -> float:
    """The value in the middle, or the mean of the two that are. There is at least one."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    assert ordered, "no median of nothing"
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
