"""When faults come: drawn from the seed, the same for every run of that seed.

Each client process has dice of its own as well (worker.py), so that what it does next does not
depend on how fast others are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

WRITE, READ, CAS = "write", "read", "cas"


def dice(seed: int, process: str) -> random.Random:
    """The dice of one process of a run."""
    return random.Random(f"{seed}/{process}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a run: quiet for ``pause_s``, then broken for ``hold_s``."""

    pause_s: float
    hold_s: float
    dice: int


def faults(seed: int, *, pause_s: float, hold_s: float) -> Iterator[Fault]:
    """Endless faults; times vary by half around the given ones."""
    rng = dice(seed, "nemesis")
    while True:
        yield Fault(
            pause_s * rng.uniform(0.5, 1.5), hold_s * rng.uniform(0.5, 1.5), rng.randrange(1 << 32)
        )
