"""Counters that every process increments by compare-and-set: each number is made exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from jepsen_lite.checkers import Checker, availability, exactly_once
from jepsen_lite.checkers.exactly_once import INCREMENT
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.client import Outcome
from jepsen_lite.cluster import Node
from jepsen_lite.history import FAIL, OK
from jepsen_lite.worker import Worker
from jepsen_lite.workloads.register import read

_KEYS = 3
_ATTEMPTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Counter:
    """Increments and reads."""

    needs: frozenset[str] = field(default_factory=frozenset)
    checkers: Mapping[str, Checker] = field(
        default_factory=lambda: {
            exactly_once.NAME: exactly_once.check,
            availability.NAME: availability.check,
        }
    )

    def work(self, worker: Worker) -> Iterator[bool]:
        while not worker.over.is_set():
            node, key = worker.any_node(), f"counter/{worker.rng.randrange(_KEYS)}"
            if worker.rng.random() < 0.2:
                mode = worker.rng.choice(["consistent", "default"])
                yield read(worker, node, key, mode).type == OK
                continue
            outcome = worker.do(
                node,
                partial(_increment, worker, node, key),
                f=INCREMENT,
                key=key,
            )
            yield outcome.type == OK

    def finish(self, worker: Worker) -> None:
        for number in range(_KEYS):
            key = f"counter/{number}"
            worker.until_ok(partial(_last_read, worker, key))


def _last_read(worker: Worker, key: str, node: Node) -> Outcome:
    return read(worker, node, key, FINAL)


def _increment(worker: Worker, node: Node, key: str) -> Outcome:
    """Read and set until nobody comes between; only the last attempt can have an unknown end."""
    client = worker.cluster.client(node, timeout_s=worker.timeout_s)
    outcome = Outcome(type=FAIL, error="not tried")
    for _ in range(_ATTEMPTS_MAX):
        before = client.read(key)
        if before.type != OK:
            return before
        made = int(str(before.value or 0)) + 1
        outcome = client.compare_and_set(key, before.modify_index, str(made))
        if outcome.type == OK:
            return Outcome(type=OK, value=made)
        if outcome.type != FAIL:
            return outcome
    return outcome
