"""A client agent's certificate from the servers: what it is asked with, and who hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.backend.remote import RemoteBackend
from agent.backend.rpc import calls
from agent.backend.rpc.client import RpcPool
from agent.parts.ground import Ground
from agent.parts.host import HostParts

if TYPE_CHECKING:
    from agent.backend.rpc.tls import RpcTls
    from agent.connect.auto_encrypt import AgentCertificate


def agent_certificate(
    ground: Ground, backend: RemoteBackend, tls: RpcTls, pool: RpcPool, host: HostParts
) -> AgentCertificate:
    """With a certificate the agent dials its servers anew, and tells them what is here."""
    # Few agents ask for one, and it takes a library of 9 MB.
    from agent.connect.auto_encrypt import HOLD_S, AgentCertificate

    async def ask(payload: bytes) -> bytes:
        return await backend.call_server(calls.AGENT_CERTIFICATE, payload, hold_s=HOLD_S)

    async def adopted() -> None:
        pool.redial()
        host.servers_appeared()

    certificate = AgentCertificate(
        ask,
        tls,
        datacenter=ground.config.datacenter,
        node=ground.config.node_name,
        rng=ground.rng,
        adopted=adopted,
    )
    ground.owner.spawn(certificate.follow_revocations(backend), name="own revocations")
    ground.metrics.add("auto_encrypt", lambda: certificate.stats)
    return certificate
