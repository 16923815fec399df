"""Counts by size, in the shape that Prometheus wants."""

from __future__ import annotations

from bisect import bisect_left


class Histogram:
    """How many observations lay in which bucket. ``bounds`` are upper ends, ascending."""

    __slots__ = ("bounds", "counts", "highest", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.highest = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        if value > self.highest:
            self.highest = value

    @property
    def count(self) -> int:
        """Observations so far."""
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """(upper end as text, observations up to it), with "+Inf" as the last."""
        found: list[tuple[str, float]] = []
        so_far = 0
        for bound, count in zip((*self.bounds, None), self.counts, strict=True):
            so_far += count
            found.append(("+Inf" if bound is None else str(bound), so_far))
        return found
