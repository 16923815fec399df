"""Counters of a proxy's requests, by bounded sets of labels (contract D.14). Pure.

Names and labels are interface. What comes from outside is never a label as it came: a method that
is none of HTTP's is ``OTHER``, a source beyond the first ``SOURCES_MAX`` is ``other``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.telemetry.entry import IDLE, IN, OUT, TIMEOUT, Entry, Notes
from proxy.telemetry.family import (
    Family,
    Histogram,
    Histograms,
    LabelledCounts,
    Labels,
    Samples,
    quoted,
)
from proxy.telemetry.rejects import RULES, rule_of

SOURCES_MAX = 256
_MADE_MAX = 1024
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)
#: What may end a request before its answer: its own time, that of one try or of making a
#: connection, and silence.
TIMEOUTS = ("connect", "idle", "per_try", "request")
#: What is counted of limits here: those of an upstream are counted where they stand.
LAYERS = ("l4", "l7")
DECISIONS = ("allow", "deny", "would_deny")


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
    durations: Histogram
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
        self._durations: dict[Labels, Histogram] = {}
        self._bytes: Table = {}
        self._decisions: Table = {}
        self._timeouts: Counter[str] = Counter()
        self._rejects: Counter[str] = Counter()
        #: Where a kind of request counts. What is in labels is bounded; the kinds that are
        #: remembered are as well.
        self._made: dict[tuple[object, ...], _Places] = {}
        #: The same for connections without requests: their edge and their decision.
        self._met: dict[tuple[str, str, int, bool], tuple[_Cell, _Cell]] = {}
        self._edges: dict[tuple[str, str, str], _Cell] = {}
        self._sources: set[str] = set()

    def name(self, service: str, datacenter: str, subset: str = "") -> None:
        """Whose proxy it is: the labels that every metric has. ``subset`` is of a service behind a
        gateway, which has a proxy for each."""
        self._service, self._name = (("service", service), ("dc", datacenter)), service
        if subset:
            self._service = (*self._service, ("subset", subset))
        self._met.clear()

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
            direction, notes.upstream, notes.target, endpoint, code, grpc_status, method, service,
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
            if TIMEOUT in notes.flags:
                self._timeouts["request"] += 1
            if IDLE in notes.flags:
                self._timeouts["idle"] += 1

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
            target_dc = notes.target.rpartition(".")[2]
            about += (
                ("upstream", notes.upstream), ("subset", notes.subset), ("target_dc", target_dc),
            )  # fmt: skip
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
            self._durations.setdefault(klass, Histogram()),
            _cell(self._bytes, (direction, ("way", "rx"))),
            _cell(self._bytes, (direction, ("way", "tx"))),
            self._decided(service, self.source(peer), code, notes) if way == IN else (),
        )

    def _decided(self, service: str, source: str, code: int, notes: Notes) -> tuple[_Cell, ...]:
        result = "denied" if notes.decision == "deny" else "failed" if code >= 500 else "ok"
        edge = self._edges.setdefault((source, service, result), _Cell())
        if not notes.decision:
            return (edge,)
        return edge, self._decision(source, notes.decision, "l7", notes.precedence)

    def _decision(self, source: str, decision: str, layer: str, precedence: int) -> _Cell:
        labels = (
            ("source", source), ("decision", decision), ("layer", layer),
            ("precedence", str(precedence)),
        )  # fmt: skip
        return _cell(self._decisions, labels)

    def met(self, peer: str, decision: str, precedence: int, *, allowed: bool, at: float) -> None:
        """Somebody from the mesh connected where no requests are seen, and it was decided whether
        that may be; ``at`` is Unix time."""
        key = (peer, decision, precedence, allowed)
        cells = self._met.get(key)
        if cells is None:
            if len(self._met) >= _MADE_MAX:
                self._met.clear()
            source = self.source(peer)
            edge = (source, self._name, "ok" if allowed else "denied")
            cells = self._met[key] = (
                self._edges.setdefault(edge, _Cell()),
                self._decision(source, decision, "l4", precedence),
            )
        edges, decisions = cells
        edges.count += 1
        edges.last_at = max(edges.last_at, at)
        decisions.count += 1

    def decided(self, peer: str, decision: str, precedence: int) -> None:
        """Somebody's connection was let in or refused."""
        self._decision(self.source(peer), decision, "l4", precedence).count += 1

    def rejected(self, text: str) -> None:
        """What came broke a rule about messages, said in these words."""
        self._rejects[rule_of(text)] += 1

    def timed_out(self, kind: str) -> None:
        """A try has had its time, or a connection was not made in it."""
        self._timeouts[kind] += 1

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
        families: Sequence[Family | Histograms] = (),
    ) -> str:
        """The Prometheus text format; plain gauges and counters of the whole proxy come along, and
        what stands elsewhere."""
        shown = self._shown
        more = (line for family in families for line in family.text(shown))
        return "".join((*self._lines(gauges, counters), *more))

    def _lines(self, gauges: Mapping[str, float], counters: Mapping[str, float]) -> Iterator[str]:
        for family in self._own():
            yield from family.text(self._shown)
        for kind, numbers in (("counter", counters), ("gauge", gauges)):
            for name, number in sorted(numbers.items()):
                name = f"{name}_total" if kind == "counter" else name
                yield from Family(name, kind, (), {(): float(number)}).text(self._shown)

    def _own(self) -> Iterator[Family | Histograms | LabelledCounts]:
        at_zero: dict[str, list[Labels]] = {
            "requests": [
                (("direction", way), ("code", "200"), ("grpc_status", ""), ("method", "GET"))
                for way in (IN, OUT)
            ],
            "bytes": [(("direction", d), ("way", w)) for d in (IN, OUT) for w in ("rx", "tx")],
            "intention_decisions": [
                (("source", ""), ("decision", d), ("layer", layer), ("precedence", "0"))
                for layer in LAYERS
                for d in DECISIONS
            ],
        }
        for name, counted in (
            ("requests", self._requests),
            ("bytes", self._bytes),
            ("intention_decisions", self._decisions),
        ):
            values = {labels: cell.count for labels, cell in counted.items()}
            yield LabelledCounts(f"{name}_total", values or dict.fromkeys(at_zero[name], 0))
        yield Histograms(
            "request_duration_seconds",
            self._durations,
            {(("direction", way), ("code_class", "2xx")): Histogram() for way in (IN, OUT)},
        )
        for name, label, few, known in (
            ("timeouts_total", "kind", self._timeouts, TIMEOUTS),
            ("http_rejects_total", "rule", self._rejects, RULES),
        ):
            samples: Samples = {(each,): float(few[each]) for each in known}
            yield Family(name, "counter", (label,), samples)

    def _shown(self, labels: Labels) -> str:
        pairs = (*self._service, *labels)
        return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in pairs) + "}"
