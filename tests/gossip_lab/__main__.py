"""Runs the experiments and writes their figures: `make sim-gossip`, or one section of it.

Each section writes SECTION.json to the output folder as soon as it is done; tables and plots are
made of whatever lies there, so that sections can be run apart.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path

from tests.gossip_lab import report
from tests.gossip_lab.sections import SECTIONS


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gossip_lab", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(SECTIONS), help="a section")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="so many runs of each row")
    parser.add_argument("--size", type=int, default=10_000, help="the largest ring")
    parser.add_argument("--out", type=Path, default=Path("docs/gossip"), help="where figures go")
    options = parser.parse_args(arguments)
    gc.disable()  # nothing here is cyclic, and a hundred million references are slow to walk
    options.out.mkdir(parents=True, exist_ok=True)
    for section in options.only or SECTIONS:
        chosen = f"--only {section} --seed {options.seed}"
        chosen += f" --seeds {options.seeds}" if options.seeds > 1 else ""
        chosen += f" --size {options.size}"
        again = f"python -m tests.gossip_lab {chosen}"
        print(f"{section}: seed {options.seed}: {again}", flush=True)
        began = time.process_time()
        seeds = range(options.seed, options.seed + options.seeds)
        rows = [{"seed": s} | row for s in seeds for row in SECTIONS[section](s, options.size)]
        done = {"section": section, "seed": options.seed, "command": again, "rows": rows}
        done["cpu_s"] = round(time.process_time() - began, 1)
        (options.out / f"{section}.json").write_text(report.dumps(done))
        gc.collect()
    print(report.write(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
