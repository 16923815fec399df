"""`/v1/status/`: who leads and who votes, as this agent's server sees it (contract 17)."""

from __future__ import annotations

from agent.http.call import Call
from agent.http.reply import Reply


async def leader(call: Call) -> Reply:
    """The leader's server address, "" without one."""
    call.check_datacenter()
    return call.json(await call.context.backend.leader())


async def peers(call: Call) -> Reply:
    """The addresses of all Raft voters."""
    call.check_datacenter()
    return call.json(list(await call.context.backend.peers()))
