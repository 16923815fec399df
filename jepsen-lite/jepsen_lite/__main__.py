"""``python -m jepsen_lite run ...`` and ``python -m jepsen_lite check HISTORY``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from jepsen_lite.checkers import Validity
from jepsen_lite.checkers.compose import check_all, worst
from jepsen_lite.cluster import ClusterError
from jepsen_lite.history import read_history
from jepsen_lite.nemeses import NEMESES
from jepsen_lite.report import as_text
from jepsen_lite.run import Options, run
from jepsen_lite.workloads import WORKLOADS

#: Exit statuses: valid, invalid, unknown, and a cluster that did not come up.
_EXIT = {Validity.VALID: 0, Validity.INVALID: 1, Validity.UNKNOWN: 2}
_EXIT_NO_CLUSTER = 3


def main(arguments: list[str] | None = None) -> int:
    """The program. Returns its exit status."""
    chosen = _parser().parse_args(arguments)
    if chosen.command == "check":
        ops = read_history(chosen.history)
        verdicts = check_all(WORKLOADS[chosen.workload].checkers, ops)
        sys.stdout.write(as_text(f"history {chosen.history}", ops, verdicts))
        return _EXIT[worst(verdicts)]
    title = (
        f"workload {chosen.workload}, nemesis {chosen.nemesis}, seed {chosen.seed}, "
        f"{chosen.seconds:g} s, {chosen.nodes} servers"
    )
    name = f"{time.strftime('%Y%m%dT%H%M%S')}-{chosen.workload}-{chosen.nemesis}-{chosen.seed}"
    options = Options(
        workload=chosen.workload,
        nemesis=chosen.nemesis,
        seed=chosen.seed,
        seconds=chosen.seconds,
        nodes=chosen.nodes,
        clients=chosen.clients,
        folder=chosen.folder / name,
    )
    try:
        result = run(options)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_NO_CLUSTER
    text = as_text(title, result.ops, result.verdicts)
    (result.folder / "report.txt").write_text(text)
    sys.stdout.write(f"{text}history: {result.folder / 'history.jsonl'}\n")
    return _EXIT[worst(result.verdicts)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jepsen_lite", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="start a cluster, break it, judge what clients saw")
    one.add_argument("--workload", choices=sorted(WORKLOADS), default="kv")
    one.add_argument("--nemesis", choices=sorted(NEMESES), default="kill")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--seconds", type=float, default=30.0)
    one.add_argument("--nodes", type=int, default=3)
    one.add_argument("--clients", type=int, default=5)
    one.add_argument("--folder", type=Path, default=Path("jepsen-runs"))
    again = commands.add_parser("check", help="judge a recorded history again")
    again.add_argument("history", type=Path)
    again.add_argument("--workload", choices=sorted(WORKLOADS), default="kv")
    return parser


if __name__ == "__main__":
    sys.exit(main())
