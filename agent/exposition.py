"""Exposition of metrics. The only place that knows the format.

A number becomes a counter (``_total``) unless its field is declared a gauge here; a mapping from a
word to a number becomes one counter with the label ``kind``, a Histogram a histogram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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


class Exposition(Collector):
    """The metrics of this process, for whoever reads them."""

    def __init__(self, fields: Callable[[], Iterable[tuple[str, str, Any]]]) -> None:
        """``fields`` gives full name, short name and value of each."""
        self._fields = fields
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now (called by prometheus_client)."""
        for full, name, value in self._fields():
            metric = _metric(full, name, value)
            if metric is not None:
                yield metric

    def text(self) -> str:
        """The Prometheus text format."""
        return generate_latest(self._registry).decode()


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
