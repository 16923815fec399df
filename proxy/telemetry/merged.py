"""What several workers of one proxy tell, as one: sums of what is counted. Pure.

Every worker counts what it carried itself. Of what all of them know alike the newest, oldest or
largest is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_PREFIX = "lictor_proxy_"
#: Not sums: the oldest knowledge, the nearest end, what all have in common.
_NO_SUMS: Mapping[str, Callable[[float, float], float]] = {
    f"{_PREFIX}compiled": min,
    f"{_PREFIX}config_age_seconds": max,
    f"{_PREFIX}leaf_expiry_seconds": min,
    f"{_PREFIX}root_count": max,
    f"{_PREFIX}failover_active": max,
    f"{_PREFIX}ejected": max,
    f"{_PREFIX}endpoints": max,
    f"{_PREFIX}config_version": max,
    f"{_PREFIX}lb_ewma_seconds": max,
    f"{_PREFIX}lb_target_share": max,
}


def metrics(texts: Sequence[str]) -> str:
    """Prometheus texts as one, in the order in which things come first."""
    if len(texts) == 1:
        return texts[0]
    found: dict[str, float] = {}
    kinds: dict[str, str] = {}
    samples: dict[str, list[str]] = {}
    for text in texts:
        metric = ""
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                metric, kinds[line.split()[2]] = line.split()[2], line
                samples.setdefault(metric, [])
            elif line:
                name, _, number = line.rpartition(" ")
                value = float(number)
                if name not in found:
                    found[name] = value
                    samples.setdefault(metric, []).append(name)
                else:
                    found[name] = _NO_SUMS.get(metric, _sum)(found[name], value)
    lines: list[str] = []
    for metric, names in samples.items():
        if metric in kinds:
            lines.append(kinds[metric])
        lines += [f"{name} {_shown(found[name])}" for name in names]
    return "\n".join(lines) + "\n"


def _sum(one: float, other: float) -> float:
    return one + other


def _shown(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.9g}"


def edges(tables: Iterable[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Tables of who asked whom, as one."""
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for table in tables:
        for row in table:
            key = str(row["Source"]), str(row["Destination"]), str(row["Result"])
            there = merged.setdefault(key, {**row, "Requests": 0, "LastAt": 0.0})
            there["Requests"] += int(row["Requests"])
            there["LastAt"] = max(there["LastAt"], float(row["LastAt"]))
    return [merged[key] for key in sorted(merged)]


def explain(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the first knows, the clients of all, and each by itself under ``workers``."""
    if len(each) == 1:
        return dict(each[0])
    told: dict[str, Any] = dict(each[0])
    for name in ("clients", "http_clients"):
        sums: dict[str, int] = {}
        for one in each:
            for client, count in one.get(name, {}).items():
                sums[client] = sums.get(client, 0) + int(count)
        told[name] = sums
    return told | {"workers": [dict(one) for one in each]}
