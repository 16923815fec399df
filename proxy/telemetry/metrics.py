"""Counters of a proxy's requests, by bounded sets of labels (contract D.14). Pure.

Names and labels are interface. What comes from outside is never a label as it came: a method that
is none of HTTP's is ``OTHER``, a source beyond the first ``SOURCES_MAX`` is ``other``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from proxy.telemetry.entry import IN, OUT, Entry
from proxy.telemetry.standing import Family, Labels

BUCKETS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
SOURCES_MAX = 256
_MADE_MAX = 1024
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)
_TIMEOUTS, _OVERFLOWS = "UT", "UO"


class _Histogram:
    __slots__ = ("counts", "total", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total = 0
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        self.total += 1
        self.total_s += seconds
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1


class RequestMetrics:
    """What the entries of one proxy come to."""

    def __init__(self, *, per_endpoint: bool = False) -> None:
        self.per_endpoint = per_endpoint
        self._service: Labels = ()
        self._requests: Counter[Labels] = Counter()
        self._durations: dict[Labels, _Histogram] = {}
        self._bytes: Counter[Labels] = Counter()
        self._decisions: Counter[Labels] = Counter()
        self._timeouts: Counter[Labels] = Counter()
        self._overflows: Counter[Labels] = Counter()
        self._retries: Counter[Labels] = Counter()
        #: Labels are made once for each kind of request; what is in them is bounded, the kinds that
        #: are remembered are as well.
        self._made: dict[tuple[object, ...], tuple[Labels, Labels, Labels, Labels]] = {}
        self._edges: Counter[tuple[str, str, str]] = Counter()
        self._sources: set[str] = set()
        self.rejects = 0

    def name(self, service: str, datacenter: str) -> None:
        """Whose proxy it is: the labels that every metric has."""
        self._service = (("service", service), ("dc", datacenter))

    def add(self, entry: Entry) -> None:
        """A request is over."""
        notes, outward = entry.notes, entry.direction == OUT
        endpoint = notes.endpoint if self.per_endpoint else ""
        kind = (
            entry.direction, notes.upstream, notes.subset, endpoint, entry.code,
            entry.grpc_status, entry.method,
        )  # fmt: skip
        made = self._made.get(kind)
        if made is None:
            if len(self._made) >= _MADE_MAX:
                self._made.clear()
            made = self._made[kind] = self._labels(entry)
        requests, klass, rx, tx = made
        self._requests[requests] += 1
        durations = self._durations.get(klass)
        if durations is None:
            durations = self._durations[klass] = _Histogram()
        durations.add(entry.duration_s)
        self._bytes[rx] += notes.rx_bytes
        self._bytes[tx] += notes.tx_bytes
        if _TIMEOUTS in notes.flags:
            self._timeouts[(("kind", "request"),)] += 1
        if _OVERFLOWS in notes.flags:
            self._overflows[(("limit", "requests"),)] += 1
        if outward and notes.tries > 1:
            self._retries[(("upstream", notes.upstream),)] += notes.tries - 1
        if entry.direction == IN:
            self._decided(entry)

    def _labels(self, entry: Entry) -> tuple[Labels, Labels, Labels, Labels]:
        """Of one kind of request: for requests, durations, bytes in and out."""
        notes, direction = entry.notes, ("direction", entry.direction)
        way: Labels = (direction,)
        if entry.direction == OUT:
            way += (("upstream", notes.upstream), ("subset", notes.subset))
            if self.per_endpoint:
                way += (("endpoint", notes.endpoint),)
        method = entry.method if entry.method in _METHODS else "OTHER"
        digits = entry.grpc_status.isascii() and entry.grpc_status.isdigit()
        grpc = entry.grpc_status if digits else ""
        grpc = grpc if not grpc or (len(grpc) < 3 and int(grpc) <= 16) else "2"
        return (
            (*way, ("code", str(entry.code)), ("grpc_status", grpc), ("method", method)),
            (*way, ("code_class", f"{entry.code // 100}xx")),
            (direction, ("way", "rx")),
            (direction, ("way", "tx")),
        )

    def _decided(self, entry: Entry) -> None:
        source = self.source(entry.peer)
        notes = entry.notes
        if notes.decision:
            self._decisions[
                (
                    ("source", source),
                    ("decision", notes.decision),
                    ("layer", "l7"),
                    ("precedence", str(notes.precedence)),
                )
            ] += 1
        denied = notes.decision == "deny"
        failed = entry.code >= 500
        self._edges[
            source, entry.service, "denied" if denied else "failed" if failed else "ok"
        ] += 1

    def source(self, peer: str) -> str:
        """A client's name as a label."""
        name = peer.rpartition("/svc/")[2]
        if name not in self._sources:
            if len(self._sources) >= SOURCES_MAX:
                return "other"
            self._sources.add(name)
        return name

    def edges(self) -> list[dict[str, object]]:
        """Who asked whom how often, for a view of the topology."""
        return [
            {"Source": source, "Destination": destination, "Result": result, "Requests": count}
            for (source, destination, result), count in sorted(self._edges.items())
        ]

    # Exposition.

    def text(
        self,
        gauges: Mapping[str, float],
        counters: Mapping[str, float],
        families: Sequence[Family] = (),
    ) -> str:
        """The Prometheus text format; plain gauges and counters of the whole proxy come along, and
        what stands elsewhere."""
        return "".join((*self._lines(gauges, counters), *self._families(families)))

    def _families(self, families: Sequence[Family]) -> Iterator[str]:
        for family in families:
            yield f"# TYPE lictor_proxy_{family.name} {family.kind}\n"
            for labels, number in family.lines():
                yield f"lictor_proxy_{family.name}{self._shown(labels)} {number:g}\n"

    def _lines(self, gauges: Mapping[str, float], counters: Mapping[str, float]) -> Iterator[str]:
        at_zero: dict[str, list[Labels]] = {
            "requests": [
                (("direction", way), ("code", "200"), ("grpc_status", ""), ("method", "GET"))
                for way in (IN, OUT)
            ],
            "bytes": [(("direction", d), ("way", w)) for d in (IN, OUT) for w in ("rx", "tx")],
            "timeouts": [(("kind", "request"),)],
            "overflow": [(("limit", "requests"),)],
            "intention_decisions": [
                (("source", ""), ("decision", d), ("layer", "l7"), ("precedence", "0"))
                for d in ("allow", "deny", "would_deny")
            ],
            "retries": [(("upstream", ""),)],
        }
        for name, counted in (
            ("requests", self._requests),
            ("bytes", self._bytes),
            ("timeouts", self._timeouts),
            ("overflow", self._overflows),
            ("intention_decisions", self._decisions),
            ("retries", self._retries),
        ):
            yield f"# TYPE lictor_proxy_{name}_total counter\n"
            values: dict[Labels, int] = dict(counted) or dict.fromkeys(at_zero[name], 0)
            for labels, value in sorted(values.items()):
                yield f"lictor_proxy_{name}_total{self._shown(labels)} {value}\n"
        yield from self._histograms()
        for name, number in sorted(counters.items()):
            yield f"# TYPE lictor_proxy_{name}_total counter\n"
            yield f"lictor_proxy_{name}_total{self._shown(())} {number:g}\n"
        for name, number in sorted(gauges.items()):
            yield f"# TYPE lictor_proxy_{name} gauge\n"
            yield f"lictor_proxy_{name}{self._shown(())} {number:g}\n"

    def _histograms(self) -> Iterator[str]:
        name = "lictor_proxy_request_duration_seconds"
        yield f"# TYPE {name} histogram\n"
        known = self._durations or {
            (("direction", way), ("code_class", "2xx")): _Histogram() for way in (IN, OUT)
        }
        for labels, histogram in sorted(known.items()):
            below = 0
            for most, count in zip((*BUCKETS_S, None), histogram.counts, strict=True):
                below += count
                bucket = (*labels, ("le", "+Inf" if most is None else f"{most:g}"))
                yield f"{name}_bucket{self._shown(bucket)} {below}\n"
            yield f"{name}_sum{self._shown(labels)} {histogram.total_s:.9g}\n"
            yield f"{name}_count{self._shown(labels)} {histogram.total}\n"

    def _shown(self, labels: Labels) -> str:
        pairs = (*self._service, *labels)
        return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in pairs) + "}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
