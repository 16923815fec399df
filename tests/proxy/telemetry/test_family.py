"""Families of metrics as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.family import (
    LIVES_S,
    Family,
    Histogram,
    Histograms,
    LabelledCounts,
    Labels,
    quoted,
)


def shown(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in labels) + "}"


def test_what_stands_at_zero_stands_beside_what_was_counted() -> None:
    family = Family("x_total", "counter", ("a",), {("1",): 2.0}, (("1",), ("2",)))
    assert list(family.text(shown)) == [
        "# TYPE lictor_proxy_x_total counter\n",
        'lictor_proxy_x_total{a="1"} 2\n',
        'lictor_proxy_x_total{a="2"} 0\n',
    ]
    assert list(Family("x", "gauge", ("a", "b"), {}).lines()) == [((("a", ""), ("b", "")), 0.0)]


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_a_histogram_is_one_for_prometheus(times: list[float]) -> None:
    histogram = Histogram(LIVES_S)
    for each in times:
        histogram.add(each)
    text = "".join(Histograms("lives_seconds", {(("a", "1"),): histogram}).text(shown))
    (family,) = text_string_to_metric_families(text)
    counts = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert counts["+Inf"] == len(times) == histogram.total
    assert counts["60"] == sum(each <= 60 for each in times)


@given(st.text(), st.integers(0, 10**18))
def test_counts_are_exact_and_labels_are_read_back(value: str, count: int) -> None:
    text = "".join(
        LabelledCounts("x_total", {(("a", value.replace("\r", "")),): count}).text(shown)
    )
    assert text.rsplit(" ", 1)[1] == f"{count}\n"
