"""Break a cluster on purpose and judge what clients saw.

``run`` one workload under nemeses, a ``suite`` of many, or ``check`` a recorded history again.
``verify`` a running cluster without breaking anything; ``drill`` on one that is thrown away.
"""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from jepsen_lite import drill, suite
from jepsen_lite.checkers import Validity, Verdict
from jepsen_lite.checkers.compose import check_all, worst
from jepsen_lite.cluster import ClusterError
from jepsen_lite.history import read_history
from jepsen_lite.nemeses import NEMESES
from jepsen_lite.network import NetworkError
from jepsen_lite.report import as_text
from jepsen_lite.run import FORWARDING, NAMESPACES, CannotRunError, Options, Result, run
from jepsen_lite.targets import TARGETS, TargetError
from jepsen_lite.timeline import as_html
from jepsen_lite.verify import verify
from jepsen_lite.workloads import WORKLOADS

#: Exit statuses: valid, invalid, unknown, and a run that could not be made.
EXIT = {Validity.VALID: 0, Validity.INVALID: 1, Validity.UNKNOWN: 2}
EXIT_NO_RUN = 3


def main(arguments: list[str] | None = None) -> int:
    """The program. Returns its exit status."""
    chosen = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _ended)
    try:
        if chosen.command == "check":
            return _check(chosen.history, chosen.workload)
        if chosen.command == "suite":
            return _suite(chosen)
        if chosen.command == "verify":
            return _verify(chosen)
        if chosen.command == "drill":
            return _drill(chosen)
        return _run(chosen)
    except (ClusterError, NetworkError, TargetError, CannotRunError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_RUN
    finally:
        signal.signal(signal.SIGTERM, before)


def _ended(number: int, _frame: FrameType | None) -> None:
    """Whoever ends a run by a signal does not want its servers to stay."""
    raise SystemExit(128 + number)


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


def _verify(chosen: argparse.Namespace) -> int:
    """Each workload in turn; the worst verdict counts."""
    agents = [_agent(text) for text in chosen.agents or ["http://127.0.0.1:8500"]]
    schemes = {scheme for scheme, _, _ in agents}
    if len(schemes) > 1:
        raise CannotRunError("name all agents with http:// or all with https://")
    tls = ssl.create_default_context(cafile=chosen.ca_file) if "https" in schemes else None
    verdicts: list[Verdict] = []
    for found in verify(
        [(host, port) for _, host, port in agents],
        seconds=chosen.seconds,
        seed=chosen.seed,
        token=os.environ.get("CONSUL_HTTP_TOKEN", ""),
        tls=tls,
    ):
        sys.stdout.write(as_text(f"workload {found.workload}", found.ops, found.verdicts) + "\n")
        sys.stdout.flush()
        verdicts += found.verdicts
    return EXIT[worst(verdicts)]


def _agent(text: str) -> tuple[str, str, int]:
    """An agent's address as clients write it: scheme, host and port."""
    url = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = url.port or 8500
    except ValueError as error:
        raise CannotRunError(f"{text!r} is no address of an agent: {error}") from error
    if url.scheme not in ("http", "https") or not url.hostname:
        raise CannotRunError(f"{text!r} is no address of an agent")
    return url.scheme, url.hostname, port


def _drill(chosen: argparse.Namespace) -> int:
    """The whole script once, then the story."""
    faults = drill.SCRIPT
    options = Options(
        workload="modes",
        nemesis=faults,
        seed=chosen.seed,
        seconds=len(faults) * (drill.PAUSE_S + drill.HOLD_S) * 4,
        faults_max=len(faults),
        nodes=chosen.nodes,
        pause_s=drill.PAUSE_S,
        hold_s=drill.HOLD_S,
        folder=chosen.folder / f"{time.strftime('%Y%m%dT%H%M%S')}-drill-{chosen.seed}",
    )
    sys.stdout.write(
        f"{options.nodes} servers, {options.clients} clients that write and read, and "
        f"these faults: {', '.join(faults)} ...\n"
    )
    sys.stdout.flush()
    result = run(options, drill.in_order(faults))
    told(options, result)
    sys.stdout.write(f"\n{drill.story(result.ops, result.verdicts)}")
    sys.stdout.write(f"\nEverything lies in {result.folder}; open timeline.html in a browser.\n")
    return EXIT[worst(result.verdicts)]


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
    _others(commands)
    return parser


def _others(commands: Any) -> None:
    safe = commands.add_parser("verify", help="test a running cluster, under keys of its own")
    safe.add_argument("agents", nargs="*", help="agents' HTTP addresses (127.0.0.1:8500)")
    safe.add_argument("--seconds", type=float, default=10.0, help="for each workload")
    safe.add_argument("--seed", type=int, default=1)
    safe.add_argument("--ca-file", help="authority of https:// agents")
    told_as_story = commands.add_parser("drill", help="faults on a throw-away cluster, as a story")
    told_as_story.add_argument("--seed", type=int, default=1)
    told_as_story.add_argument("--nodes", type=int, default=3)
    told_as_story.add_argument("--folder", type=Path, default=Path("jepsen-runs"))


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", choices=sorted(TARGETS), default="lictor")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument(
        "--network",
        nargs="?",
        choices=(NAMESPACES, FORWARDING),
        const=NAMESPACES,
        default="",
        help="nodes in network namespaces (for root the default for faults of a network), or "
        "behind forwarded ports (wants no rights)",
    )
    parser.add_argument("--folder", type=Path, default=Path("jepsen-runs"))


if __name__ == "__main__":
    sys.exit(main())
