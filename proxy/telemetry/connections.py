"""Connections of a proxy and their handshakes, counted (contract D.14). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from proxy.telemetry.entry import EXPOSED, IN, OUT
from proxy.telemetry.family import LIVES_S, Family, Histogram, Histograms, Labels, Samples
from proxy.telemetry.greetings import OK, Greetings

TCP = "tcp"
PROTOCOLS = (TCP, "http", "http2", "grpc")
#: Peers that have samples of their own.
PEERS_MAX = 256
_WAYS = (IN, OUT)
Timed = dict[Labels, Histogram]


class ConnectionMetrics:
    """All connections of one proxy, with requests or without."""

    __slots__ = ("_active", "_lives", "_total")

    def __init__(self) -> None:
        self._total: Counter[tuple[str, str]] = Counter()
        self._active: Counter[tuple[str, str]] = Counter()
        self._lives = {way: Histogram(LIVES_S) for way in (*_WAYS, EXPOSED)}

    def began(self, direction: str, protocol: str) -> None:
        """One more."""
        self._total[direction, protocol] += 1
        self._active[direction, protocol] += 1

    def ended(self, direction: str, protocol: str, lived_s: float) -> None:
        """One less."""
        self._active[direction, protocol] -= 1
        self._lives[direction].add(max(0.0, lived_s))

    def never_was(self, direction: str, protocol: str) -> None:
        """It was something else: a tunnel, whose streams are what is counted."""
        self._total[direction, protocol] -= 1
        self._active[direction, protocol] -= 1

    def total(self, direction: str) -> int:
        """How many there were."""
        return sum(count for (way, _), count in self._total.items() if way == direction)

    def families(self) -> Iterator[Family | Histograms]:
        """What they come to."""
        labels = ("direction", "protocol")
        zeros = tuple((way, protocol) for way in _WAYS for protocol in PROTOCOLS)
        for name, kind, counted in (
            ("connections_total", "counter", self._total),
            ("connections_active", "gauge", self._active),
        ):
            samples: Samples = {key: float(count) for key, count in counted.items()}
            yield Family(name, kind, labels, samples, zeros)
        lives: Timed = {(("direction", way),): each for way, each in self._lives.items()}
        yield Histograms("connection_duration_seconds", lives)


class HandshakeMetrics:
    """Handshakes of TLS: those that others began, and ours."""

    __slots__ = ("_took", "inbound", "outbound")

    def __init__(self) -> None:
        self.inbound, self.outbound = Greetings(), Greetings()
        self._took = {way: Histogram() for way in _WAYS}
        self.inbound.on_success = self._took[IN].add
        self.outbound.on_success = self._took[OUT].add

    def families(self) -> Iterator[Family | Histograms]:
        """What they come to. Words for results and versions are ours, so there are few."""
        samples: Samples = {
            (way, result, version, "true" if resumed else "false"): float(count)
            for way, greetings in ((IN, self.inbound), (OUT, self.outbound))
            for (result, version, resumed), count in greetings.ended.items()
        }
        zeros = tuple((way, OK, "TLSv1.3", "false") for way in _WAYS)
        labels = ("direction", "result", "version", "resumed")
        yield Family("tls_handshakes_total", "counter", labels, samples, zeros)
        took: Timed = {(("direction", way),): each for way, each in self._took.items()}
        yield Histograms("tls_handshake_seconds", took)


def of_tunnels(peers: Iterable[tuple[str, int]]) -> Iterator[Family]:
    """Shared connections to and from each peer, and the streams that they carry."""
    links: Samples = {}
    streams: Samples = {}
    for peer, carried in peers:
        key = (peer if len(links) < PEERS_MAX or (peer,) in links else "other",)
        links[key] = links.get(key, 0.0) + 1.0
        streams[key] = streams.get(key, 0.0) + carried
    yield Family("tunnel_connections", "gauge", ("peer",), links)
    yield Family("tunnel_streams_active", "gauge", ("peer",), streams)
