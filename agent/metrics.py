"""Names and exposition of metrics. The only place that knows the format.

Libraries count in plain ``Stats`` dataclasses; this module turns their fields into metrics at the
moment somebody reads them, so counting costs an attribute and a metric exists, at zero, from the
start. A number becomes a counter (``_total``) unless the field is declared a gauge here; a mapping
from a word to a number becomes one counter with the label ``kind``, a Histogram a histogram.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from agent.histogram import Histogram

#: Fields that go up and down, as "area.field"; everything else only grows.
_GAUGE_WORDS = (
    "_s",
    "_bytes_held",
    "_open",
    "_held",
    "_index",
    "health_score",
    "members",
    "services",
    "checks",
    "pending",
    "term",
    "_current",
    "waiting",
    "tcp_connections",
    "ready_answers",
)

#: Reads one area's counters; called at exposition time.
Source = Callable[[], Any]


class AgentMetrics(Collector):
    """All metrics of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._sources: dict[str, Source] = {}
        self._prefix = "lictor"
        self._tells: Callable[[str], bool] = lambda name: True
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def choose(self, prefix: str, tells: Callable[[str], bool]) -> None:
        """Tell only metrics for which ``tells`` says so, under names that begin with ``prefix``."""
        self._prefix, self._tells = prefix, tells

    def add(self, area: str, source: Source) -> None:
        """Expose what ``source`` returns as ``<prefix>_<area>_...``."""
        assert area not in self._sources, f"metrics area {area} is taken"
        self._sources[area] = source

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now (called by prometheus_client)."""
        for area, source in self._sources.items():
            stats = source()
            for name, value in _fields(stats):
                full = f"{self._prefix}_{area}_{name}"
                metric = _metric(full, name, value) if self._tells(full) else None
                if metric is not None:
                    yield metric

    def text(self) -> str:
        """The Prometheus text format."""
        return generate_latest(self.registry).decode()

    def flat(self) -> dict[str, dict[str, str]]:
        """The same numbers as Consul's `Stats` sections: section -> key -> text."""
        sections: dict[str, dict[str, str]] = {}
        for area, source in self._sources.items():
            sections[area] = {
                name: str(value)
                for name, value in _fields(source())
                if isinstance(value, int | float | str)
            }
        return sections


def _fields(stats: Any) -> Iterator[tuple[str, Any]]:
    """Names and values; those of a part within the part get its name in front."""
    if isinstance(stats, Mapping):
        yield from stats.items()
        return
    for field in dataclasses.fields(stats):
        value = getattr(stats, field.name)
        if dataclasses.is_dataclass(value):
            yield from ((f"{field.name}_{name}", inner) for name, inner in _fields(value))
        else:
            yield field.name, value


def _metric(full: str, name: str, value: Any) -> Metric | None:
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, int | float):
        if name.endswith(_GAUGE_WORDS):
            return GaugeMetricFamily(full, name.replace("_", " "), value=value)
        return CounterMetricFamily(full, name.replace("_", " "), value=value)
    if isinstance(value, Histogram):
        buckets, total = value.buckets(), value.total
        return HistogramMetricFamily(full, name.replace("_", " "), buckets=buckets, sum_value=total)
    if isinstance(value, Mapping) and all(isinstance(n, int | float) for n in value.values()):
        family = CounterMetricFamily(full, name.replace("_", " "), labels=["kind"])
        for kind, number in value.items():
            family.add_metric([str(kind)], number)
        return family
    return None
