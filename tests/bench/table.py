"""How figures are taken and printed: floor and work one after the other, the median of some rounds.

Other work on the machine comes and goes, so a floor is only worth something beside the figure that
was taken in the same seconds. Every round measures both; what is printed is the median of each and
the median of the rounds' ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.bench.load import Rate

Measure = Callable[[], Rate]


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often and how long everything is measured."""

    count: int
    seconds: float


def head() -> None:
    """The table's first lines."""
    print(f"| {'work':42} |  per s    |  p50 ms |  p99 ms | ratio  | note")
    print(f"|{'-' * 44}|-----------|---------|---------|--------|-----", flush=True)


def row(name: str, rates: list[Rate], ratio: float | None = None, note: str = "") -> None:
    """One line: the medians of these rounds."""
    shown = f"{ratio:6.2f}" if ratio is not None else "      "
    errors = sum(rate.errors for rate in rates)
    failed = f" errors={errors}" if errors else ""
    print(
        f"| {name:42} | {median(r.per_second for r in rates):9.0f} "
        f"| {median(r.p50_ms for r in rates):7.2f} | {median(r.p99_ms for r in rates):7.2f} "
        f"| {shown} | {note}{failed}",
        flush=True,
    )


def paired(rounds: Rounds, floor: Measure, works: dict[str, Measure]) -> None:
    """Measure each work beside the floor, round by round, and print a line for each."""
    floors: list[Rate] = []
    for name, work in works.items():
        taken: list[tuple[Rate, Rate]] = []
        for _ in range(rounds.count):
            taken.append((floor(), work()))
        floors += [low for low, _ in taken]
        ratio = median(rate.per_second / low.per_second for low, rate in taken)
        row(name, [rate for _, rate in taken], ratio)
    row("(the floor beside them)", floors)


def alone(rounds: Rounds, works: dict[str, Measure], note: str = "") -> None:
    """Measure what has no floor of its own; print each process's time per operation if known."""
    for name, work in works.items():
        rates = [work() for _ in range(rounds.count)]
        used = [rate.cpu_us for rate in rates if rate.cpu_us]
        cpu = " + ".join(f"{median(each):.0f}" for each in zip(*used, strict=True))
        row(name, rates, None, f"{cpu} us of cpu (leader + others)" if used else note)
