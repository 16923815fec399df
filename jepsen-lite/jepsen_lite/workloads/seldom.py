"""Readers that ask seldom, on connections that they keep, while few writers change what they read.

Whoever asks all the time has, when a server freezes, a request under way that began before anything
changed, and learns nothing. Who asks now and then asks in the middle of it, and the question is
read first thing when the server wakes: if that server led and does not ask anybody whether it still
does, the answer is old, though default reads are to be linearizable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import cast

from jepsen_lite.checkers import Checker, availability, linearizable
from jepsen_lite.client import KEEPING, Client, KeepingClient, Outcome
from jepsen_lite.cluster import Node
from jepsen_lite.generator import READ, WRITE
from jepsen_lite.history import OK
from jepsen_lite.worker import Worker

_KEYS = 4
_WRITERS = 3
#: Between two questions of a reader: longer than a freeze, so that some come late in it.
_THINKS_S = 10.0
#: Writers leave time for others: a reader learns no more from more of them.
_WRITES_EACH_S = 0.1
#: Longer than a server is frozen.
_PATIENCE_S = 15.0


class Seldom:
    """The first of the clients write, the others read, each at one node."""

    needs: frozenset[str] = frozenset({KEEPING})
    checkers: Mapping[str, Checker] = {
        linearizable.NAME: linearizable.check,
        availability.NAME: availability.check,
    }

    def work(self, worker: Worker) -> Iterator[bool]:
        yield from _write(worker) if worker.number < _WRITERS else _read(worker)

    def finish(self, worker: Worker) -> None:
        for number in range(_KEYS):
            worker.until_ok(partial(_last_read, worker, _key(number)))


def _key(number: int) -> str:
    return f"seldom/{number}"


def _write(worker: Worker) -> Iterator[bool]:
    while not worker.over.is_set():
        node, value = worker.any_node(), worker.unique()
        key = _key(worker.rng.randrange(_KEYS))
        client = worker.cluster.client(node, timeout_s=worker.timeout_s)
        outcome = worker.do(node, partial(client.write, key, value), f=WRITE, key=key, value=value)
        yield outcome.type == OK
        worker.over.wait(_WRITES_EACH_S)


def _read(worker: Worker) -> Iterator[bool]:
    node = worker.cluster.nodes[worker.number % len(worker.cluster.nodes)]
    client = cast(KeepingClient, worker.cluster.client(node, timeout_s=_PATIENCE_S)).keeping()
    try:
        while not worker.over.is_set():
            key = _key(worker.rng.randrange(_KEYS))
            yield _ask(worker, client, node, key, "default").type == OK
            worker.over.wait(worker.rng.uniform(0.0, _THINKS_S))
    finally:
        client.close()


def _last_read(worker: Worker, key: str, node: Node) -> Outcome:
    client = worker.cluster.client(node, timeout_s=worker.timeout_s)
    return _ask(worker, client, node, key, "consistent")


def _ask(worker: Worker, client: Client, node: Node, key: str, mode: str) -> Outcome:
    return worker.do(node, partial(client.read, key, mode), f=READ, key=key, mode=mode)
