"""One client process of a run: its dice, its way to the nodes, its lines in the history."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from jepsen_lite.client import Outcome
from jepsen_lite.cluster import Cluster, Node
from jepsen_lite.history import FAIL, INFO, INVOKE, NEMESIS, OK, History, Json, Op

#: Things that a workload has to have in the end are tried again for so long: the cluster is whole
#: then and owes an answer.
FINAL_WAIT_S = 30.0
_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes what happens, with the seconds since the run began."""

    history: History
    began: float = field(default_factory=time.monotonic)

    def operation(
        self,
        process: str,
        node: str,
        call: Callable[[], Outcome],
        *,
        f: str,
        key: str = "",
        value: Json = None,
        expected: Json = None,
        mode: str = "",
    ) -> Outcome:
        """Carry out an operation; both its ends go into the history. What it answered is written
        as the value, or, if it answered none, what was asked."""
        self.history.append(
            Op(
                at=self._at(),
                process=process,
                type=INVOKE,
                f=f,
                key=key,
                value=value,
                expected=expected,
                mode=mode,
                node=node,
            )
        )
        outcome = call()
        assert outcome.type in {OK, FAIL, INFO}
        asked_only = outcome.type == OK and outcome.value is None and value is not None
        self.history.append(
            Op(
                at=self._at(),
                process=process,
                type=outcome.type,
                f=f,
                key=key,
                value=value if asked_only or outcome.type != OK else outcome.value,
                node=node,
                error=outcome.error,
                modify_index=outcome.modify_index,
                age_s=outcome.age_s,
            )
        )
        return outcome

    def note(self, f: str, text: str) -> None:
        """Write what the nemesis did."""
        self.history.append(Op(at=self._at(), process=NEMESIS, type=INFO, f=f, value=text))

    def _at(self) -> float:
        return round(time.monotonic() - self.began, 4)


@dataclass(slots=True)
class Worker:
    """A client process, number ``number`` of ``total``. ``over`` ends its work."""

    name: str
    number: int
    total: int
    rng: random.Random
    cluster: Cluster
    recorder: Recorder
    over: threading.Event
    timeout_s: float = 5.0
    made: int = 0

    def any_node(self) -> Node:
        """A node drawn by this process's dice, alive or not: clients do not know."""
        return self.rng.choice(self.cluster.nodes)

    def unique(self) -> str:
        """A value that nobody else in the run writes."""
        self.made += 1
        return f"{self.name}-{self.made}"

    def do(
        self,
        node: Node,
        call: Callable[[], Outcome],
        *,
        f: str,
        key: str = "",
        value: Json = None,
        expected: Json = None,
        mode: str = "",
    ) -> Outcome:
        """Carry out and record an operation at a node."""
        return self.recorder.operation(
            self.name, node.name, call, f=f, key=key, value=value, expected=expected, mode=mode
        )

    def until_ok(self, attempt: Callable[[Node], Outcome]) -> Outcome:
        """Try at one node after the other until it works or FINAL_WAIT_S is over."""
        deadline = time.monotonic() + FINAL_WAIT_S
        turn = self.number
        while True:
            nodes = [node for node in self.cluster.nodes if not node.away]
            outcome = attempt(nodes[turn % len(nodes)])
            if outcome.type == OK or time.monotonic() > deadline:
                return outcome
            turn += 1
            time.sleep(_AGAIN_S)
