"""A set: every element is a key of its own, lists show them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from jepsen_lite.checkers import Checker, availability, complete_set
from jepsen_lite.checkers.complete_set import ADD, LIST
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.client import Outcome
from jepsen_lite.cluster import Node
from jepsen_lite.history import OK
from jepsen_lite.worker import Worker

_PREFIX = "set/"
#: One list for so many adds: lists grow with the run.
_ADDS_PER_LIST = 15


@dataclass(frozen=True, slots=True)
class Set:
    """Adds and lists."""

    needs: frozenset[str] = field(default_factory=frozenset)
    checkers: Mapping[str, Checker] = field(
        default_factory=lambda: {
            complete_set.NAME: complete_set.check,
            availability.NAME: availability.check,
        }
    )

    def work(self, worker: Worker) -> Iterator[bool]:
        while not worker.over.is_set():
            node = worker.any_node()
            client = worker.cluster.client(node, timeout_s=worker.timeout_s)
            if worker.rng.randrange(_ADDS_PER_LIST) == 0:
                mode = worker.rng.choice(["consistent", "default"])
                yield _list(worker, node, mode).type == OK
                continue
            element = worker.unique()
            outcome = worker.do(
                node,
                partial(client.write, _PREFIX + element, "1"),
                f=ADD,
                value=element,
            )
            yield outcome.type == OK

    def finish(self, worker: Worker) -> None:
        worker.until_ok(lambda node: _list(worker, node, FINAL))


def _list(worker: Worker, node: Node, mode: str) -> Outcome:
    return worker.do(node, lambda: _listed(worker, node, mode), f=LIST, mode=mode)


def _listed(worker: Worker, node: Node, mode: str) -> Outcome:
    client = worker.cluster.client(node, timeout_s=worker.timeout_s)
    outcome, entries = client.read_tree(_PREFIX, "consistent" if mode == FINAL else mode)
    if outcome.type != OK:
        return outcome
    return Outcome(type=OK, value=[key.removeprefix(_PREFIX) for key in sorted(entries)])
