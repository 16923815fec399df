"""A run: options, cluster, workload under a nemesis, heal, final reads, history, verdict."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from jepsen_lite.checkers import Verdict
from jepsen_lite.checkers.compose import check_all
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.client import Client, Outcome
from jepsen_lite.cluster import Cluster
from jepsen_lite.generator import CAS, READ, WRITE, Action, actions, faults
from jepsen_lite.history import FAIL, INFO, INVOKE, NEMESIS, OK, History, Op
from jepsen_lite.nemeses import NEMESES, Nemesis
from jepsen_lite.workloads import WORKLOADS, Workload

#: Final reads are tried again for so long: the cluster is whole and owes an answer.
_FINAL_WAIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is run. The same seed makes the same operations and faults, not the same timing."""

    workload: str = "kv"
    nemesis: str = "kill"
    seed: int = 1
    seconds: float = 30.0
    nodes: int = 3
    clients: int = 5
    pause_s: float = 3.0
    hold_s: float = 3.0
    request_timeout_s: float = 5.0
    folder: Path = Path("jepsen-runs")
    program: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of it; the history lies in ``folder``."""

    folder: Path
    ops: tuple[Op, ...]
    verdicts: tuple[Verdict, ...]


def run(options: Options) -> Result:
    """Carry out a run. Raises ClusterError when the cluster does not come up or heal."""
    workload = WORKLOADS[options.workload]
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder, options.nodes, options.program)
    history = History(folder / "history.jsonl")
    try:
        cluster.start()
        test = _Run(options, workload, cluster, history)
        test.under_faults(NEMESES[options.nemesis]())
        test.final_reads()
    finally:
        cluster.stop()
        history.close()
    ops = tuple(history)
    return Result(folder, ops, tuple(check_all(workload.checkers, ops)))


class _Run:
    """The phases of a run; they share the cluster and the history."""

    def __init__(
        self, options: Options, workload: Workload, cluster: Cluster, history: History
    ) -> None:
        self._options = options
        self._workload = workload
        self._cluster = cluster
        self._history = history
        self._began = time.monotonic()
        self._over = threading.Event()

    def under_faults(self, nemesis: Nemesis) -> None:
        """Clients work while the nemesis breaks and heals; at the end everything is whole."""
        names = [f"p{number}" for number in range(self._options.clients)]
        workers = [threading.Thread(target=self._work, args=(name,), name=name) for name in names]
        for worker in workers:
            worker.start()
        try:
            self._torment(nemesis)
        finally:
            self._over.set()
            for worker in workers:
                worker.join()
            self._note("heal", nemesis.heal(self._cluster))
        self._cluster.wait_for_leader()

    def _torment(self, nemesis: Nemesis) -> None:
        deadline = self._began + self._options.seconds
        pause_s, hold_s = self._options.pause_s, self._options.hold_s
        for fault in faults(self._options.seed, pause_s=pause_s, hold_s=hold_s):
            if time.monotonic() + fault.pause_s >= deadline:
                break
            self._over.wait(fault.pause_s)
            self._note("inject", nemesis.inject(self._cluster, random.Random(fault.dice)))
            self._over.wait(min(fault.hold_s, max(0.0, deadline - time.monotonic())))
            self._note("heal", nemesis.heal(self._cluster))
        self._over.wait(max(0.0, deadline - time.monotonic()))

    def final_reads(self) -> None:
        """Each key is read once more, consistently, until a node answers."""
        for number in range(self._workload.keys):
            deadline = time.monotonic() + _FINAL_WAIT_S
            while time.monotonic() < deadline:
                node = self._cluster.nodes[number % len(self._cluster.nodes)]
                client = self._cluster.client(node)
                action = Action(READ, f"k{number}", None, 0)
                if self._record("final", node.name, client, action, FINAL).type == OK:
                    break
                time.sleep(0.2)

    def _work(self, process: str) -> None:
        todo = actions(
            self._options.seed, process, keys=self._workload.keys, shares=self._workload.shares
        )
        for action in todo:
            if self._over.is_set():
                return
            node = self._cluster.nodes[action.node % len(self._cluster.nodes)]
            client = self._cluster.client(node, timeout_s=self._options.request_timeout_s)
            if self._record(process, node.name, client, action, "consistent").type != OK:
                self._over.wait(0.05)  # a dead node refuses at once: do not fill the history

    def _record(
        self, process: str, node: str, client: Client, action: Action, mode: str
    ) -> Outcome:
        """Carry out an action; both its ends go into the history."""
        if action.f == CAS:
            return self._compare_and_set(process, node, client, action)
        is_read = action.f == READ
        invoked = self._invoke(process, node, action, mode if is_read else "", None)
        if is_read:
            outcome = client.read(action.key, "consistent")
        else:
            assert action.f == WRITE
            assert action.value is not None
            outcome = client.write(action.key, action.value)
        self._complete(invoked, outcome)
        return outcome

    def _compare_and_set(self, process: str, node: str, client: Client, action: Action) -> Outcome:
        """Values are unique, so an unchanged modify index means an unchanged value."""
        read = Action(READ, action.key, None, action.node)
        before = self._record(process, node, client, read, "consistent")
        if before.type != OK:
            return before
        assert action.value is not None
        invoked = self._invoke(process, node, action, "", before.value)
        outcome = client.compare_and_set(action.key, before.modify_index, action.value)
        self._complete(invoked, outcome)
        return outcome

    def _invoke(
        self, process: str, node: str, action: Action, mode: str, expected: str | None
    ) -> Op:
        return self._history.append(
            Op(
                at=self._at(),
                process=process,
                type=INVOKE,
                f=action.f,
                key=action.key,
                value=action.value,
                expected=expected,
                mode=mode,
                node=node,
            )
        )

    def _complete(self, invoked: Op, outcome: Outcome) -> None:
        assert outcome.type in {OK, FAIL, INFO}
        self._history.append(
            Op(
                at=self._at(),
                process=invoked.process,
                type=outcome.type,
                f=invoked.f,
                key=invoked.key,
                value=outcome.value if invoked.f == READ else invoked.value,
                node=invoked.node,
                error=outcome.error,
                modify_index=outcome.modify_index,
            )
        )

    def _note(self, f: str, text: str) -> None:
        self._history.append(Op(at=self._at(), process=NEMESIS, type=INFO, f=f, value=text))

    def _at(self) -> float:
        return round(time.monotonic() - self._began, 4)
