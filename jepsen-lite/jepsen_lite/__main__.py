"""Break a cluster on purpose and judge what clients saw.

``run`` one workload under nemeses, a ``suite`` of many, or ``check`` a recorded history again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jepsen_lite import suite
from jepsen_lite.checkers import Validity
from jepsen_lite.checkers.compose import check_all, worst
from jepsen_lite.cluster import ClusterError
from jepsen_lite.history import read_history
from jepsen_lite.nemeses import NEMESES
from jepsen_lite.network import NetworkError
from jepsen_lite.report import as_text
from jepsen_lite.run import CannotRunError, Options, Result, run
from jepsen_lite.targets import TARGETS, TargetError
from jepsen_lite.timeline import as_html
from jepsen_lite.workloads import WORKLOADS

#: Exit statuses: valid, invalid, unknown, and a run that could not be made.
EXIT = {Validity.VALID: 0, Validity.INVALID: 1, Validity.UNKNOWN: 2}
EXIT_NO_RUN = 3


def main(arguments: list[str] | None = None) -> int:
    """The program. Returns its exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.command == "check":
            return _check(chosen.history, chosen.workload)
        if chosen.command == "suite":
            return _suite(chosen)
        return _run(chosen)
    except (ClusterError, NetworkError, TargetError, CannotRunError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_RUN


def _check(history: Path, workload: str) -> int:
    ops = read_history(history)
    verdicts = check_all(WORKLOADS[workload].checkers, ops)
    sys.stdout.write(as_text(f"history {history}", ops, verdicts))
    return EXIT[worst(verdicts)]


def _run(chosen: argparse.Namespace) -> int:
    options = _options(chosen, chosen.workload, chosen.nemesis)
    result = run(options)
    sys.stdout.write(told(options, result))
    sys.stdout.write(f"history: {result.folder / 'history.jsonl'}\n")
    return EXIT[worst(result.verdicts)]


def _suite(chosen: argparse.Namespace) -> int:
    runs = [
        _options(chosen, workload, (nemesis,))
        for workload in chosen.workloads
        for nemesis in chosen.nemeses
    ]
    rows = []
    for options in runs:
        row = suite.one(options, told)
        sys.stdout.write(suite.as_line(row))
        sys.stdout.flush()
        rows.append(row)
    text = suite.as_table(rows)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    (chosen.folder / "suite.md").write_text(text)
    sys.stdout.write(f"\n{text}")
    return EXIT[suite.worst_of(rows)]


def told(options: Options, result: Result) -> str:
    """The report of a run, also written into its folder beside the timeline."""
    title = (
        f"{options.target.name}: workload {options.workload}, nemesis {','.join(options.nemesis)}, "
        f"seed {options.seed}, {options.seconds:g} s, {options.nodes} servers"
    )
    text = as_text(title, result.ops, result.verdicts)
    (result.folder / "report.txt").write_text(text)
    (result.folder / "timeline.html").write_text(as_html(title, result.ops, result.verdicts))
    return text


def _options(chosen: argparse.Namespace, workload: str, nemesis: tuple[str, ...]) -> Options:
    moment = time.strftime("%Y%m%dT%H%M%S")
    name = f"{moment}-{chosen.target}-{workload}-{'+'.join(nemesis)}-{chosen.seed}"
    return Options(
        workload=workload,
        nemesis=nemesis,
        seed=chosen.seed,
        seconds=chosen.seconds,
        nodes=chosen.nodes,
        clients=chosen.clients,
        network=chosen.network,
        folder=chosen.folder / name,
        target=TARGETS[chosen.target](),
    )


def _names(known: Sequence[str], what: str) -> object:
    """A parser of comma-separated names, each of which must be known."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"there is no {what} {name!r}; there are {', '.join(sorted(known))}"
                )
        if not names:
            raise argparse.ArgumentTypeError(f"name at least one {what}")
        return names

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jepsen_lite", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    nemeses, workloads = _names(list(NEMESES), "nemesis"), _names(list(WORKLOADS), "workload")
    one = commands.add_parser("run", help="start a cluster, break it, judge what clients saw")
    one.add_argument("--workload", choices=sorted(WORKLOADS), default="register")
    one.add_argument(
        "--nemesis",
        type=nemeses,  # type: ignore[arg-type]
        default=("kill",),
        help="one, or several with commas: each fault is one of them",
    )
    _common(one)
    many = commands.add_parser("suite", help="every one of these workloads under every nemesis")
    many.add_argument("--workloads", type=workloads, default=suite.WORKLOADS)  # type: ignore[arg-type]
    many.add_argument("--nemeses", type=nemeses, default=suite.NEMESES)  # type: ignore[arg-type]
    _common(many)
    again = commands.add_parser("check", help="judge a recorded history again")
    again.add_argument("history", type=Path)
    again.add_argument("--workload", choices=sorted(WORKLOADS), default="register")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", choices=sorted(TARGETS), default="lictor")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--network", action="store_true", help="nodes in network namespaces")
    parser.add_argument("--folder", type=Path, default=Path("jepsen-runs"))


if __name__ == "__main__":
    sys.exit(main())
