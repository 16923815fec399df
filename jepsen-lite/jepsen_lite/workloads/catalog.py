"""Services come and go; HTTP shows exactly which, DNS soon does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from jepsen_lite.checkers import Checker, availability, catalog
from jepsen_lite.checkers.catalog import DEREGISTER, DNS, HTTP, REGISTER
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.client import CATALOG, CatalogClient, Outcome
from jepsen_lite.cluster import Node
from jepsen_lite.history import OK
from jepsen_lite.worker import Worker

_SERVICE = "jepsen"
_INSTANCES = 3
#: After everything is whole, answers may be as old as a server needs to catch up.
_SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Catalog:
    """Each process registers and deregisters instances of its own."""

    needs: frozenset[str] = frozenset({CATALOG})
    checkers: Mapping[str, Checker] = field(
        default_factory=lambda: {
            catalog.NAME: catalog.check,
            availability.NAME: availability.check,
        }
    )

    def work(self, worker: Worker) -> Iterator[bool]:
        while not worker.over.is_set():
            node = worker.any_node()
            roll = worker.rng.random()
            instance = f"i{worker.number}-{worker.rng.randrange(_INSTANCES)}"
            if roll < 0.3:
                mode = worker.rng.choice(["consistent", "default"])
                yield _shown_by_http(worker, node, mode).type == OK
            elif roll < 0.5:
                yield _shown_by_dns(worker, node, "").type == OK
            elif roll < 0.8:
                yield _register(worker, node, instance).type == OK
            else:
                yield _deregister(worker, node, instance).type == OK

    def finish(self, worker: Worker) -> None:
        worker.until_ok(lambda node: _shown_by_http(worker, node, FINAL))
        time.sleep(_SETTLE_S)
        for node in worker.cluster.nodes:
            if not node.away:
                worker.until_ok(partial(_last_answer, worker, node))


def _last_answer(worker: Worker, node: Node, _: Node) -> Outcome:
    return _shown_by_dns(worker, node, FINAL)


def _client(worker: Worker, node: Node) -> CatalogClient:
    return cast(CatalogClient, worker.cluster.client(node, timeout_s=worker.timeout_s))


def _register(worker: Worker, node: Node, instance: str) -> Outcome:
    client = _client(worker, node)
    return worker.do(node, lambda: client.register(_SERVICE, instance), f=REGISTER, key=instance)


def _deregister(worker: Worker, node: Node, instance: str) -> Outcome:
    client = _client(worker, node)
    return worker.do(node, lambda: client.deregister(instance), f=DEREGISTER, key=instance)


def _shown_by_http(worker: Worker, node: Node, mode: str) -> Outcome:
    client = _client(worker, node)
    asked = "consistent" if mode == FINAL else mode
    return worker.do(node, lambda: client.instances(_SERVICE, asked), f=HTTP, mode=mode)


def _shown_by_dns(worker: Worker, node: Node, mode: str) -> Outcome:
    client = _client(worker, node)
    return worker.do(node, lambda: client.instances_by_dns(_SERVICE), f=DNS, mode=mode)
