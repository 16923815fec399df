"""Where a request stands in a trace: W3C Trace Context and B3 (contract D.16). Pure.

What came in goes out in the same form, and W3C always; of both, W3C counts. What is malformed is as
if it were not there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.http1.head import Headers, Request

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_HEX = re.compile(r"(?:[0-9a-f]{16}){1,2}")
_SPAN = re.compile(r"[0-9a-f]{16}")
_B3 = re.compile(r"([0-9a-f]{16}(?:[0-9a-f]{16})?)-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?")
STATE_MAX = 512
_NAMES = frozenset(
    {
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
    }
)
_NO_FORMS: frozenset[str] = frozenset()
_MULTI = ("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags")


@dataclass(frozen=True, slots=True)
class Span:
    """One hop. ``forms`` are the ways in which the trace came, beside W3C: "b3", "multi"."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = False
    forms: frozenset[str] = frozenset()


def told(request: Request) -> dict[str, str]:
    """The headers that are about traces; doubled ones are malformed, and joined."""
    values = request.by_name
    if _NAMES.isdisjoint(values):
        return {}
    return {name: value for name, value in values.items() if name in _NAMES}


def is_traced(request: Request) -> bool:
    """Whether it came with headers about traces."""
    return not _NAMES.isdisjoint(request.by_name)


def span_of(request: Request, rng: random.Random, *, sample: float) -> Span:
    """The span of this hop: a child of the caller's, or a new root that is sampled by the dice."""
    given = told(request)
    parent, forms = None, _NO_FORMS
    if given:
        parent = _of_w3c(given) or _of_b3(given)
        pairs = (("b3", "b3"), ("multi", "x-b3-traceid"))
        forms = frozenset(form for form, name in pairs if name in given)
    own = _id(rng, 16)
    if parent is None:
        return Span(_id(rng, 32), own, "", rng.random() < sample, forms)
    trace_id, span_id, sampled = parent
    return Span(trace_id, own, span_id, sampled, forms)


def written(request: Request, span: Span) -> Headers:
    """Headers for the next hop, to which this span is the parent."""
    given, headers = told(request), request.headers
    if not given:
        return (*headers, *made(span))
    dropped = {"traceparent", "b3", *_MULTI}
    if _of_w3c(given) is None or len(given.get("tracestate", "")) > STATE_MAX:
        dropped.add("tracestate")
    kept = [(name, value) for name, value in headers if name.lower() not in dropped]
    return (*kept, *made(span))


def made(span: Span) -> Sequence[tuple[str, str]]:
    """The headers of a span."""
    flag = "1" if span.sampled else "0"
    headers = [("traceparent", f"00-{span.trace_id}-{span.span_id}-0{flag}")]
    if "b3" in span.forms:
        headers.append(("b3", f"{span.trace_id}-{span.span_id}-{flag}"))
    if "multi" in span.forms:
        headers += [
            ("x-b3-traceid", span.trace_id),
            ("x-b3-spanid", span.span_id),
            ("x-b3-sampled", flag),
        ]
        if span.parent_id:
            headers.append(("x-b3-parentspanid", span.parent_id))
    return headers


def _of_w3c(given: Mapping[str, str]) -> tuple[str, str, bool] | None:
    found = _PARENT.fullmatch(given.get("traceparent", ""))
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    if not found[2].strip("0") or not found[3].strip("0"):
        return None
    return found[2], found[3], bool(int(found[4], 16) & 1)


def _of_b3(given: Mapping[str, str]) -> tuple[str, str, bool] | None:
    single = _B3.fullmatch(given.get("b3", "").lower())
    if single is not None:
        trace_id, span_id, sampled = single[1], single[2], single[3] in ("1", "d")
    else:
        trace_id = given.get("x-b3-traceid", "").lower()
        span_id = given.get("x-b3-spanid", "").lower()
        flags = given.get("x-b3-sampled"), given.get("x-b3-flags")
        sampled = flags[0] in ("1", "true") or flags[1] == "1"
        if not _HEX.fullmatch(trace_id) or not _SPAN.fullmatch(span_id):
            return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return trace_id.rjust(32, "0"), span_id, sampled


def _id(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits) or 1:0{digits}x}"
