"""Traces: what came in goes out, what is malformed is as if it were not there."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.head import Request
from proxy.telemetry import trace
from proxy.telemetry.trace import Span

T, P = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def asked(*headers: tuple[str, str]) -> Request:
    return Request("GET", "/", 1, headers)


def span(*headers: tuple[str, str], sample: float = 0.0) -> Span:
    return trace.span_of(asked(*headers), random.Random(1), sample=sample)


def test_a_child_keeps_the_trace_and_has_an_id_of_its_own() -> None:
    found = span(("TraceParent", f"00-{T}-{P}-01"), ("tracestate", "a=b"))
    assert (found.trace_id, found.parent_id, found.sampled) == (T, P, True)
    assert found.span_id not in ("", P)
    given = asked(("TraceParent", f"00-{T}-{P}-01"), ("tracestate", "a=b"))
    out = dict(trace.written(given, found))
    assert out == {"traceparent": f"00-{T}-{found.span_id}-01", "tracestate": "a=b"}


@pytest.mark.parametrize(
    "value",
    [
        f"ff-{T}-{P}-01", f"00-{'0' * 32}-{P}-01", f"00-{T}-{'0' * 16}-01", f"00-{T}-{P}",
        f"00-{T}-{P}-01-x", f"00-{T[:-1]}-{P}-01", f"00-{T.upper()}-{P}-01", "", "x",
        f"00-{T}-{P}-01, 00-{T}-{P}-01",
    ],
)  # fmt: skip
def test_what_is_malformed_begins_anew(value: str) -> None:
    found = span(("traceparent", value), ("tracestate", "a=b"))
    assert found.trace_id != T and not found.parent_id and not found.sampled
    out = trace.written(asked(("traceparent", value), ("tracestate", "a=b")), found)
    assert [name for name, _ in out] == ["traceparent"]
    assert T not in out[0][1]


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert span(("traceparent", f"01-{T}-{P}-01-more")).trace_id == T


def test_b3_goes_out_as_it_came_and_w3c_too() -> None:
    single = span(("b3", f"{T}-{P}-1"))
    assert (single.trace_id, single.parent_id, single.sampled) == (T, P, True)
    out = dict(trace.written(asked(("b3", f"{T}-{P}-1")), single))
    assert out["b3"] == f"{T}-{single.span_id}-1" and out["traceparent"].startswith(f"00-{T}-")
    many = (("X-B3-TraceId", T[16:]), ("X-B3-SpanId", P), ("X-B3-Sampled", "1"))
    found = span(*many)
    assert found.trace_id == "0" * 16 + T[16:] and found.sampled
    out = dict(trace.written(asked(*many), found))
    assert out["x-b3-parentspanid"] == P and out["x-b3-spanid"] == found.span_id
    assert "X-B3-SpanId" not in out


def test_of_both_w3c_counts() -> None:
    found = span(("b3", f"{'1' * 32}-{P}-0"), ("traceparent", f"00-{T}-{P}-01"))
    assert found.trace_id == T and found.sampled


def test_new_traces_are_sampled_by_the_dice() -> None:
    rng = random.Random(7)
    sampled = sum(trace.span_of(asked(), rng, sample=0.1).sampled for _ in range(5000))
    assert 400 < sampled < 600


names = st.sampled_from(
    ["traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "a"]
)


@given(st.lists(st.tuples(names, st.text("0123456789abcdef-,=", max_size=70)), max_size=6))
def test_whatever_comes_what_goes_out_is_good(headers: list[tuple[str, str]]) -> None:
    given = asked(*headers)
    found = trace.span_of(given, random.Random(3), sample=0.5)
    out = trace.written(given, found)
    again = trace.span_of(asked(*out), random.Random(4), sample=0.0)
    assert (again.trace_id, again.parent_id) == (found.trace_id, found.span_id)
    assert again.sampled == found.sampled
    assert [v for n, v in out if n == "a"] == [v for n, v in headers if n == "a"]
