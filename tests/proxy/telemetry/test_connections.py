"""What is counted of connections and handshakes."""

from __future__ import annotations

from proxy.telemetry.connections import PEERS_MAX, ConnectionMetrics, HandshakeMetrics, of_tunnels
from proxy.telemetry.entry import IN, OUT
from proxy.telemetry.family import Family, Histograms


def values(metrics: ConnectionMetrics | HandshakeMetrics) -> dict[tuple[str, ...], float]:
    return {
        (family.name, *(value for _, value in labels)): number
        for family in metrics.families()
        if isinstance(family, Family)
        for labels, number in family.lines()
    }


def test_a_tunnel_was_never_a_connection() -> None:
    metrics = ConnectionMetrics()
    for protocol in ("tcp", "tcp", "http"):
        metrics.began(IN, protocol)
    metrics.never_was(IN, "tcp")
    metrics.ended(IN, "http", 30.0)
    found = values(metrics)
    assert found["connections_total", IN, "tcp"] == found["connections_active", IN, "tcp"] == 1
    assert (found["connections_total", IN, "http"], found["connections_active", IN, "http"]) == (
        1,
        0,
    )
    assert found["connections_total", OUT, "grpc"] == 0
    lives = next(each for each in metrics.families() if isinstance(each, Histograms))
    assert lives.held[("direction", IN),].total_s == 30.0
    assert (metrics.total(IN), metrics.total(OUT)) == (2, 0)


def test_handshakes_by_their_end() -> None:
    metrics = HandshakeMetrics()
    metrics.inbound.open = 2
    metrics.inbound.over("ok", "TLSv1.3", True, 0.004)
    metrics.inbound.over("no_cert", "", False, 9.0)
    found = values(metrics)
    assert metrics.inbound.open == 0
    assert found["tls_handshakes_total", IN, "ok", "TLSv1.3", "true"] == 1
    assert found["tls_handshakes_total", IN, "no_cert", "", "false"] == 1
    assert found["tls_handshakes_total", OUT, "ok", "TLSv1.3", "false"] == 0
    took = next(each for each in metrics.families() if isinstance(each, Histograms))
    assert took.held[("direction", IN),].total_s == 0.004  # those that fail say nothing


def test_peers_of_tunnels_are_bounded() -> None:
    links, streams = of_tunnels((f"s{n}.dc1", 2) for n in range(2 * PEERS_MAX))
    assert len(links.samples) == PEERS_MAX + 1 and links.samples["other",] == PEERS_MAX
    assert sum(streams.samples.values()) == 4 * PEERS_MAX
