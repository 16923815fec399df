"""The experiments on disasters, lives and places as they are published: sizes, runs, rows."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from tests.gossip_lab import accused, churning, disasters, false_alarms, lives, places, report
from tests.gossip_lab.false_alarms import Anomaly, Cell

NAME_RUNS = 40

Rows = list[dict[str, Any]]
#: What is varied, and what measures it: a value, or one for each row.
Cells = Iterator[tuple[dict[str, Any], Callable[[], Any]]]


def rows(section: str, seed: int, size_max: int, where: Mapping[str, str]) -> Rows:
    """Run the cells of a section whose head has the given values, as they are written."""
    found = []
    for head, measure in MORE[section](seed, size_max):
        if any(str(head.get(key)) != value for key, value in where.items()):
            continue
        began = time.process_time()
        measured = measure()
        for each in measured if isinstance(measured, list) else [measured]:
            row = head | (each if isinstance(each, dict) else dataclasses.asdict(each))
            print(json.dumps(row), f"{time.process_time() - began:.1f} s", flush=True)
            found.append(row)
    return found


def crashes_at_once(seed: int, size_max: int) -> Cells:
    """G4."""
    plan = [(128, fraction) for fraction in (0.01, 0.05, 0.1, 0.3, 0.5)]
    plan += [(1000, fraction) for fraction in (0.1, 0.5)]
    for size, part in plan:
        if size <= size_max:
            yield {"size": size, "part": part}, partial(disasters.mass_crash, seed, size, part)


def intervals(seed: int, size_max: int) -> Cells:
    """G7: held again and again for two minutes."""
    for held in (4, 16):
        for seconds, pause_s in ((2.048, 1.024), (8.192, 1.024), (16.384, 4.096)):
            cell = Cell(held, seconds, pause_s, 120.0)
            for variant in ("SWIM", "Lifeguard"):
                head = {"held": held, "seconds": seconds, "pause_s": pause_s, "variant": variant}
                yield head, partial(_interval, seed, cell, variant)


def _interval(seed: int, cell: Cell, variant: str) -> dict[str, Any]:
    found = false_alarms.alarms(seed, cell, Anomaly.BLOCKED, variant)
    return dataclasses.asdict(found) | {"packets_s": found.packets / found.member_seconds}


def overloads(seed: int, size_max: int) -> Cells:
    """G9."""
    for sick in (1, 4, 16, 32):
        for newest in (False, True):
            for variant in disasters.RULES:
                yield (
                    {"sick": sick, "newest_first": newest, "variant": variant},
                    partial(
                        disasters.overloaded, seed, min(100, size_max), sick, variant,
                        newest_first=newest,
                    ),
                )  # fmt: skip


def accusations(seed: int, size_max: int) -> Cells:
    """A ring as in the interop test: who stalls a moment, and is accused, while two crash."""
    for told in (False, True):
        for profile in ("local", "lan"):
            for stall_s in (1.0, 2.0):
                head = {"suspects_told": told, "peers": profile, "stall_s": stall_s}
                yield head, partial(accused.accused, seed, 200, told, profile, stall_s)


def partitions(seed: int, size_max: int) -> Cells:
    """G10. The last rows: parted for longer than failed members are remembered."""
    for size, smaller in ((10, 5), (10, 1), (40, 20), (40, 4)):
        for seconds in (10.0, 60.0, 600.0):
            if size <= size_max:
                head = {"size": size, "smaller": smaller, "seconds": seconds, "kept_s": 86400}
                yield head, partial(lives.partition, seed, size, smaller, seconds)
    head = {"size": 10, "smaller": 5, "seconds": 900.0, "kept_s": 300}
    yield head, partial(lives.partition, seed, 10, 5, 900.0, reconnect_timeout_s=300.0)


def links(seed: int, size_max: int) -> Cells:
    """G11."""
    for size in (10, 100):
        for link in disasters.LINKS:
            for tcp in (True, False):
                if size <= size_max:
                    head = {"size": size, "link": link, "tcp": tcp}
                    yield head, partial(disasters.one_way, seed, size, link, tcp_pings=tcp)


def pauses(seed: int, size_max: int) -> Cells:
    """G12. Without noticing its stalls a member is as one whose clock does not jump."""
    for size in (32, 128):
        for seconds in (1.0, 5.0, 20.0, 60.0, 600.0):
            for stall_min_s in (0.5, 0.0):
                if size <= size_max and (size < 100 or seconds < 600.0):
                    head = {"size": size, "seconds": seconds, "notices": bool(stall_min_s)}
                    measure = partial(disasters.pause, seed, size, seconds)
                    yield head, partial(measure, stall_min_s=stall_min_s)


def joins(seed: int, size_max: int) -> Cells:
    """G13."""
    for size, rates in ((10, (0.0, 100.0)), (100, (0.0, 100.0)), (300, (0.0,))):
        for seeds in (1, 3):
            for rate in rates:
                if size <= size_max:
                    head = {"size": size, "seeds": seeds, "per_second": rate}
                    yield head, partial(lives.mass_join, seed, size, seeds, rate)


def churns(seed: int, size_max: int) -> Cells:
    """G14: five minutes each."""
    for size in (100, 1000):
        for part in (0.001, 0.01, 0.05):
            if size <= size_max:
                yield {"size": size, "part": part}, partial(churning.churn, seed, size, part)


def names(seed: int, size_max: int) -> Cells:
    """G16."""
    for size in (5, 32):
        for case in lives.NAME_CASES:
            yield {"size": size, "case": case}, partial(_name_case, seed, size, case)
        yield {"size": size, "case": "two live bearers"}, partial(_two_bearers, seed, size)


def _name_case(seed: int, size: int, case: str) -> dict[str, Any]:
    after = [lives.name_case(seed + run, size, case) for run in range(NAME_RUNS)]
    return {"median": report.median(after), "max": max(after)}


def _two_bearers(seed: int, size: int) -> dict[str, Any]:
    both = [lives.two_bearers(seed + run, size) for run in range(NAME_RUNS)]
    return {"first": sum(a for a, _ in both), "second": sum(b for _, b in both)}


def query_answers(seed: int, size_max: int) -> Cells:
    """G18."""
    for size in (10, 100):
        for loss in (0.0, 0.1, 0.25):
            for relays in (0, 1, 3):
                if size <= size_max:
                    head = {"size": size, "loss": loss, "relays": relays}
                    yield head, partial(_answers, seed, size, loss, relays)


def _answers(seed: int, size: int, loss: float, relays: int) -> dict[str, Any]:
    runs = 10 if size == 10 else 3
    parts = [lives.answered(seed + run, size, loss, relays) for run in range(runs)]
    return {"mean": sum(parts) / runs, "least": min(parts), "runs": runs}


def floods(seed: int, size_max: int) -> Cells:
    """G19."""
    quick = {"gossip_nodes": 6, "gossip_interval_s": 0.1}
    plan: list[tuple[float, int, dict[str, Any]]] = [
        (1, 100, {}), (10, 100, {}), (100, 100, {}), (100, 480, {}), (500, 20, {}),
        (100, 480, quick),
    ]  # fmt: skip
    for rate, length, changes in plan:
        each_s = 1 / changes.get("gossip_interval_s", 0.2) * changes.get("gossip_nodes", 3)
        head = {"size": 32, "rate": rate, "length": length, "gossip_packets_s": each_s}
        yield head, partial(lives.flood, seed, 32, rate, length, **changes)


def fits(seed: int, size_max: int) -> Cells:
    """G20."""
    for size in (100, 1000):
        for shape in places.SHAPES:
            updates = (100, 1000) if size == 100 else (100,)
            if size <= size_max:
                head = {"size": size, "shape": shape}
                yield head, partial(places.fit, seed, size, shape, updates)


def mixtures(seed: int, size_max: int) -> Cells:
    """G22."""
    for size in (10, 100):
        for share in (0.0, 0.1, 0.5, 0.9, 1.0):
            if size <= size_max:
                head = {"size": size, "share": share}
                yield head, partial(disasters.mixed, seed, size, share)


MORE: dict[str, Callable[[int, int], Cells]] = {
    "crashes": crashes_at_once,
    "intervals": intervals,
    "overloads": overloads,
    "accusations": accusations,
    "partitions": partitions,
    "links": links,
    "pauses": pauses,
    "joins": joins,
    "churns": churns,
    "names": names,
    "queries": query_answers,
    "floods": floods,
    "fits": fits,
    "mixtures": mixtures,
}
