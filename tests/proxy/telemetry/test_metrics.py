"""Metrics of requests: there from the start, in a form that is read, with bounded labels."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.entry import IN, OUT, TIMEOUT, Entry, Notes
from proxy.telemetry.metrics import SOURCES_MAX, RequestMetrics

ENTRY = Entry(at=0.0, direction=IN, service="db", peer="spiffe://t/ns/default/dc/d/svc/web",
              method="GET", code=200, duration_s=0.003)  # fmt: skip


def samples(metrics: RequestMetrics) -> dict[tuple[str, str], float]:
    text = metrics.text({"leaf_expiry_seconds": 3.0}, {"leaf_rotations": 2.0})
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_is_there_at_zero() -> None:
    metrics = RequestMetrics()
    metrics.name("db", "dc1")
    found = samples(metrics)
    names = {name for name, _ in found}
    assert names >= {
        "lictor_proxy_requests_total", "lictor_proxy_request_duration_seconds_bucket",
        "lictor_proxy_bytes_total", "lictor_proxy_intention_decisions_total",
        "lictor_proxy_timeouts_total", "lictor_proxy_http_rejects_total",
        "lictor_proxy_leaf_rotations_total", "lictor_proxy_leaf_expiry_seconds",
    }  # fmt: skip
    assert all("service=db" in labels and "dc=dc1" in labels for _, labels in found)
    assert sum(v for (name, _), v in found.items() if name.startswith("lictor_proxy_req")) == 0


def test_what_entries_come_to() -> None:
    metrics = RequestMetrics()
    metrics.name("db", "dc1")
    notes = Notes(decision="allow", precedence=9, rx_bytes=5, tx_bytes=7)
    metrics.add(replace(ENTRY, notes=notes))
    denied = Notes(decision="deny", precedence=9)
    metrics.add(replace(ENTRY, code=403, grpc_status="7", method="BREW", notes=denied))
    late = Notes(upstream="api", tries=3)
    late.flag(TIMEOUT)
    metrics.add(replace(ENTRY, direction=OUT, code=504, duration_s=99.0, notes=late))
    found = samples(metrics)

    def of(name: str, *labels: str) -> float:
        return sum(
            value
            for (each, shown), value in found.items()
            if each == name and all(label in shown.split(",") for label in labels)
        )

    assert of("lictor_proxy_requests_total", "direction=inbound", "code=200", "method=GET") == 1
    assert of("lictor_proxy_requests_total", "method=OTHER", "grpc_status=7") == 1
    assert of("lictor_proxy_requests_total", "upstream=api", "code=504") == 1
    bucket = "lictor_proxy_request_duration_seconds_bucket"
    assert of(bucket, "code_class=2xx", "le=0.0025") == 0
    assert of(bucket, "code_class=2xx", "le=0.005") == 1
    assert of(bucket, "code_class=5xx", "le=10.0") == 0 and of(bucket, "le=+Inf") == 3
    assert of("lictor_proxy_bytes_total", "direction=inbound", "way=tx") == 7
    assert of("lictor_proxy_intention_decisions_total", "decision=deny", "source=web") == 1
    assert (
        of("lictor_proxy_timeouts_total", "kind=request") == of("lictor_proxy_timeouts_total") == 1
    )
    metrics.decided("spiffe://t/ns/default/dc/d/svc/web", "would_deny", 9)
    found = samples(metrics)
    assert of("lictor_proxy_intention_decisions_total", "layer=l4", "decision=would_deny") == 1
    at = ENTRY.at
    assert metrics.edges() == [
        {"Source": "web", "Destination": "db", "Result": "denied", "Requests": 1, "LastAt": at},
        {"Source": "web", "Destination": "db", "Result": "ok", "Requests": 1, "LastAt": at},
    ]


def test_where_no_requests_are_seen_connections_are_counted() -> None:
    metrics = RequestMetrics()
    metrics.name("db", "dc1")
    for at, allowed in ((5.0, True), (7.0, True), (6.0, False)):
        word = "allow" if allowed else "deny"
        metrics.met("spiffe://t/ns/default/dc/dc1/svc/web", word, 9, allowed=allowed, at=at)
    assert [tuple(edge.values()) for edge in metrics.edges()] == [
        ("web", "db", "denied", 1, 6.0),
        ("web", "db", "ok", 2, 7.0),
    ]


@example([("", "\u00b2")])  # a digit that is no number
@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_nothing_from_outside_breaks_the_form(given: list[tuple[str, str]]) -> None:
    metrics = RequestMetrics()
    metrics.name('a"b\n', "dc1")
    for peer, text in given:
        metrics.add(
            replace(ENTRY, peer=f"spiffe://t/svc/{peer}", method=text, grpc_status=text,
                    notes=Notes(decision="allow"))
        )  # fmt: skip
    assert samples(metrics)


def test_labels_are_bounded() -> None:
    metrics = RequestMetrics()
    for number in range(3 * SOURCES_MAX):
        peer = f"spiffe://t/svc/s{number}"
        metrics.add(replace(ENTRY, peer=peer, method=f"M{number}", notes=Notes(decision="allow")))
    sources = {shown for name, shown in samples(metrics) if "intention_decisions" in name}
    assert len(sources) == SOURCES_MAX + 1
