"""Who may use the server port, and who was turned away lately: from it, and from Raft's links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.backend.rpc.expiry import Held
from agent.config.schema import AgentConfig
from agent.errors import RequestError
from raftstore.raft.refusals import Refusal
from raftstore.records import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """What a server's port can tell. ``refused``: by reason, since the start."""

    certificates: Iterable[Held]
    refused: Mapping[str, int]
    refusals: Iterable[Refusal]
    peers_refused: Mapping[str, int]
    peer_refusals: Iterable[Refusal]


def explain_server_port(config: AgentConfig, view: PortView | None, now: float) -> Json:
    """Rules, certificates, counters and the last refusals. Raises RequestError(404) on a client."""
    if view is None:
        raise RequestError(404, "This agent is no server and has no server port")
    tls, limits = config.tls, config.limits
    last = [("port", each) for each in view.refusals]
    last += [("raft", each) for each in view.peer_refusals]
    return {
        "TLS": {
            "Enabled": tls.complete,
            "Raft": "only over TLS, from servers of this datacenter" if tls.complete else "plain",
            "Requests": _requests(config),
            "NodeIDRequired": tls.require_node_id,
            "MinVersion": tls.min_version,
            "Certificates": [
                {
                    "Kind": each.kind,
                    "Subject": each.subject,
                    "Serial": f"{each.serial:x}",
                    "ExpiresInSeconds": round(each.expires_at - now),
                }
                for each in view.certificates
            ],
        },
        "Limits": {
            "ConnectionsPerClient": limits.rpc_max_conns_per_client,
            "BytesPerClient": limits.rpc_client_bytes_max,
            "HandshakesAtOnce": limits.rpc_handshakes_max,
            "HandshakesPerSecond": limits.rpc_handshakes_per_second,
            "HandshakesPerSecondAndClient": limits.rpc_handshakes_per_client,
            "HandshakeTimeoutSeconds": limits.rpc_handshake_timeout_s,
            "FrameBytes": limits.rpc_frame_max,
            "RequestsPerConnection": limits.rpc_inflight_max,
        },
        "Refused": dict(view.refused),
        "PeersRefused": dict(view.peers_refused),
        "Last": [
            {
                "By": by,
                "Reason": each.reason,
                "Address": each.address,
                "Claims": each.claims,
                "Certificate": each.certificate,
                "Detail": each.detail,
                "Count": each.count,
                "SecondsAgo": round(now - each.at, 1),
            }
            for by, each in sorted(last, key=lambda pair: -pair[1].at)
        ],
    }


def _requests(config: AgentConfig) -> str:
    if not config.tls.complete:
        return "plain"
    return "only over TLS, with a certificate" if config.tls.verify_incoming else "TLS or plain"
