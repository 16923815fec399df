"""Clocks of single nodes jump, or run at a wrong rate (libfaketime, Debian's libfaketime)."""

from __future__ import annotations

import random
from pathlib import Path

from jepsen_lite.cluster import Cluster
from jepsen_lite.nemeses.nemesis import Nemesis
from jepsen_lite.targets import Place

_LIBRARIES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)
_JUMP_MAX_S = 3600
#: Rates of the nodes, by number: the first is fast, the second slow, the third right.
_RATES = ("x1.10", "x0.90", "x1.00")


def library() -> Path | None:
    """libfaketime's library, if it is installed."""
    for pattern in _LIBRARIES:
        for found in sorted(Path("/").glob(pattern.lstrip("/"))):
            return found
    return None


def _why_not(_cluster: Cluster) -> str:
    return "" if library() else "libfaketime is missing (Debian: libfaketime)"


def _file(place: Place) -> Path:
    return place.folder / "clock"


def _jump_environment(place: Place) -> dict[str, str]:
    """Only the clock on the wall jumps: the monotonic one never does on a real machine."""
    _file(place).write_text("+0\n")
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(_file(place)),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _jump(cluster: Cluster, rng: random.Random) -> str:
    node = rng.choice(cluster.nodes)
    offset = rng.choice([-1, 1]) * rng.randint(1, _JUMP_MAX_S)
    _file(node.place).write_text(f"{offset:+d}\n")
    return f"the clock of {node.name} is {offset:+d} s off"


def _set_right(cluster: Cluster) -> str:
    for node in cluster.nodes:
        _file(node.place).write_text("+0\n")
    return "all clocks are right"


def _rate_environment(place: Place) -> dict[str, str]:
    rate = _RATES[(place.number - 1) % len(_RATES)]
    return {"LD_PRELOAD": str(library()), "FAKETIME": f"+0 {rate}"}


def _rates(cluster: Cluster, _rng: random.Random) -> str:
    return "clocks run at " + " ".join(
        f"{node.name}:{_RATES[(node.place.number - 1) % len(_RATES)]}" for node in cluster.nodes
    )


JUMP = Nemesis(inject=_jump, heal=_set_right, why_not=_why_not, environment=_jump_environment)
#: All clocks of a node, the monotonic one too, from its start to its end.
RATE = Nemesis(inject=_rates, why_not=_why_not, environment=_rate_environment)
