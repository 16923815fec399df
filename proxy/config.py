"""The proxy's limits and timings in one frozen value; decides nothing.

What to proxy (service, upstreams, rules) is not configuration but state and comes from a `Source`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.l7.limits import HttpLimits
from proxy.tunnel.limits import TunnelLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Bounds on everything that comes from outside.

    The defaults are those of the built-in proxy's contract (sections D.1, D.2 and D.11); a
    service's own registration may override the two dial timeouts and the handshake's.
    """

    #: Connections that may stand in the accept queue of a listener.
    backlog: int = 1024
    #: Inbound and outbound connections and streams of tunnels together; the one above is closed
    #: at accept. At a listener the tunnels that peers have opened count as well.
    connections_max: int = 16_384
    #: TLS handshakes under way at the public listener; the one above is closed at accept, so that
    #: half-open connections cost others nothing but a little patience (contract D.5).
    handshakes_max: int = 512
    #: From accept to an identified peer. Longer gives slow peers room, and slow attackers too.
    handshake_timeout_s: float = 10.0
    #: To reach the local application.
    local_connect_timeout_s: float = 5.0
    #: For the local application to answer a request.
    local_request_timeout_s: float = 15.0
    #: To reach another sidecar, its TLS handshake included.
    upstream_connect_timeout_s: float = 5.0
    #: Endpoints that are tried before an outbound connection is given up.
    dial_attempts_max: int = 3
    #: How long a refused or cut connection is read from (and thrown away), so that the peer sees
    #: an end of stream and not a reset, before it is aborted.
    linger_s: float = 1.0
    #: How long the last bytes of a finished connection may take to reach a slow reader.
    flush_max_s: float = 60.0
    #: Bytes that may wait for a slow reader before its writer is no longer read from.
    write_buffer_high_bytes: int = 262_144
    #: TCP keepalive: idle time, interval, probes (contract D.2).
    keepalive_idle_s: int = 60
    keepalive_interval_s: int = 10
    keepalive_probes: int = 3
    #: After SIGTERM: how long new connections are still taken, and how long old ones may finish.
    drain_grace_s: float = 5.0
    drain_timeout_s: float = 30.0
    #: After rules that let a request in no more: how long a stream (gRPC, an upgrade) still lives,
    #: and how long any other request that is under way may take to finish (contract B.6).
    intention_drain_s: float = 0.5
    intention_finish_s: float = 30.0
    #: How old a connection may be, more or less, whose client's certificate has ended.
    connection_age_s: float = 86_400.0
    #: A listener that cannot bind is tried again after this time (contract D.3).
    bind_retry_s: float = 5.0
    #: Refused connections that are remembered for `explain`.
    denials_kept_max: int = 128
    #: Answers of the policy that are remembered, by client identity.
    decisions_kept_max: int = 4096
    #: How many processes share the ports of this proxy (SO_REUSEPORT), and which of them we are.
    #: Bounds hold for each by itself, but for `connections_max`, of which each has its part.
    workers: int = 1
    worker: int = 0
    #: Whether connections to sidecars that can do it share warm ones: "auto" does where the peer
    #: can, "off" never, "require" dials nobody else. Plain connections are accepted always.
    tunnel: str = "auto"
    tunnel_limits: TunnelLimits = field(default_factory=TunnelLimits)
    http_limits: HttpLimits = field(default_factory=HttpLimits)
