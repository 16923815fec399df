"""Streams that have a connection of their own (ADR 95), counted. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.telemetry.family import Family, Samples

#: What can become of an offer: it is taken; as many as may be are there already; no connection came
#: about; the other end of that is somebody else, or counts no more; nobody took it in time (a
#: connection that went to another process, an end that is full); the stream ended meanwhile.
TAKEN, FULL, FAILED, REFUSED, UNANSWERED, ENDED = RESULTS = (
    "taken", "full", "failed", "refused", "unanswered", "ended",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """Figures for metrics: streams now, offers by result, bytes read from applications and from
    the connections."""

    open: int
    results: Counter[str]
    from_app: int
    from_peer: int


def of_own(sides: Iterable[tuple[str, Standing]]) -> Iterator[Family]:
    """The metrics of both directions."""
    active: Samples = {}
    offers: Samples = {}
    moved: Samples = {}
    for way, standing in sides:
        active[way,] = standing.open
        offers |= {(way, result): float(standing.results[result]) for result in RESULTS}
        moved |= {(way, "app"): float(standing.from_app), (way, "peer"): float(standing.from_peer)}
    yield Family("own_streams_active", "gauge", ("direction",), active)
    yield Family("own_stream_offers_total", "counter", ("direction", "result"), offers)
    yield Family("own_stream_bytes_total", "counter", ("direction", "from"), moved)
