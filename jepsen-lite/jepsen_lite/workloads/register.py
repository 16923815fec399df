"""Registers: unique values are written to some keys and read, or set in place of what was read.

Consistent and default reads must be linearizable; stale ones may be as old as they say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from jepsen_lite.checkers import (
    Checker,
    availability,
    linearizable,
    lost_writes,
    monotonic,
    staleness,
)
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.client import Outcome
from jepsen_lite.cluster import Node
from jepsen_lite.generator import CAS, READ, WRITE
from jepsen_lite.history import OK
from jepsen_lite.worker import Worker

_STRICT: dict[str, Checker] = {
    lost_writes.NAME: lost_writes.check,
    monotonic.NAME: monotonic.check,
    linearizable.NAME: linearizable.check,
    availability.NAME: availability.check,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """``shares`` are the weights of the kinds of operations, ``modes`` those of reads."""

    keys: int
    shares: Mapping[str, int]
    modes: Mapping[str, int]
    checkers: Mapping[str, Checker]
    needs: frozenset[str] = field(default_factory=frozenset)

    def work(self, worker: Worker) -> Iterator[bool]:
        while not worker.over.is_set():
            (kind,) = worker.rng.choices(list(self.shares), list(self.shares.values()))
            (mode,) = worker.rng.choices(list(self.modes), list(self.modes.values()))
            key = f"register/{worker.rng.randrange(self.keys)}"
            node = worker.any_node()
            if kind == READ:
                outcome = read(worker, node, key, mode)
            elif kind == WRITE:
                outcome = _write(worker, node, key)
            else:
                outcome = _compare_and_set(worker, node, key)
            yield outcome.type == OK

    def finish(self, worker: Worker) -> None:
        for number in range(self.keys):
            key = f"register/{number}"
            worker.until_ok(partial(_last_read, worker, key))


def read(worker: Worker, node: Node, key: str, mode: str) -> Outcome:
    """Read a key; mode "final" is a consistent read."""
    client = worker.cluster.client(node, timeout_s=worker.timeout_s)
    asked = "consistent" if mode == FINAL else mode
    return worker.do(node, lambda: client.read(key, asked), f=READ, key=key, mode=mode)


def _last_read(worker: Worker, key: str, node: Node) -> Outcome:
    return read(worker, node, key, FINAL)


def _write(worker: Worker, node: Node, key: str) -> Outcome:
    client = worker.cluster.client(node, timeout_s=worker.timeout_s)
    value = worker.unique()
    return worker.do(node, lambda: client.write(key, value), f=WRITE, key=key, value=value)


def _compare_and_set(worker: Worker, node: Node, key: str) -> Outcome:
    """Values are unique, so an unchanged modify index means an unchanged value."""
    before = read(worker, node, key, "consistent")
    value = worker.unique()
    if before.type != OK:
        return before
    client = worker.cluster.client(node, timeout_s=worker.timeout_s)
    return worker.do(
        node,
        lambda: client.compare_and_set(key, before.modify_index, value),
        f=CAS,
        key=key,
        value=value,
        expected=before.value,
    )


REGISTER = Register(
    keys=20, shares={WRITE: 3, READ: 2, CAS: 1}, modes={"consistent": 1}, checkers=_STRICT
)
CAS_ONLY = Register(
    keys=5, shares={CAS: 2, READ: 1}, modes={"consistent": 1, "default": 1}, checkers=_STRICT
)
#: Every mode of reading against its own promise.
MODES = Register(
    keys=8,
    shares={WRITE: 1, READ: 3},
    modes={"consistent": 1, "default": 2, "stale": 2},
    checkers=_STRICT | {staleness.NAME: staleness.check},
)
