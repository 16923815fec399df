"""Which operations a run makes: drawn from the seed, the same for every run of that seed.

Each process has dice of its own, so that its operations do not depend on how fast others are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

WRITE, READ, CAS = "write", "read", "cas"


@dataclass(frozen=True, slots=True)
class Action:
    """An operation that a process is about to make, and the node it is sent to (a number that is
    taken modulo the size of the cluster)."""

    f: str
    key: str
    value: str | None
    node: int


def actions(seed: int, process: str, *, keys: int, shares: Mapping[str, int]) -> Iterator[Action]:
    """Endless actions of one process. ``shares`` are weights of the kinds; every written value is
    unique in the run."""
    rng = random.Random(f"{seed}/{process}")
    kinds, weights = list(shares), list(shares.values())
    number = 0
    while True:
        kind = rng.choices(kinds, weights)[0]
        key = f"k{rng.randrange(keys)}"
        node = rng.randrange(1 << 16)
        value = None
        if kind != READ:
            number += 1
            value = f"{process}-{number}"
        yield Action(kind, key, value, node)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a run: quiet for ``pause_s``, then broken for ``hold_s``."""

    pause_s: float
    hold_s: float
    dice: int


def faults(seed: int, *, pause_s: float, hold_s: float) -> Iterator[Fault]:
    """Endless faults; times vary by half around the given ones."""
    rng = random.Random(f"{seed}/nemesis")
    while True:
        yield Fault(
            pause_s * rng.uniform(0.5, 1.5), hold_s * rng.uniform(0.5, 1.5), rng.randrange(1 << 32)
        )
