"""Nemeses break things and put them right again.

``inject`` does one fault and says what it did; ``heal`` undoes every fault of this nemesis. A run
always ends with ``heal``, so that final reads meet a whole cluster.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from jepsen_lite.cluster import Cluster
from jepsen_lite.nemeses import kill, pause


class Nemesis(Protocol):
    """One kind of fault."""

    def inject(self, cluster: Cluster, rng: random.Random) -> str: ...

    def heal(self, cluster: Cluster) -> str: ...


class Nothing:
    """The run without faults, to compare with."""

    def inject(self, cluster: Cluster, rng: random.Random) -> str:
        return "nothing"

    def heal(self, cluster: Cluster) -> str:
        return "nothing"


NEMESES: dict[str, Callable[[], Nemesis]] = {
    "none": Nothing,
    "kill": kill.Kill,
    "kill-all": kill.KillAll,
    "pause": pause.Pause,
}
