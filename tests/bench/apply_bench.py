"""What applying one write costs among ten keys and among a million.

``python -m tests.bench.apply_bench [keys ...]``: the state machine alone, without log, disk or
wire. Each figure is the best of some rounds, which is what the work costs when nobody else has the
processor. Where keys are written all over a large table hardly anything is in a cache; where it is
always one of ten, what is left is the number of steps.
"""

from __future__ import annotations

import gc
import itertools
import random
import sys
import time
from collections.abc import Iterator

from raftstore.commands import Applied, KVSet, kv_set, request_id
from raftstore.records import KVPair
from raftstore.state import StateMachine

SIZES = (10, 1_000, 100_000, 1_000_000)
ROUNDS, WRITES = 12, 2_000
FEW = 10
#: Writes before the first that counts: the journal of changes is full then, and forgets with each.
WARM_WRITES = 40_000


def filled(keys: int) -> StateMachine:
    """A state with so many keys, as it comes from a snapshot."""
    state = StateMachine()
    for number in range(keys):
        name, value = key_of(number), b"v" * 100
        state.kv.load(KVPair(key=name, value=value, create_index=1, modify_index=1))
    return state


def key_of(number: int) -> str:
    """Keys in a thousand folders."""
    return f"app/{number % 1000}/{number}"


def commands(keys: int, count: int, rng: random.Random) -> list[KVSet]:
    """Writes all over the keys, each with a value of its own."""
    return [kv_set(key_of(rng.randrange(keys)), rng.randbytes(100), 0, None) for _ in range(count)]


def apply_all(state: StateMachine, writes: list[KVSet], indexes: Iterator[int]) -> float:
    """Seconds that it takes to carry them out, one after the other, as entries of the log."""
    began = time.perf_counter()
    for command in writes:
        index = next(indexes)
        outcome = state.begin(index, 1.0, command, request_id("bench", index, index - 64))
        state.touched()
        assert type(outcome) is Applied
    return time.perf_counter() - began


def cost_us(keys: int) -> tuple[float, float]:
    """Microseconds a write takes among so many keys: of any of them, and always of one of ten."""
    rng, indexes = random.Random(keys), itertools.count(100)
    state = filled(keys)
    apply_all(state, commands(keys, WARM_WRITES, rng), indexes)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        any_s, ten_s = (
            min(apply_all(state, commands(among, WRITES, rng), indexes) for _ in range(ROUNDS))
            for among in (keys, FEW)
        )
    finally:
        gc.enable()
        gc.unfreeze()
    return any_s / WRITES * 1e6, ten_s / WRITES * 1e6


def main(sizes: tuple[int, ...] = SIZES) -> None:
    """Print the lines of the table."""
    print(f"\n| {'applying one write of a key':34} | any, us | one of {FEW}, us")
    print(f"|{'-' * 36}|---------|---------------")
    cost_us(FEW)  # whatever is slow at first
    for keys in sizes:
        any_us, ten_us = cost_us(keys)
        print(f"| {f'among {keys} keys':34} | {any_us:7.1f} | {ten_us:7.1f}", flush=True)


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
