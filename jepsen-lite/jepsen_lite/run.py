"""A run: options, cluster, workload under a nemesis, heal, final reads, history, verdict."""

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from jepsen_lite.checkers import Verdict
from jepsen_lite.checkers.compose import check_all
from jepsen_lite.cluster import Cluster, numbered_ports
from jepsen_lite.forwarding import Forwarding
from jepsen_lite.generator import dice, faults
from jepsen_lite.history import History, Op
from jepsen_lite.namespaces import Namespaces
from jepsen_lite.namespaces import why_not as why_not_namespaces
from jepsen_lite.nemeses import chosen
from jepsen_lite.nemeses.nemesis import Nemesis
from jepsen_lite.network import Network
from jepsen_lite.targets import Lictor, Target
from jepsen_lite.worker import Recorder, Worker
from jepsen_lite.workloads import WORKLOADS, Workload

#: Kinds of networks.
NAMESPACES, FORWARDING = "namespaces", "forwarding"
#: A process whose operation was not acknowledged waits so long: a dead node refuses at once, and
#: must not fill the history.
_AFTER_FAILURE_S = 0.05


class CannotRunError(Exception):
    """The workload or the nemesis does not fit the target or the machine; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is run. The same seed makes the same operations and faults, not the same timing.

    ``network``: nodes on hosts of a network of this kind; "" puts them on loopback, unless the
    nemesis needs a network: then it is namespaces, or forwarding where they cannot be made.
    """

    workload: str = "register"
    nemesis: tuple[str, ...] = ("kill",)
    seed: int = 1
    seconds: float = 30.0
    nodes: int = 3
    clients: int = 6
    pause_s: float = 4.0
    hold_s: float = 4.0
    request_timeout_s: float = 5.0
    network: str = ""
    #: No more faults than this; the run ends with the last one.
    faults_max: int | None = None
    folder: Path = Path("jepsen-runs")
    target: Target = field(default_factory=Lictor)


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of it; the history lies in ``folder``."""

    folder: Path
    ops: tuple[Op, ...]
    verdicts: tuple[Verdict, ...]


def run(options: Options, nemesis: Nemesis | None = None) -> Result:
    """Carry out a run, under ``nemesis`` instead of the named ones if one is given.

    Raises CannotRunError before anything is started, ClusterError when the cluster does not come up
    or heal, NetworkError and TargetError when something is missing.
    """
    workload, nemesis = WORKLOADS[options.workload], nemesis or chosen(options.nemesis)
    missing = workload.needs - options.target.offers
    if missing:
        names = ", ".join(sorted(missing))
        raise CannotRunError(f"{options.target.name} does not offer {names}")
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    network = network_for(options, nemesis)
    cluster = Cluster(folder, options.nodes, options.target, network)
    reason = nemesis.why_not(cluster)
    if reason:
        raise CannotRunError(reason)
    history = History(folder / "history.jsonl")
    try:
        if network is not None:
            network.open()
        cluster.start(environment=nemesis.environment)
        test = _Run(options, workload, cluster, Recorder(history))
        test.under_faults(nemesis)
        test.finish()
    finally:
        cluster.stop()
        if network is not None:
            network.close()
        history.close()
    ops = tuple(history)
    return Result(folder, ops, tuple(check_all(workload.checkers, ops)))


def network_for(options: Options, nemesis: Nemesis) -> Network | None:
    """The network of a run, not yet made; None for nodes on loopback."""
    kind = options.network
    if not kind and nemesis.needs_network:
        kind = FORWARDING if why_not_namespaces() else NAMESPACES
    if kind == NAMESPACES:
        return Namespaces(options.nodes, options.seed)
    if kind == FORWARDING:
        ports = numbered_ports(options.target.ports)
        return Forwarding(
            options.nodes, [ports[purpose] for purpose in options.target.peer_ports], options.seed
        )
    return None


class _Run:
    """The phases of a run; they share the cluster and the history."""

    def __init__(
        self, options: Options, workload: Workload, cluster: Cluster, recorder: Recorder
    ) -> None:
        self._options = options
        self._workload = workload
        self._cluster = cluster
        self._recorder = recorder
        self._over = threading.Event()
        self._workers = [self._worker(number) for number in range(options.clients)]

    def _worker(self, number: int, name: str = "") -> Worker:
        name = name or f"p{number}"
        return Worker(
            name=name,
            number=number,
            total=self._options.clients,
            rng=dice(self._options.seed, name),
            cluster=self._cluster,
            recorder=self._recorder,
            over=self._over,
            timeout_s=self._options.request_timeout_s,
        )

    def under_faults(self, nemesis: Nemesis) -> None:
        """Clients work while the nemesis breaks and heals; at the end everything is whole."""
        threads = [
            threading.Thread(target=self._work, args=(worker,), name=worker.name)
            for worker in self._workers
        ]
        for thread in threads:
            thread.start()
        try:
            self._torment(nemesis)
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
            self._recorder.note("heal", nemesis.heal(self._cluster))
        self._cluster.wait_for_leader()

    def _torment(self, nemesis: Nemesis) -> None:
        deadline = self._recorder.began + self._options.seconds
        pause_s, hold_s = self._options.pause_s, self._options.hold_s
        all_faults = faults(self._options.seed, pause_s=pause_s, hold_s=hold_s)
        for fault in itertools.islice(all_faults, self._options.faults_max):
            if time.monotonic() + fault.pause_s >= deadline:
                break
            self._over.wait(fault.pause_s)
            told = nemesis.inject(self._cluster, random.Random(fault.dice))
            self._recorder.note("inject", told)
            self._over.wait(min(fault.hold_s, max(0.0, deadline - time.monotonic())))
            self._recorder.note("heal", nemesis.heal(self._cluster))
        if self._options.faults_max is not None:
            self._over.wait(min(pause_s, max(0.0, deadline - time.monotonic())))
            return
        self._over.wait(max(0.0, deadline - time.monotonic()))

    def _work(self, worker: Worker) -> None:
        for acknowledged in self._workload.work(worker):
            if not acknowledged:
                self._over.wait(_AFTER_FAILURE_S)

    def finish(self) -> None:
        """The final reads of the workload."""
        self._workload.finish(self._worker(0, "final"))
