"""A bounded, harmless test of a running cluster: what clients are promised, under keys of its own.

Nothing is broken and nothing but those keys is touched; they are deleted afterwards. Operations are
spread over the agents that are named, at a bounded rate.
"""

from __future__ import annotations

import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jepsen_lite.checkers import Verdict
from jepsen_lite.checkers.compose import check_all
from jepsen_lite.client import SESSIONS, STALE_AGE, TXN
from jepsen_lite.cluster import Cluster, Node
from jepsen_lite.consul_http import ConsulClient
from jepsen_lite.generator import dice
from jepsen_lite.history import History, Op
from jepsen_lite.run import CannotRunError
from jepsen_lite.targets import Lictor, Place
from jepsen_lite.worker import Recorder, Worker
from jepsen_lite.workloads import WORKLOADS

#: Workloads that live in keys alone.
SAFE = ("modes", "append", "counter")
_CLIENTS = 4
#: Pause of each client between two operations.
_PAUSE_S = 0.01
_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Running(Lictor):
    """Agents that run already. ``prefix`` stands before every key."""

    prefix: str = ""
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    name: str = "running"
    offers: frozenset[str] = frozenset({TXN, SESSIONS, STALE_AGE})

    def client(self, place: Place, timeout_s: float) -> ConsulClient:
        return ConsulClient(
            place.address,
            place.ports["http"],
            timeout_s=timeout_s,
            prefix=self.prefix,
            token=self.token,
            tls=self.tls,
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """What one workload showed."""

    workload: str
    ops: tuple[Op, ...]
    verdicts: tuple[Verdict, ...]


def verify(
    agents: Sequence[tuple[str, int]],
    *,
    seconds: float,
    seed: int,
    token: str = "",
    tls: ssl.SSLContext | None = None,
    folder: Path | None = None,
) -> Iterator[Verified]:
    """Run each workload for so long; ``folder`` gets the histories. Raises CannotRunError when no
    agent knows a leader."""
    home = folder or Path()
    prefix = f"lictor-verify/{secrets.token_hex(8)}/"
    target = Running(prefix=prefix, token=token, tls=tls)
    nodes = [
        Node(
            Place(
                number=n, address=host, seen_as=host, ports={"http": port}, folder=folder or Path()
            )
        )
        for n, (host, port) in enumerate(agents, start=1)
    ]
    cluster = Cluster(home, len(nodes), target)
    cluster.nodes = nodes
    if not any(target.named_leader(node.place) for node in nodes):
        raise CannotRunError("no agent that was named knows a leader")
    try:
        for name in SAFE:
            yield _one(name, cluster, seconds, seed, folder)
    finally:
        target.client(nodes[0].place, _TIMEOUT_S).delete_tree("")


def _one(name: str, cluster: Cluster, seconds: float, seed: int, folder: Path | None) -> Verified:
    workload = WORKLOADS[name]
    history = History(folder / f"{name}.jsonl" if folder else None)
    recorder, over = Recorder(history), threading.Event()

    def worker(number: int, called: str) -> Worker:
        return Worker(
            name=called,
            number=number,
            total=_CLIENTS,
            rng=dice(seed, called),
            cluster=cluster,
            recorder=recorder,
            over=over,
            timeout_s=_TIMEOUT_S,
        )

    def work(one: Worker) -> None:
        for _ in workload.work(one):
            over.wait(_PAUSE_S)

    threads = [
        threading.Thread(target=work, args=(worker(number, f"p{number}"),))
        for number in range(_CLIENTS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    over.set()
    for thread in threads:
        thread.join()
    workload.finish(worker(0, "final"))
    history.close()
    ops = tuple(history)
    return Verified(name, ops, tuple(check_all(workload.checkers, ops)))
