"""The lines an agent prints before its log begins (cli-config contract, A2); tools read them."""

from __future__ import annotations

from agent import VERSION
from agent.config.schema import AgentConfig


def banner(config: AgentConfig) -> str:
    """The start-up banner. Faces that do not run are shown as -1."""
    expect = f"Bootstrap: {str(config.bootstrap).lower()}"
    listeners = (
        f"HTTP: {config.port_http}, HTTPS: {config.port_https}, gRPC: -1, DNS: {config.port_dns}"
    )
    wan = config.port_serf_wan if config.in_wan else -1
    outgoing, incoming = config.tls.dials_tls, config.tls.verify_incoming
    facts = (
        ("Version", f"'v{VERSION}'"),
        ("Node ID", f"'{config.node_id}'"),
        ("Node name", f"'{config.node_name}'"),
        ("Datacenter", f"'{config.datacenter}' (Segment: '{'<all>' if config.server else ''}')"),
        ("Server", f"{str(config.server).lower()} ({expect})"),
        ("Client Addr", f"[{' '.join(config.client_addrs)}] ({listeners})"),
        ("Cluster Addr", f"{config.advertise_addr} (LAN: {config.port_serf_lan}, WAN: {wan})"),
        (
            "Encrypt",
            f"Gossip: {str(bool(config.gossip_keys)).lower()}, "
            f"TLS-Outgoing: {str(outgoing).lower()}, TLS-Incoming: {str(incoming).lower()}, "
            "Auto-Encrypt-TLS: false",
        ),
    )
    lines = [f"{name:>18}: {value}" for name, value in facts]
    return "\n".join(
        [
            "==> Starting Consul agent...",
            *lines,
            "",
            "==> Log data will now stream in as it occurs:",
            "",
        ]
    )
