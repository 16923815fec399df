"""Stats become metrics, from the start and by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from agent.metrics import AgentMetrics


@dataclass
class Inner:
    """Counters of a part of it."""

    refusals: int = 0


@dataclass
class Stats:
    """Counters of a made-up part."""

    packets: int = 0
    lag_max_s: float = 0.0
    dropped: Counter[str] = field(default_factory=lambda: Counter({"garbage": 0}))
    name: str = "not a number"
    inner: Inner = field(default_factory=lambda: Inner())


def test_metrics_exist_at_zero_before_anything_happened() -> None:
    metrics = AgentMetrics()
    metrics.add("part", Stats)
    text = metrics.text()
    assert "lictor_part_packets_total 0.0" in text
    assert 'lictor_part_dropped_total{kind="garbage"} 0.0' in text
    assert "lictor_part_lag_max_s 0.0" in text
    assert "lictor_part_inner_refusals_total 0.0" in text
    assert "name" not in text.replace("process", "")


def test_values_are_read_when_asked() -> None:
    stats = Stats()
    metrics = AgentMetrics()
    metrics.add("part", lambda: stats)
    stats.packets = 7
    assert "lictor_part_packets_total 7.0" in metrics.text()
    assert metrics.flat()["part"]["packets"] == "7"
    assert metrics.flat()["part"]["inner_refusals"] == "0"


def test_an_area_has_one_owner() -> None:
    metrics = AgentMetrics()
    metrics.add("part", Stats)
    with pytest.raises(AssertionError):
        metrics.add("part", Stats)
