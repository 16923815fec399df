"""Runs the experiments and writes their figures: `make sim-gossip`, or one section of it.

Each section writes SECTION.json to the output folder as soon as it is done; tables and plots are
made of whatever lies there, so that sections can be run apart.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gossip.config import GossipConfig
from tests.gossip_lab import failures, false_alarms, probe_theory, report, spreading, steady
from tests.gossip_lab.false_alarms import Anomaly, Cell

Rows = list[dict[str, Any]]
ALARM_GRID = [
    Cell(held, seconds) for held in (1, 4, 8, 16, 32) for seconds in (8.192, 16.384, 32.768)
]
PARTS_GRID = [Cell(held, seconds) for held in (8, 16) for seconds in (16.384, 32.768)]


def quiet(seed: int, size_max: int) -> Rows:
    rows = []
    for size, seconds in ((10, 60.0), (100, 30.0), (1000, 10.0), (10_000, 3.0)):
        if size <= size_max:
            q = steady.quiet(seed, size, seconds)
            rows.append({name: getattr(q, name) for name in q.__slots__})
    return rows


def failure(seed: int, size_max: int) -> Rows:
    rows = []
    plan = (
        (5, 0.0, 20, 3),
        (32, 0.0, 8, 5),
        (128, 0.0, 4, 5),
        (128, 0.1, 2, 5),
        (128, 0.25, 2, 5),
        (1000, 0.0, 1, 4),
        (10_000, 0.0, 1, 2),
    )
    for size, loss, rings, count in plan:
        if size > size_max:
            continue
        began = time.process_time()
        found = []
        for index in range(rings):
            found += failures.crashes(seed + index, size, min(count, size - 2), loss=loss)
        rows.append(_failure_row(size, loss, found, time.process_time() - began))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _failure_row(
    size: int, loss: float, found: list[failures.Failure], cpu_s: float
) -> dict[str, Any]:
    first = [f.detect_first for f in found]
    everyone = [f.detect_all for f in found if not f.missed]
    row: dict[str, Any] = {
        "size": size,
        "loss": loss,
        "crashes": len(found),
        "expected_first": failures.expected_detection_s(size, GossipConfig.lan("x")),
        "mean_first": sum(first) / len(first),
        "missed": sum(f.missed for f in found),
        "packets": sum(f.packets for f in found) / len(found),
        "packet_bytes": sum(f.packet_bytes for f in found) / len(found),
        "cpu_s": cpu_s,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    for name, values in (
        ("suspect", [f.suspect_first for f in found]),
        ("first", first),
        ("all", everyone),
        *((f"spread_{p}", [f.spread(p / 100) for f in found]) for p in (50, 90, 99, 100)),
    ):
        known = [value for value in values if not math.isnan(value)]
        row[name] = {"median": report.median(known), "max": max(known, default=math.nan)}
    row["curve"] = [found[-1].spread(p / 100) for p in range(1, 101)]
    return row


def spread(seed: int, size_max: int) -> Rows:
    rows = []
    plan = ((5, 50), (32, 30), (100, 20), (1000, 3), (10_000, 1))
    for size, runs in plan:
        for loss in (0.0, 0.1, 0.25) if size < 10_000 else (0.0,):
            if size > size_max:
                continue
            found = [spreading.tag_change(seed + i, size, loss=loss) for i in range(runs)]
            row: dict[str, Any] = {
                "size": size,
                "loss": loss,
                "runs": runs,
                "whole": sum(not f.missed for f in found),
                "missed": sum(f.missed for f in found) / runs,
                "copies": sum(f.copies for f in found) / runs,
            }
            for p in (50, 90, 99, 100):
                row[f"at_{p}"] = report.median(
                    [t for f in found if not math.isnan(t := f.at(p / 100))]
                )
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def theory(seed: int, size_max: int) -> Rows:
    rows = []
    for delivered in (0.99, 0.95, 0.9, 0.8):
        for helpers in (1, 3):
            f = probe_theory.failures(seed, delivered, helpers, size=min(size_max, 100))
            rows.append(
                {
                    "delivered": delivered,
                    "helpers": helpers,
                    "probes": f.probes,
                    "expected": f.expected,
                    "measured": f.measured,
                    "standard_errors": f.standard_errors,
                }
            )
    return rows


def alarms(seed: int, size_max: int) -> Rows:
    rows = []
    for cell in ALARM_GRID:
        for variant in false_alarms.VARIANTS:
            if variant in ("SWIM", "Lifeguard") or cell in PARTS_GRID:
                rows.append(_alarm_row(seed, cell, Anomaly.BLOCKED, variant))
        if cell in PARTS_GRID:
            changes = {"suspicion_grace_mult": 0}
            row = _alarm_row(seed, cell, Anomaly.BLOCKED, "Lifeguard", **changes)
            rows.append({**row, "variant": "Lifeguard without grace"})
    return rows


def stopped(seed: int, size_max: int) -> Rows:
    return [
        _alarm_row(seed, cell, Anomaly.STOPPED, variant)
        for cell in PARTS_GRID
        for variant in ("SWIM", "Lifeguard")
    ]


def _alarm_row(
    seed: int, cell: Cell, anomaly: Anomaly, variant: str, **changes: Any
) -> dict[str, Any]:
    a = false_alarms.alarms(seed, cell, anomaly, variant, **changes)
    row = {
        "variant": variant,
        "anomaly": anomaly.value,
        "held": cell.held,
        "seconds": cell.seconds,
        **{name: getattr(a, name) for name in a.__slots__},
    }
    print(json.dumps(row), flush=True)
    return row


def latency(seed: int, size_max: int) -> Rows:
    """What a shorter suspicion buys: alpha is ``suspicion_mult``."""
    rows = []
    for alpha in (2, 4, 5):
        found = []
        for index in range(3):
            found += failures.crashes(seed + index, min(size_max, 128), 5, suspicion_mult=alpha)
        cell = Cell(16, 32.768)
        a = false_alarms.alarms(seed, cell, Anomaly.BLOCKED, "Lifeguard", suspicion_mult=alpha)
        rows.append(
            {
                "alpha": alpha,
                "first": report.median([f.detect_first for f in found]),
                "about_healthy": a.about_healthy,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


SECTIONS: dict[str, Callable[[int, int], Rows]] = {
    "theory": theory,
    "quiet": quiet,
    "spread": spread,
    "failure": failure,
    "latency": latency,
    "stopped": stopped,
    "alarms": alarms,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gossip_lab", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(SECTIONS), help="a section")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=10_000, help="the largest ring")
    parser.add_argument("--out", type=Path, default=Path("docs/gossip"), help="where figures go")
    options = parser.parse_args(arguments)
    gc.disable()  # nothing here is cyclic, and a hundred million references are slow to walk
    options.out.mkdir(parents=True, exist_ok=True)
    for section in options.only or SECTIONS:
        chosen = f"--only {section} --seed {options.seed} --size {options.size}"
        again = f"python -m tests.gossip_lab {chosen}"
        print(f"{section}: seed {options.seed}: {again}", flush=True)
        began = time.process_time()
        rows = SECTIONS[section](options.seed, options.size)
        done = {"section": section, "seed": options.seed, "command": again, "rows": rows}
        done["cpu_s"] = round(time.process_time() - began, 1)
        (options.out / f"{section}.json").write_text(json.dumps(done, indent=1) + "\n")
        gc.collect()
    print(report.write(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
