"""Runs the experiments and writes their figures: `make sim-gossip`, or one section of it.

Each section writes SECTION.json to the output folder as soon as it is done; tables and plots are
made of whatever lies there, so that sections can be run apart. With ``--where`` some cells of a
section are run, and their rows take the place of the same rows in the file.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.gossip_lab import more_sections, report, ring
from tests.gossip_lab.more_sections import MORE
from tests.gossip_lab.sections import SECTIONS

Rows = list[dict[str, Any]]


def run(section: str, options: argparse.Namespace) -> Rows:
    """The rows of all seeds."""
    found: Rows = []
    for seed in range(options.seed, options.seed + options.seeds):
        if section in MORE:
            rows = more_sections.rows(section, seed, options.size, dict(options.where))
        else:
            rows = SECTIONS[section](seed, options.size)
        head: dict[str, Any] = {"seed": seed}
        if options.delay != "constant":
            head["delay"] = options.delay
        found += [head | row for row in rows]
    return found


def kept(section: str, path: Path, rows: Rows) -> Rows:
    """What the file has of other cells, and then these."""
    head = ("seed", "delay", *report.HEADS.get(section, ()))

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in head)

    new = {key(row) for row in rows}
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row for row in before if key(row) not in new] + rows


def written(pair: str) -> tuple[str, str]:
    key, _, value = pair.partition("=")
    return key, value


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gossip_lab", description=__doc__)
    sections = [*SECTIONS, *MORE]
    parser.add_argument("--only", action="append", choices=sorted(sections), help="a section")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="so many runs of each row")
    parser.add_argument("--size", type=int, default=10_000, help="the largest ring")
    parser.add_argument(
        "--where", action="append", default=[], type=written, metavar="KEY=VALUE",
        help="only these cells of a section, such as held=16",
    )  # fmt: skip
    parser.add_argument("--delay", choices=sorted(ring.DELAYS), default="constant")
    parser.add_argument("--out", type=Path, default=Path("docs/gossip"), help="where figures go")
    options = parser.parse_args(arguments)
    ring.DEFAULT.delay = ring.DELAYS[options.delay]
    gc.disable()  # nothing here is cyclic, and a hundred million references are slow to walk
    options.out.mkdir(parents=True, exist_ok=True)
    for section in options.only or sections:
        chosen = f"--only {section} --seed {options.seed}"
        chosen += f" --seeds {options.seeds}" if options.seeds > 1 else ""
        chosen += f" --size {options.size}"
        chosen += f" --delay {options.delay}" if options.delay != "constant" else ""
        again = f"python -m tests.gossip_lab {chosen}"
        cells = "".join(f" --where '{key}={value}'" for key, value in options.where)
        print(f"{section}: seed {options.seed}: {again}{cells}", flush=True)
        began, path = time.process_time(), options.out / f"{section}.json"
        rows = run(section, options)
        if options.where:
            rows = kept(section, path, rows)
        done = {"section": section, "seed": options.seed, "command": again, "rows": rows}
        done["cpu_s"] = round(time.process_time() - began, 1)
        path.write_text(report.dumps(done))
        gc.collect()
    print(report.write(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
