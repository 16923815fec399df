"""The experiments on disasters, lives and places as they are published: sizes, runs, rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from tests.gossip_lab import churning, disasters, false_alarms, lives, places
from tests.gossip_lab.false_alarms import Anomaly, Cell

Rows = list[dict[str, Any]]


def _row(found: Any, **head: Any) -> dict[str, Any]:
    row = head | (found if isinstance(found, dict) else dataclasses.asdict(found))
    print(json.dumps(row), flush=True)
    return row


def crashes_at_once(seed: int, size_max: int) -> Rows:
    """G4."""
    plan = [(128, fraction) for fraction in (0.01, 0.05, 0.1, 0.3, 0.5)]
    plan += [(1000, fraction) for fraction in (0.1, 0.5)]
    return [
        _row(disasters.mass_crash(seed, size, part), size=size, part=part)
        for size, part in plan
        if size <= size_max
    ]


def intervals(seed: int, size_max: int) -> Rows:
    """G7: held again and again for two minutes."""
    rows = []
    for held in (4, 16):
        for seconds, pause_s in ((2.048, 1.024), (8.192, 1.024), (16.384, 4.096)):
            cell = Cell(held, seconds, pause_s, 120.0)
            for variant in ("SWIM", "Lifeguard"):
                found = false_alarms.alarms(seed, cell, Anomaly.BLOCKED, variant)
                row = {name: getattr(found, name) for name in found.__slots__}
                rate = found.packets / found.member_seconds
                head = {"held": held, "seconds": seconds, "pause_s": pause_s, "variant": variant}
                rows.append(_row(row | {"packets_s": rate}, **head))
    return rows


def overloads(seed: int, size_max: int) -> Rows:
    """G9."""
    return [
        _row(
            disasters.overloaded(seed, min(100, size_max), sick, variant, newest_first=newest),
            sick=sick,
            newest_first=newest,
            variant=variant,
        )
        for sick in (1, 4, 16, 32)
        for newest in (False, True)
        for variant in disasters.RULES
    ]


def partitions(seed: int, size_max: int) -> Rows:
    """G10. The last rows: parted for longer than failed members are remembered."""
    rows = []
    for size, smaller in ((10, 5), (10, 1), (40, 20), (40, 4)):
        for seconds in (10.0, 60.0, 600.0):
            if size <= size_max:
                found = lives.partition(seed, size, smaller, seconds)
                rows.append(_row(found, size=size, smaller=smaller, seconds=seconds, kept_s=86400))
    found = lives.partition(seed, 10, 5, 900.0, reconnect_timeout_s=300.0)
    return [*rows, _row(found, size=10, smaller=5, seconds=900.0, kept_s=300)]


def links(seed: int, size_max: int) -> Rows:
    """G11."""
    return [
        _row(disasters.one_way(seed, size, link, tcp_pings=tcp), size=size, link=link, tcp=tcp)
        for size in (10, 100)
        for link in disasters.LINKS
        for tcp in (True, False)
        if size <= size_max
    ]


def pauses(seed: int, size_max: int) -> Rows:
    """G12. Without noticing its stalls a member is as one whose clock does not jump."""
    return [
        _row(
            disasters.pause(seed, size, seconds, stall_min_s=stall_min_s),
            size=size,
            seconds=seconds,
            notices=bool(stall_min_s),
        )
        for size in (32, 128)
        for seconds in (1.0, 5.0, 20.0, 60.0, 600.0)
        for stall_min_s in (0.5, 0.0)
        if size <= size_max and (size < 100 or seconds < 600.0)
    ]


def joins(seed: int, size_max: int) -> Rows:
    """G13."""
    return [
        _row(lives.mass_join(seed, size, seeds, rate), size=size, seeds=seeds, per_second=rate)
        for size, rates in ((10, (0.0, 100.0)), (100, (0.0, 100.0)), (300, (0.0,)))
        for seeds in (1, 3)
        for rate in rates
        if size <= size_max
    ]


def churns(seed: int, size_max: int) -> Rows:
    """G14: five minutes each."""
    return [
        _row(churning.churn(seed, size, part), size=size, part=part)
        for size in (100, 1000)
        for part in (0.001, 0.01, 0.05)
        if size <= size_max
    ]


def names(seed: int, size_max: int) -> Rows:
    """G16."""
    rows = []
    for size in (5, 32):
        for case in lives.NAME_CASES:
            after = [lives.name_case(seed + run, size, case) for run in range(5)]
            rows.append(_row({"median": sorted(after)[2], "max": max(after)}, size=size, case=case))
        both = [lives.two_bearers(seed + run, size) for run in range(5)]
        stayed = {"first": sum(a for a, _ in both), "second": sum(b for _, b in both)}
        rows.append(_row(stayed, size=size, case="two live bearers"))
    return rows


def query_answers(seed: int, size_max: int) -> Rows:
    """G18."""
    rows = []
    for size in (10, 100):
        for loss in (0.0, 0.1, 0.25):
            for relays in (0, 1, 3):
                runs = 10 if size == 10 else 3
                parts = [lives.answered(seed + run, size, loss, relays) for run in range(runs)]
                found = {"mean": sum(parts) / runs, "least": min(parts), "runs": runs}
                rows.append(_row(found, size=size, loss=loss, relays=relays))
    return rows


def floods(seed: int, size_max: int) -> Rows:
    """G19."""
    quick = {"gossip_nodes": 6, "gossip_interval_s": 0.1}
    plan: list[tuple[float, int, dict[str, Any]]] = [
        (1, 100, {}), (10, 100, {}), (100, 100, {}), (100, 480, {}), (500, 20, {}),
        (100, 480, quick),
    ]  # fmt: skip
    rows = []
    for rate, length, changes in plan:
        found = lives.flood(seed, 32, rate, length, **changes)
        each_s = 1 / changes.get("gossip_interval_s", 0.2) * changes.get("gossip_nodes", 3)
        rows.append(_row(found, size=32, rate=rate, length=length, gossip_packets_s=each_s))
    return rows


def fits(seed: int, size_max: int) -> Rows:
    """G20."""
    return [
        _row(found, size=size, shape=shape)
        for size in (100, 1000)
        for shape in places.SHAPES
        for found in places.fit(seed, size, shape, (100, 1000) if size == 100 else (100,))
        if size <= size_max
    ]


def mixtures(seed: int, size_max: int) -> Rows:
    """G22."""
    return [
        _row(disasters.mixed(seed, size, share), size=size, share=share)
        for size in (10, 100)
        for share in (0.0, 0.1, 0.5, 0.9, 1.0)
        if size <= size_max
    ]


MORE: dict[str, Callable[[int, int], Rows]] = {
    "crashes": crashes_at_once,
    "intervals": intervals,
    "overloads": overloads,
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
