"""Transactions that read lists and append to them, over a few hot keys.

The lists are values; a transaction reads all of them at one moment, then changes the keys it
appends to if nothing that it read has changed since.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jepsen_lite.checkers import Checker, availability, serializable
from jepsen_lite.checkers.transactions import APPEND_STEP, READ_STEP, TXN
from jepsen_lite.client import TXN as TXN_OFFER
from jepsen_lite.client import Entry, Outcome
from jepsen_lite.cluster import Node
from jepsen_lite.history import OK, Json
from jepsen_lite.worker import Worker

_PREFIX = "append/"
_KEYS = 6
#: A list that has this many values is left alone; a new key takes its place.
_VALUES_MAX = 60


@dataclass(frozen=True, slots=True)
class Append:
    """List-append transactions."""

    needs: frozenset[str] = frozenset({TXN_OFFER})
    checkers: Mapping[str, Checker] = field(
        default_factory=lambda: {
            serializable.NAME: serializable.check,
            availability.NAME: availability.check,
        }
    )

    def work(self, worker: Worker) -> Iterator[bool]:
        generation = 0
        while not worker.over.is_set():
            keys = [f"{generation}-{number}" for number in range(_KEYS)]
            steps: list[Json] = []
            for _ in range(worker.rng.randint(1, 4)):
                key = worker.rng.choice(keys)
                append = worker.rng.random() < 0.6
                steps.append(
                    [APPEND_STEP, key, worker.unique()] if append else [READ_STEP, key, None]
                )
            outcome = _transact(worker, worker.any_node(), steps)
            if _longest(outcome.value) >= _VALUES_MAX:
                generation += 1
            yield outcome.type == OK

    def finish(self, worker: Worker) -> None:
        """One transaction that reads every list there is."""
        entries = _all(worker)
        keys = sorted(key.removeprefix(_PREFIX) for key in entries)
        steps: list[Json] = [[READ_STEP, key, None] for key in keys]
        worker.until_ok(lambda node: _transact(worker, node, steps))


def _all(worker: Worker) -> dict[str, Entry]:
    """All lists, not as part of the history: the final transaction reads them again."""
    found: dict[str, Entry] = {}

    def attempt(node: Node) -> Outcome:
        outcome, entries = worker.cluster.client(node).read_tree(_PREFIX)
        found.update(entries)
        return outcome

    worker.until_ok(attempt)
    return found


def _transact(worker: Worker, node: Node, steps: list[Json]) -> Outcome:
    return worker.do(node, lambda: _attempt(worker, node, steps), f=TXN, value=steps)


def _attempt(worker: Worker, node: Node, steps: list[Json]) -> Outcome:
    """Read, apply the steps to what was read, write. Before the write nothing has happened."""
    client = worker.cluster.client(node, timeout_s=worker.timeout_s)
    outcome, entries = client.read_tree(_PREFIX)
    if outcome.type != OK:
        return outcome
    lists: dict[str, list[Json]] = {}
    touched: dict[str, int] = {}
    changed: set[str] = set()
    done: list[Json] = []
    for step in steps:
        assert isinstance(step, list)
        kind, key = str(step[0]), str(step[1])
        entry = entries.get(_PREFIX + key)
        if key not in lists:
            lists[key] = json.loads(entry.value) if entry else []
            touched[_PREFIX + key] = entry.modify_index if entry else 0
        if kind == APPEND_STEP:
            lists[key] = [*lists[key], step[2]]
            changed.add(key)
            done.append(step)
        else:
            done.append([kind, key, lists[key]])
    if not changed:
        return Outcome(type=OK, value=done)
    changes = {
        _PREFIX + key: (touched[_PREFIX + key], json.dumps(lists[key])) for key in sorted(changed)
    }
    unchanged = {key: index for key, index in touched.items() if key not in changes}
    committed = client.commit(unchanged, changes)
    return Outcome(type=committed.type, value=done, error=committed.error)


def _longest(value: Json) -> int:
    steps = value if isinstance(value, list) else []
    return max(
        (
            len(step[2])
            for step in steps
            if isinstance(step, list) and len(step) == 3 and isinstance(step[2], list)
        ),
        default=0,
    )
