"""The experiments as they are published: which sizes, how many runs, what is kept of each."""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Callable
from typing import Any

from gossip.config import GossipConfig
from tests.gossip_lab import failures, false_alarms, probe_theory, report, spreading, steady
from tests.gossip_lab.false_alarms import Anomaly, Cell

Rows = list[dict[str, Any]]
ALARM_GRID = [Cell(held, seconds) for held in (1, 4, 8, 16) for seconds in (8.192, 16.384, 32.768)]
PARTS_GRID = [Cell(8, 16.384), Cell(8, 32.768)]
GRACE_GRID = [Cell(16, 32.768), Cell(32, 32.768)]


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
        (5, 0.0, 40, 1),
        (32, 0.0, 8, 3),
        (128, 0.0, 3, 5),
        (128, 0.1, 1, 5),
        (128, 0.25, 1, 5),
        (1000, 0.0, 3, 3),
        (10_000, 0.0, 2, 1),
    )
    for size, loss, rings, count in plan:
        if size > size_max:
            continue
        began = time.process_time()
        found = []
        for index in range(rings):
            found += failures.crashes(seed + index, size, count, loss=loss)
        rows.append(failure_row(size, loss, found, time.process_time() - began))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def failure_row(
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
    plan = ((5, 50), (32, 20), (100, 10), (1000, 3), (10_000, 1))
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
            f = probe_theory.failures(
                seed, delivered, helpers, size=min(size_max, 60), seconds=30.0
            )
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
    return rows


def grace(seed: int, size_max: int) -> Rows:
    """What the time to refute after a late confirmation is worth."""
    rows = []
    for cell in GRACE_GRID:
        for mult in (0, 1):
            row = _alarm_row(seed, cell, Anomaly.BLOCKED, "Lifeguard", suspicion_grace_mult=mult)
            rows.append({**row, "variant": f"suspicion_grace_mult = {mult}"})
    return rows


def stopped(seed: int, size_max: int) -> Rows:
    """Processes that stand still, as under SIGSTOP or without a processor."""
    return [
        _alarm_row(seed, cell, Anomaly.STOPPED, variant)
        for cell in (Cell(8, 16.384), Cell(16, 32.768))
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
    """What detection costs with and without Lifeguard; alpha is ``suspicion_mult``."""
    rows = []
    for variant, alpha in (("SWIM", 4), ("Lifeguard", 4), ("Lifeguard", 5), ("Lifeguard", 2)):
        changes = {**false_alarms.VARIANTS[variant], "suspicion_mult": alpha}
        found = failures.crashes(seed, min(size_max, 128), 8, **changes)
        rows.append(
            {
                "variant": variant,
                "alpha": alpha,
                "crashes": len(found),
                "first": report.median([f.detect_first for f in found]),
                "all": report.median([f.detect_all for f in found]),
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
    "grace": grace,
}
