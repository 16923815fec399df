"""TLS between agents as configured: whether there is any, and what a reload may do.

The certificates themselves are read and judged in agent/backend/rpc/tls.py.
"""

from __future__ import annotations

from agent.backend.rpc.tls import Own, RpcTls
from agent.config.schema import AgentConfig
from agent.errors import ConfigError


def load_tls(config: AgentConfig, node_id: str) -> RpcTls | None:
    """This agent's certificates, None if it has none. Raises ConfigError."""
    if not (config.tls.has_ca or config.tls.cert_file):
        return None
    own = Own(
        datacenter=config.datacenter,
        domain=config.dns.domain,
        server=config.server,
        node_id=node_id,
    )
    return RpcTls(config.tls, own)


def reload_tls(tls: RpcTls | None, before: AgentConfig, after: AgentConfig) -> None:
    """Take over new certificates. Raises ConfigError and keeps the old ones."""
    if (before.tls.complete, before.tls.has_ca) != (after.tls.complete, after.tls.has_ca):
        raise ConfigError(
            "tls: certificates between agents cannot be added or taken away by a reload,"
            " only replaced; restart the agent"
        )
    if tls is not None:
        tls.reload(after.tls)
