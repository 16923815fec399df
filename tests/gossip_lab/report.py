"""Figures out of observations: quantiles, ratios, tables in Markdown, plots."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.gossip_lab.plots import Axis, Line, chart

Rows = list[dict[str, Any]]


def quantile(values: Sequence[float], fraction: float) -> float:
    """The smallest value that at least this fraction does not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def fewer(before: int, after: int) -> str:
    """How many times fewer; of nothing left, only a bound can be stated."""
    if before == 0:
        return "-"
    if after == 0:
        return f"> {before / 3:.0f}"
    return f"{before / after:.0f}" if before / after >= 10 else f"{before / after:.1f}"


def table(header: str, rows: Sequence[Sequence[object]]) -> str:
    """Markdown; the header's cells are parted by `` | ``."""
    lines = [f"| {header} |", "|" + "---|" * len(header.split(" | "))]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        if math.isinf(value):
            return "never"
        return "-" if math.isnan(value) else f"{value:.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def dumps(done: dict[str, Any]) -> str:
    """Results as they are kept: one row a line, six significant digits."""
    rows = done.pop("rows")
    head = json.dumps(done)[:-1]
    lines = ",\n".join(json.dumps(_rounded(row)) for row in rows)
    return f'{head}, "rows": [\n{lines}\n]}}\n'


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def write(folder: Path) -> str:
    """Plots beside the results, and all tables as Markdown."""
    pages = []
    for section, render in SECTIONS.items():
        path = folder / f"{section}.json"
        if path.exists():
            done = json.loads(path.read_text())
            pages.append(f"### {section}\n\nSeed {done['seed']}, `{done['command']}`\n")
            pages.append(render(done["rows"], folder))
    return "\n".join(pages)


def _failure(rows: Rows, folder: Path) -> str:
    lossless = [row for row in rows if not row["loss"]]
    curves = [
        Line(f"{row['size']:,} members", [(1e3 * t, p) for p, t in enumerate(row["curve"], 1)])
        for row in lossless
        if row["size"] >= 100 and row["curve"]
    ]
    picture = chart(
        "After the first member knew of a failure",
        Axis("ms"),
        Axis("% of the members know", low=0),
        curves,
    )
    (folder / "dissemination.svg").write_text(picture)
    sizes = chart(
        "Crash of one member: seconds until known",
        Axis("members", logarithmic=True),
        Axis("s", low=0),
        [
            Line("first, measured", [(r["size"], r["first"]["median"]) for r in lossless]),
            Line("first, expected", [(r["size"], r["expected_first"]) for r in lossless]),
            Line("all, measured", [(r["size"], r["all"]["median"]) for r in lossless]),
            Line("suspected", [(r["size"], r["suspect"]["median"]) for r in lossless]),
        ],
    )
    (folder / "detection.svg").write_text(sizes)
    return table(
        "members | loss | crashes | suspected | first dead | expected | "
        "all know | max | 50 % / 99 % / all after the first, ms | missed | packets",
        [
            [
                row["size"],
                f"{row['loss']:.0%}",
                row["crashes"],
                row["suspect"]["median"],
                row["first"]["median"],
                row["expected_first"],
                row["all"]["median"],
                row["all"]["max"],
                " / ".join(f"{1e3 * row[f'spread_{p}']['median']:.1f}" for p in (50, 99, 100)),
                row["missed"],
                row["packets"],
            ]
            for row in rows
        ],
    )


def _quiet(rows: Rows, folder: Path) -> str:
    return table(
        "members | packets/s | bytes/s | exchanges/s | "
        "records in exchanges/s | CPU µs/s | memory, bytes",
        [
            [
                row["size"],
                row["packets"],
                row["packet_bytes"],
                f"{row['exchanges']:.4f}",
                row["exchange_nodes"],
                row["cpu_us"],
                int(row["memory_bytes"]) or "",
            ]
            for row in rows
        ],
    )


def _spread(rows: Rows, folder: Path) -> str:
    return table(
        "members | loss | runs | 50 %, ms | 90 % | 99 % | all | "
        "runs that reached all | missed a run | copies a member",
        [
            [
                row["size"],
                f"{row['loss']:.0%}",
                row["runs"],
                *(1e3 * row[f"at_{p}"] for p in (50, 90, 99, 100)),
                row["whole"],
                row["missed"],
                row["copies"],
            ]
            for row in rows
        ],
    )


def _theory(rows: Rows, folder: Path) -> str:
    return table(
        "delivered | helpers | probes | expected | measured | standard errors apart",
        [
            [
                row["delivered"],
                row["helpers"],
                row["probes"],
                f"{row['expected']:.5f}",
                f"{row['measured']:.5f}",
                row["standard_errors"],
            ]
            for row in rows
        ],
    )


def _alarms(rows: Rows, folder: Path) -> str:
    cells = sorted({(row["held"], row["seconds"]) for row in rows})
    names = list(dict.fromkeys(row["variant"] for row in rows))
    found = _summed(rows)
    longest = max(seconds for _, seconds in cells)
    series = [
        Line(
            name,
            [
                (held, found[held, longest, name]["about_healthy"] + 1)
                for held, seconds in cells
                if seconds == longest and (held, longest, name) in found
            ],
        )
        for name in names
    ]
    picture = chart(
        f"False alarms about healthy members, held for {longest:.1f} s",
        Axis("members held at once, of 128"),
        Axis("alarms + 1", logarithmic=True, low=1),
        [line for line in series if len(line.points) > 1],
    )
    (folder / "alarms.svg").write_text(picture)
    return _alarm_table(rows)


def _grace(rows: Rows, folder: Path) -> str:
    return _alarm_table(rows)


def _stopped(rows: Rows, folder: Path) -> str:
    return _alarm_table(rows)


def _alarm_table(rows: Rows) -> str:
    cells = sorted({(row["held"], row["seconds"]) for row in rows})
    names = list(dict.fromkeys(row["variant"] for row in rows))
    found = _summed(rows)
    body = [
        [held, seconds] + [_alarm_cell(found.get((held, seconds, name))) for name in names]
        for held, seconds in cells
    ]
    sums: list[object] = ["sum", "where both ran"]
    first = names[0]
    for name in names:
        both = [c for c in cells if (*c, name) in found and (*c, first) in found]
        plain = sum(found[*c, first]["about_healthy"] for c in both)
        here = sum(found[*c, name]["about_healthy"] for c in both)
        times = "" if name == first or not plain else f" ({fewer(plain, here)} times fewer)"
        sums.append(f"{here:,}{times}")
    return table(" | ".join(["held", "for, s", *names]), [*body, sums])


def _summed(rows: Rows) -> dict[tuple[Any, ...], dict[str, Any]]:
    """By cell and variant, the counts of all seeds together."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row["held"], row["seconds"], row["variant"])
        before = found.get(key)
        counts = ("runs", "about_healthy", "healthy_about_healthy")
        found[key] = row if before is None else row | {n: row[n] + before[n] for n in counts}
    return found


def _alarm_cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    about = f"{row['about_healthy']:,}"
    return f"{about} ({row['healthy_about_healthy']:,})" if row["about_healthy"] else about


def _latency(rows: Rows, folder: Path) -> str:
    return table(
        "variant | suspicion_mult | crashes | first dead, s | all know, s",
        [[row[key] for key in ("variant", "alpha", "crashes", "first", "all")] for row in rows],
    )


def _joins(rows: Rows, folder: Path) -> str:
    ways = sorted({(row["seeds"], row["per_second"]) for row in rows})
    lines = [
        Line(
            f"{seeds} asked, {f'{rate:.0f}/s' if rate else 'at once'}",
            [
                (row["size"], row["settled_after"])
                for row in rows
                if (row["seeds"], row["per_second"]) == (seeds, rate)
            ],
        )
        for seeds, rate in ways
    ]
    picture = chart(
        "Seconds until a joined ring is one", Axis("members", logarithmic=True), Axis("s", low=0),
        [line for line in lines if len(line.points) > 1],
    )  # fmt: skip
    (folder / "joins.svg").write_text(picture)
    return plain(rows, "size", "seeds", "per_second")


def plain(rows: Rows, *head: str) -> str:
    """All columns as they are kept; rows that differ in the seed only become one, with the median
    and, where they are not all alike, the least and the largest value."""
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key != "seed"]
    found: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key) for key in head), []).append(row)
    several = any(len(alike) > 1 for alike in found.values())
    columns = [*head, *(key for key in columns if key not in head)]
    body = []
    for key, alike in found.items():
        measured = [
            _spread_of([row.get(name, "") for row in alike]) for name in columns[len(head) :]
        ]
        body.append([*key, *measured, *([len(alike)] if several else [])])
    return table(" | ".join([*columns, *(["rings"] if several else [])]), body)


def _spread_of(values: Sequence[Any]) -> object:
    if any(not isinstance(value, int | float) for value in values):
        return values[0]
    least, largest, middle = min(values), max(values), median(values)
    if least == largest:
        return middle
    return f"{_cell(middle)} ({_cell(least)} to {_cell(largest)})"


def _plainly(*head: str) -> Callable[[Rows, Path], str]:
    return lambda rows, folder: plain(rows, *head)


#: What is varied in each of the other sections.
HEADS: dict[str, tuple[str, ...]] = {
    "crashes": ("size", "part"),
    "intervals": ("held", "seconds", "pause_s", "variant"),
    "overloads": ("sick", "newest_first", "variant"),
    "accusations": ("suspects_told", "peers", "stall_s"),
    "partitions": ("size", "smaller", "seconds", "kept_s"),
    "links": ("size", "link", "tcp"),
    "pauses": ("size", "seconds", "notices"),
    "joins": ("size", "seeds", "per_second"),
    "churns": ("size", "part"),
    "names": ("size", "case"),
    "queries": ("size", "loss", "relays"),
    "floods": ("size", "rate", "length", "gossip_packets_s"),
    "fits": ("size", "shape", "updates"),
    "mixtures": ("size", "share"),
}
SECTIONS: dict[str, Callable[[Rows, Path], str]] = {
    "theory": _theory,
    "quiet": _quiet,
    "spread": _spread,
    "failure": _failure,
    "latency": _latency,
    "alarms": _alarms,
    "grace": _grace,
    "stopped": _stopped,
    **{name: _plainly(*head) for name, head in HEADS.items()},
    "joins": _joins,
}
