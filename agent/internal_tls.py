"""The server port as configured: its bounds, whether there is TLS, and what a reload may do.

The certificates themselves are read and judged in agent/backend/rpc/tls.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.backend.rpc.admission import HandshakeRates
from agent.backend.rpc.server import ServerPort, ServerPortConfig
from agent.config.schema import AgentConfig
from agent.errors import ConfigError
from agent.explain.server_port import PortView

if TYPE_CHECKING:
    from agent.backend.rpc.tls import RpcTls
    from raftstore.store import Store


def load_tls(config: AgentConfig, node_id: str) -> RpcTls | None:
    """This agent's certificates, None if it has none. Raises ConfigError."""
    if not (config.tls.has_ca or config.tls.cert_file):
        return None
    # A library of 9 MB: only for those who have certificates.
    from agent.backend.rpc.tls import Own, RpcTls

    own = Own(
        datacenter=config.datacenter,
        domain=config.dns.domain,
        server=config.server,
        node_id=node_id,
    )
    return RpcTls(config.tls, own, gives_out=config.auto_encrypt_allow_tls)


def reload_tls(tls: RpcTls | None, before: AgentConfig, after: AgentConfig) -> None:
    """Take over new certificates. Raises ConfigError and keeps the old ones."""
    if (before.tls.complete, before.tls.has_ca) != (after.tls.complete, after.tls.has_ca):
        raise ConfigError(
            "tls: certificates between agents cannot be added or taken away by a reload,"
            " only replaced; restart the agent"
        )
    if tls is not None:
        tls.reload(after.tls)


def port_config(config: AgentConfig) -> ServerPortConfig:
    """Where a server listens for other agents, and what it bears from them."""
    limits = config.limits
    return ServerPortConfig(
        host=config.bind_addr,
        port=config.port_server,
        datacenter=config.datacenter,
        node=config.node_name,
        frame_max=limits.rpc_frame_max,
        inflight_max=limits.rpc_inflight_max,
        conns_per_client_max=limits.rpc_max_conns_per_client,
        handshake_timeout_s=limits.rpc_handshake_timeout_s,
        handshakes_max=limits.rpc_handshakes_max,
        rates=HandshakeRates(
            per_client=limits.rpc_handshakes_per_client,
            client_burst=limits.rpc_max_conns_per_client,
            in_all=limits.rpc_handshakes_per_second,
            burst=2 * limits.rpc_handshakes_per_second,
            clients_max=limits.handshake_clients_max,
        ),
        client_bytes_max=limits.rpc_client_bytes_max,
    )


def port_view(tls: RpcTls | None, port: ServerPort, store: Store) -> PortView:
    """What the port and the links to other servers can tell of whom they turned away."""
    return PortView(
        certificates=() if tls is None else tls.held,
        refused=port.stats.refused,
        refusals=port.door.refusals.last(),
        peers_refused=store.metrics()["dropped"],
        peer_refusals=store.operations.refusals(),
    )
