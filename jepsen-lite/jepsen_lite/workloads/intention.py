"""Intentions change, and connections through sidecars pass or do not.

On every node two services with sidecars: ``front-N`` has an upstream to ``back-N``, whose
application is the node's own HTTP interface. So nothing but the decision depends on other nodes.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from jepsen_lite.checkers import Checker, availability, intentions
from jepsen_lite.checkers.intentions import INTEND, PASS
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.client import MESH, MeshClient, Outcome
from jepsen_lite.cluster import Node
from jepsen_lite.history import FAIL, OK
from jepsen_lite.worker import FINAL_WAIT_S, Worker

JOIN = "join"
NEW, HELD = "new", "held"
#: Where the sidecar of ``front-N`` listens for its application, on the node's address.
LISTENER_PORT = 20_999
_REQUEST = b"GET /v1/nothing HTTP/1.1\r\nHost: back\r\nContent-Length: 0\r\n\r\n"
_ANSWER_MAX = 4096
_PAUSE_S = 0.05
#: How long a change is left to be looked at.
_LEFT_MIN_S, _LEFT_MAX_S = 0.5, 8.0


@dataclass(frozen=True, slots=True)
class Intention:
    """Even processes change intentions, each those of its own nodes; odd ones connect."""

    needs: frozenset[str] = frozenset({MESH})
    checkers: Mapping[str, Checker] = field(
        default_factory=lambda: {
            intentions.NAME: intentions.check,
            availability.NAME: availability.check,
        }
    )

    def work(self, worker: Worker) -> Iterator[bool]:
        return self._connect(worker) if worker.number % 2 else self._change(worker)

    def _change(self, worker: Worker) -> Iterator[bool]:
        writers = (worker.total + 1) // 2
        own = [
            node
            for node in worker.cluster.nodes
            if node.place.number % writers == (worker.number // 2) % writers
        ]
        for node in own:
            while not worker.over.is_set():
                joined = _join(worker, node).type == OK
                yield joined
                if joined:
                    break
        while own and not worker.over.is_set():
            node = worker.rng.choice(own)
            through = worker.any_node()
            allowed = worker.rng.random() < 0.5
            yield _intend(worker, node, through, allowed).type == OK
            worker.over.wait(worker.rng.uniform(_LEFT_MIN_S, _LEFT_MAX_S) / len(own))

    def _connect(self, worker: Worker) -> Iterator[bool]:
        held: dict[str, socket.socket] = {}
        try:
            while not worker.over.is_set():
                node = worker.any_node()
                if node.name in held and worker.rng.random() < 0.7:
                    yield _look(worker, node, held, HELD).type == OK
                else:
                    yield _look(worker, node, held, NEW).type == OK
                worker.over.wait(_PAUSE_S)
        finally:
            for connection in held.values():
                connection.close()

    def finish(self, worker: Worker) -> None:
        """Each pair until it passes exactly if it is intended, or the time is over."""
        for node in worker.cluster.nodes:
            client = _client(worker, node)
            intended = worker.until_ok(lambda _, c=client, n=node: c.intended(*_names(n)))  # type: ignore[misc]
            deadline = time.monotonic() + FINAL_WAIT_S
            while _passes(node, {}, NEW, worker.timeout_s).value != intended.value:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.2)
            worker.do(
                node,
                lambda n=node: Outcome(type=OK, value=_final(n, worker.timeout_s)),  # type: ignore[misc]
                f=PASS,
                key=node.name,
                mode=FINAL,
            )


def _names(node: Node) -> tuple[str, str]:
    return f"front-{node.name}", f"back-{node.name}"


def _client(worker: Worker, node: Node) -> MeshClient:
    return cast(MeshClient, worker.cluster.client(node, timeout_s=worker.timeout_s))


def _join(worker: Worker, node: Node) -> Outcome:
    client, (front, back) = _client(worker, node), _names(node)
    place = node.place
    return worker.do(
        node,
        lambda: client.join_mesh(front, back, place.address, place.ports["http"], LISTENER_PORT),
        f=JOIN,
        key=node.name,
    )


def _intend(worker: Worker, node: Node, through: Node, allowed: bool) -> Outcome:
    client, (front, back) = _client(worker, through), _names(node)
    return worker.do(
        through,
        lambda: client.intend(front, back, allowed),
        f=INTEND,
        key=node.name,
        value=allowed,
    )


def _look(worker: Worker, node: Node, held: dict[str, socket.socket], mode: str) -> Outcome:
    return worker.do(
        node,
        lambda: _passes(node, held, mode, worker.timeout_s),
        f=PASS,
        key=node.name,
        mode=mode,
    )


def _final(node: Node, timeout_s: float) -> bool:
    return _passes(node, {}, NEW, timeout_s).value is True


def _passes(node: Node, held: dict[str, socket.socket], mode: str, timeout_s: float) -> Outcome:
    """Send a request through the sidecars. What does not pass says nothing about why, so it is a
    failure; a connection that passed is kept in ``held``."""
    connection: socket.socket | None = held.pop(node.name, None) if mode == HELD else None
    try:
        if connection is None:
            address = (node.place.address, LISTENER_PORT)
            connection = socket.create_connection(address, timeout=timeout_s)
        connection.sendall(_REQUEST)
        answered = connection.recv(_ANSWER_MAX)
    except OSError as error:
        answered, told = b"", type(error).__name__
    else:
        told = "closed"
    if not answered:
        if connection is not None:
            connection.close()
        return Outcome(type=FAIL, error=told, value=False)
    assert connection is not None
    before = held.pop(node.name, None)
    if before is not None:
        before.close()
    held[node.name] = connection
    return Outcome(type=OK, value=True)
