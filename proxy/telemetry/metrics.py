"""Counters of a proxy's requests, by bounded sets of labels (contract D.14). Pure.

Names and labels are interface. What comes from outside is never a label as it came: a method that
is none of HTTP's is ``OTHER``, a source beyond the first ``SOURCES_MAX`` is ``other``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.telemetry.entry import IN, OUT, Entry, Notes
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


class _Cell:
    """One number that grows; of an edge also when it did last (Unix time)."""

    __slots__ = ("count", "last_at")

    def __init__(self) -> None:
        self.count = 0
        self.last_at = 0.0


Table = dict[Labels, _Cell]


def _cell(table: Table, labels: Labels) -> _Cell:
    cell = table.get(labels)
    if cell is None:
        cell = table[labels] = _Cell()
    return cell


@dataclass(slots=True)
class _Places:
    """Where one kind of request counts. ``decided``: as an edge and as a decision."""

    requests: _Cell
    durations: _Histogram
    rx: _Cell
    tx: _Cell
    decided: tuple[_Cell, ...]


class RequestMetrics:
    """What the entries of one proxy come to."""

    def __init__(self, *, per_endpoint: bool = False) -> None:
        self.per_endpoint = per_endpoint
        self._service: Labels = ()
        self._name = ""
        self._requests: Table = {}
        self._durations: dict[Labels, _Histogram] = {}
        self._bytes: Table = {}
        self._decisions: Table = {}
        self._timeouts: Table = {}
        self._overflows: Table = {}
        self._retries: Table = {}
        #: Where a kind of request counts. What is in labels is bounded; the kinds that are
        #: remembered are as well.
        self._made: dict[tuple[object, ...], _Places] = {}
        self._edges: dict[tuple[str, str, str], _Cell] = {}
        self._sources: set[str] = set()
        self.rejects = 0

    def name(self, service: str, datacenter: str) -> None:
        """Whose proxy it is: the labels that every metric has."""
        self._service, self._name = (("service", service), ("dc", datacenter)), service

    def add(self, entry: Entry) -> None:
        """A request is over."""
        self.count(
            entry.direction, entry.service, entry.peer, entry.method, entry.code,
            entry.grpc_status, entry.duration_s, entry.notes, entry.at,
        )  # fmt: skip

    def count(
        self,
        direction: str,
        service: str,
        peer: str,
        method: str,
        code: int,
        grpc_status: str,
        duration_s: float,
        notes: Notes,
        at: float,
    ) -> None:
        """A request is over: what of it counts, without the rest of an entry."""
        endpoint = notes.endpoint if self.per_endpoint else ""
        kind = (
            direction, notes.upstream, notes.subset, endpoint, code, grpc_status, method, service,
            peer, notes.decision, notes.precedence,
        )  # fmt: skip
        places = self._made.get(kind)
        if places is None:
            if len(self._made) >= _MADE_MAX:
                self._made.clear()
            places = self._made[kind] = self._places(
                direction, service, peer, method, code, grpc_status, notes
            )
        places.requests.count += 1
        places.durations.add(duration_s)
        places.rx.count += notes.rx_bytes
        places.tx.count += notes.tx_bytes
        for each in places.decided:
            each.count += 1
            each.last_at = at
        if notes.flags:
            if _TIMEOUTS in notes.flags:
                _cell(self._timeouts, (("kind", "request"),)).count += 1
            if _OVERFLOWS in notes.flags:
                _cell(self._overflows, (("limit", "requests"),)).count += 1
        if direction == OUT and notes.tries > 1:
            labels: Labels = (("upstream", notes.upstream),)
            _cell(self._retries, labels).count += notes.tries - 1

    def _places(
        self,
        way: str,
        service: str,
        peer: str,
        method: str,
        code: int,
        grpc_status: str,
        notes: Notes,
    ) -> _Places:
        direction = ("direction", way)
        about: Labels = (direction,)
        if way == OUT:
            about += (("upstream", notes.upstream), ("subset", notes.subset))
            if self.per_endpoint:
                about += (("endpoint", notes.endpoint),)
        known = method if method in _METHODS else "OTHER"
        digits = grpc_status.isascii() and grpc_status.isdigit()
        grpc = grpc_status if digits else ""
        grpc = grpc if not grpc or (len(grpc) < 3 and int(grpc) <= 16) else "2"
        requests = (*about, ("code", str(code)), ("grpc_status", grpc), ("method", known))
        klass: Labels = (*about, ("code_class", f"{code // 100}xx"))
        return _Places(
            _cell(self._requests, requests),
            self._durations.setdefault(klass, _Histogram()),
            _cell(self._bytes, (direction, ("way", "rx"))),
            _cell(self._bytes, (direction, ("way", "tx"))),
            self._decided(service, self.source(peer), code, notes) if way == IN else (),
        )

    def _decided(self, service: str, source: str, code: int, notes: Notes) -> tuple[_Cell, ...]:
        result = "denied" if notes.decision == "deny" else "failed" if code >= 500 else "ok"
        edge = self._edges.setdefault((source, service, result), _Cell())
        if not notes.decision:
            return (edge,)
        labels: Labels = (
            ("source", source),
            ("decision", notes.decision),
            ("layer", "l7"),
            ("precedence", str(notes.precedence)),
        )
        return edge, _cell(self._decisions, labels)

    def connected(self, peer: str, *, allowed: bool, at: float) -> None:
        """Somebody from the mesh connected where no requests are seen; ``at`` is Unix time."""
        result = "ok" if allowed else "denied"
        edge = self._edges.setdefault((self.source(peer), self._name, result), _Cell())
        edge.count += 1
        edge.last_at = max(edge.last_at, at)

    def source(self, peer: str) -> str:
        """A client's name as a label."""
        name = peer.rpartition("/svc/")[2]
        if name not in self._sources:
            if len(self._sources) >= SOURCES_MAX:
                return "other"
            self._sources.add(name)
        return name

    def edges(self) -> list[dict[str, object]]:
        """Who asked whom how often and when last, for a view of the topology. Where the proxy sees
        no requests, connections are counted."""
        return [
            {
                "Source": source,
                "Destination": destination,
                "Result": result,
                "Requests": cell.count,
                "LastAt": cell.last_at,
            }
            for (source, destination, result), cell in sorted(
                self._edges.items(), key=lambda item: item[0]
            )
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
            values = {labels: cell.count for labels, cell in counted.items()}
            values = values or dict.fromkeys(at_zero[name], 0)
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
