"""Metrics as values: families of samples and of histograms, and their text (D.14). Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, ...], float]
#: Shows labels, with those that every metric of a proxy has.
Shown = Callable[[Labels], str]

PREFIX = "lictor_proxy_"
#: Upper ends in seconds: of requests and handshakes, and of connections, which may live for days.
BUCKETS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
LIVES_S = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)


class Histogram:
    """Counts of seconds by size."""

    __slots__ = ("bounds", "counts", "total", "total_s")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """One more that took so long."""
        self.total += 1
        self.total_s += seconds
        self.counts[bisect_left(self.bounds, seconds)] += 1


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``kind`` is counter or gauge; ``labels`` are its labels' names.

    ``zeros`` stand there from the start; without any sample and zero, one with empty labels does.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    samples: Samples
    zeros: tuple[tuple[str, ...], ...] = ()

    def lines(self) -> Iterator[tuple[Labels, float]]:
        """Each sample."""
        known: Samples = dict.fromkeys(self.zeros, 0.0) | self.samples
        known = known or {("",) * len(self.labels): 0.0}
        for values, number in sorted(known.items()):
            yield tuple(zip(self.labels, values, strict=True)), number

    def text(self, shown: Shown) -> Iterator[str]:
        """As Prometheus reads it."""
        yield f"# TYPE {PREFIX}{self.name} {self.kind}\n"
        for labels, number in self.lines():
            yield f"{PREFIX}{self.name}{shown(labels)} {number:.15g}\n"


@dataclass(frozen=True, slots=True)
class Histograms:
    """One metric of times, by labels."""

    name: str
    held: Mapping[Labels, Histogram]
    zeros: Mapping[Labels, Histogram] = field(default_factory=dict)

    def text(self, shown: Shown) -> Iterator[str]:
        """As Prometheus reads it."""
        name = PREFIX + self.name
        yield f"# TYPE {name} histogram\n"
        for labels, histogram in sorted((self.held or self.zeros).items()):
            below = 0
            for most, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
                below += count
                bucket = (*labels, ("le", "+Inf" if most is None else f"{most:g}"))
                yield f"{name}_bucket{shown(bucket)} {below}\n"
            yield f"{name}_sum{shown(labels)} {histogram.total_s:.9g}\n"
            yield f"{name}_count{shown(labels)} {histogram.total}\n"


@dataclass(frozen=True, slots=True)
class LabelledCounts:
    """A counter whose samples have different labels."""

    name: str
    held: Mapping[Labels, int]

    def text(self, shown: Shown) -> Iterator[str]:
        """As Prometheus reads it."""
        yield f"# TYPE {PREFIX}{self.name} counter\n"
        for labels, count in sorted(self.held.items()):
            yield f"{PREFIX}{self.name}{shown(labels)} {count}\n"


def quoted(value: str) -> str:
    """A label's value as the text format wants it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
