"""Some processes write increasing numbers, the others watch them with blocking queries."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from jepsen_lite.checkers import Checker, availability, watching
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.checkers.watching import WATCH
from jepsen_lite.client import BLOCKING, Entry, Outcome, WatchClient
from jepsen_lite.cluster import Node
from jepsen_lite.generator import WRITE
from jepsen_lite.history import OK, Json
from jepsen_lite.worker import Worker

_PREFIX = "watch/"
_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Watch:
    """Odd processes write a key of their own, even ones watch all keys."""

    needs: frozenset[str] = frozenset({BLOCKING})
    checkers: Mapping[str, Checker] = field(
        default_factory=lambda: {
            watching.NAME: watching.check,
            availability.NAME: availability.check,
        }
    )

    def work(self, worker: Worker) -> Iterator[bool]:
        if worker.number % 2:
            return self._write(worker)
        return self._watch(worker)

    def _write(self, worker: Worker) -> Iterator[bool]:
        """A number is given up after its outcome is unknown; the next one is higher."""
        number, key = 0, str(worker.number)
        while not worker.over.is_set():
            number += 1
            node = worker.any_node()
            client = worker.cluster.client(node, timeout_s=worker.timeout_s)
            outcome = worker.do(
                node,
                partial(client.write, _PREFIX + key, str(number)),
                f=WRITE,
                key=key,
                value=number,
            )
            worker.over.wait(0.02)
            yield outcome.type == OK

    def _watch(self, worker: Worker) -> Iterator[bool]:
        index = 0
        while not worker.over.is_set():
            outcome = _look(worker, worker.any_node(), index, "", _WAIT_S)
            if outcome.type == OK:
                index = outcome.modify_index
            yield outcome.type == OK

    def finish(self, worker: Worker) -> None:
        """Every watcher looks once more."""
        watchers = [f"p{number}" for number in range(worker.total) if number % 2 == 0]
        own = worker.name
        time.sleep(0.5)
        for name in watchers:
            worker.name = name
            worker.until_ok(lambda node: _look(worker, node, 0, FINAL, _WAIT_S))
        worker.name = own


def _look(worker: Worker, node: Node, index: int, mode: str, wait_s: float) -> Outcome:
    client = cast(WatchClient, worker.cluster.client(node, timeout_s=worker.timeout_s))

    def attempt() -> Outcome:
        outcome, entries = client.watch_tree(_PREFIX, index, wait_s)
        if outcome.type != OK:
            return outcome
        return Outcome(type=OK, value=_numbers(entries), modify_index=outcome.modify_index)

    return worker.do(node, attempt, f=WATCH, mode=mode)


def _numbers(entries: Mapping[str, Entry]) -> dict[str, Json]:
    return {key.removeprefix(_PREFIX): int(entry.value) for key, entry in entries.items()}
